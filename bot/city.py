"""The city's own files brought into the database: departments and fixed texts."""

import string
from pathlib import Path
from typing import Any

import yaml
from sqlmodel import Session, col, select

from bot import audit
from bot.errors import NotFound
from bot.models import Department, FixedText

NEEDED_TEXTS = frozenset(
    [
        "first_contact_notice",
        "receipt",
        "off_hours_receipt",
        "follow_up_receipt",
        "clarify_department",
        "greeting",
        "thanks",
        "person_will_answer",
        "ask_receipt_number",
        "status_open",
        "status_answered",
        "status_closed",
        "status_not_found",
        "emergency_notice",
        "second_matter",
        "unsupported_message",
        "out_of_scope",
        "account_help",
        "opening_hours",
        "withdrawn",
    ]
)
PLACEHOLDERS = frozenset({"receipt_number", "department"})


class BadCityFile(ValueError):
    """A file of the city pack is incomplete; the message says which and what."""


def load(session: Session, folder: Path) -> None:
    """Bring departments and fixed texts up to date; safe to repeat at every start.

    Raises:
        BadCityFile: A needed text or field is missing, a placeholder is unknown, or a department is gone from
            the file that the database knows: cases and staff hang on it.
    """
    _load_departments(session, folder / "departments.yaml")
    _load_fixed_texts(session, folder / "fixed_texts.yaml")


def _load_departments(session: Session, path: Path) -> None:
    raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    try:
        rows = [*raw["departments"], raw["front_desk"]]
        known = {row["id"] for row in rows}
        if gone := {department.id for department in departments(session)} - known:
            raise BadCityFile(
                f"{path}: {', '.join(sorted(gone))}: a department that ends keeps its line, with valid_to and"
                " successor"
            )
        for position, row in enumerate(rows):
            if (successor := row.get("successor")) and successor not in known:
                raise BadCityFile(f"{path}: {row['id']}: unknown successor {successor!r}")
            department = session.get(Department, row["id"])
            department = department or Department(id=row["id"], name="", short="", position=0)
            _fill(department, row, position)
            session.add(department)
        session.flush()  # a successor must be there before somebody points to it
        for row in rows:
            session.get_one(Department, row["id"]).successor_id = row.get("successor")
    except KeyError as missing:
        raise BadCityFile(f"{path}: a department lacks {missing}") from missing
    session.flush()


def _fill(department: Department, row: dict[str, Any], position: int) -> None:
    department.name, department.short, department.position = row["ja"], row["short"], position
    department.covers, department.phone = row.get("covers", ""), row.get("phone", "")
    department.floor = row.get("floor", "")
    department.valid_from, department.valid_to = row.get("valid_from"), row.get("valid_to")


def _load_fixed_texts(session: Session, path: Path) -> None:
    raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    texts: dict[str, str] = raw["texts"]
    if missing := NEEDED_TEXTS - texts.keys():
        raise BadCityFile(f"{path}: missing texts: {', '.join(sorted(missing))}")
    for key, text in texts.items():
        require_placeholders(text, PLACEHOLDERS, f"{path}: {key}")
        newest = fixed_text(session, key)
        if newest is None or newest.text != text:
            version = newest.version + 1 if newest else 1
            session.add(FixedText(key=key, version=version, text=text, approved_by=raw["approved_by"]))
            session.flush()
            audit.record(
                session,
                actor="system:city",
                action="publish_fixed_text",
                subject=f"fixed_text:{key}",
                version=version,
                approved_by=raw["approved_by"],
            )


def require_placeholders(text: str, known: frozenset[str], where: str) -> None:
    """Refuse a text of the city that could not be filled in.

    Raises:
        BadCityFile: It holds another placeholder than these, or a brace of its own.
    """
    try:
        found = {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}
    except ValueError as brace:
        raise BadCityFile(f"{where}: {brace}") from brace
    if unknown := found - known:
        raise BadCityFile(f"{where}: unknown placeholder {', '.join(sorted(unknown))}")


def fixed_text(session: Session, key: str) -> FixedText | None:
    """The newest version of a fixed text."""
    query = select(FixedText).where(FixedText.key == key).order_by(col(FixedText.version).desc())
    return session.exec(query).first()


def departments(session: Session) -> list[Department]:
    """Departments in their order, also those not in force today (`bot.organisation` tells which are)."""
    return list(session.exec(select(Department).order_by(col(Department.position))).all())


def department_names(session: Session) -> dict[str, str]:
    """Department id → name."""
    return {d.id: d.name for d in departments(session)}


def switch_drafting(session: Session, department_id: str, *, on: bool, actor: str, screen: str) -> None:
    """The kill switch of one department, or of all with ``all``; triage and replies by hand go on.

    Raises:
        NotFound: No such department, or its switch went to who took over.
    """
    # What a department was on the day it ended has gone to who took over, and stays to be read.
    rows = [d for d in departments(session) if department_id in ("all", d.id) and not d.passed_on]
    if not rows:
        raise NotFound("この課の下書き機能は切り替えられません。画面を更新して確認してください。")
    for department in rows:
        department.drafting_enabled = on
        session.add(department)
    action = "drafting_on" if on else "drafting_off"
    audit.record(session, actor=actor, action=action, subject=f"department:{department_id}", screen=screen)
