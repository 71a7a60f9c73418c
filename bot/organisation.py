"""Departments begin and end (機構改革): who takes over, and whether the model still fits the city."""

from collections.abc import Mapping, Sequence
from datetime import date

from sqlmodel import Session, col, select
from sqlmodel.sql.expression import SelectOfScalar

from bot import audit, city, inquiries
from bot.calendar import valid_on
from bot.db import now
from bot.models import FRONT_DESK, OPEN_STATUSES, Department, Inquiry, KnowledgeArticle, Staff

MOST_AT_ONCE = 100
"""Cases that one transaction moves: their citizens' next words wait for its end."""


def responsible(departments: Mapping[str, Department], department_id: str, today: date) -> str:
    """The department that answers today for what once belonged to this one.

    Returns:
        The id itself, the end of its chain of successors, or the front desk where the chain breaks.
    """
    seen: set[str] = set()
    while department_id in departments and department_id not in seen:
        seen.add(department_id)
        department = departments[department_id]
        if valid_on(department, today):
            return department_id
        department_id = department.successor_id or FRONT_DESK
    return FRONT_DESK


def successors(departments: Mapping[str, Department], today: date) -> dict[str, str]:
    """Who answers today for each department that has ended, but for those that nobody took over."""
    owners = {ended: responsible(departments, ended, today) for ended in _ended(departments, today)}
    return {ended: owner for ended, owner in owners.items() if owner != FRONT_DESK}


def reroute(session: Session, today: date, *, drafting: bool) -> int:
    """Move the open cases, the staff and the articles of departments that have ended to those that took over.

    A stop of their drafts first: no case of theirs may get a draft on its way.

    Two workers, or a worker and a caseworker, may meet here: each row is locked, and looked at again then.

    Returns:
        How many cases moved, `MOST_AT_ONCE` at most; 0 when all have.
    """
    departments = {d.id: d for d in city.departments(session)}
    _pass_on_stops(session, departments, today)
    left_behind = _left_behind(departments, today).order_by(col(Staff.id))
    for person in session.exec(left_behind.with_for_update(key_share=True)).all():
        before, person.department_id = (
            person.department_id, responsible(departments, person.department_id, today)
        )  # fmt: skip
        audit.record(
            session, actor="system:organisation", action="reorganise_staff", subject=f"staff:{person.login}",
            screen="worker", before=before, after=person.department_id,
        )  # fmt: skip
    left_articles = _left_articles(departments, today).order_by(col(KnowledgeArticle.id))
    for article in session.exec(left_articles.with_for_update(key_share=True)).all():
        before, article.department_id = (
            article.department_id, responsible(departments, article.department_id, today)
        )  # fmt: skip
        article.moved_at = now()
        audit.record(
            session, actor="system:organisation", action="reorganise_article",
            subject=f"article:{article.article}", screen="worker",
            version=article.version, before=before, after=article.department_id,
        )  # fmt: skip
    stranded = _stranded(departments, today).order_by(col(Inquiry.id))
    found = [inquiry.id for inquiry in session.exec(stranded.limit(MOST_AT_ONCE))]
    inquiries.hold(session, found)
    held = stranded.where(col(Inquiry.id).in_(found)).execution_options(populate_existing=True)
    moved = session.exec(held).all()
    for inquiry in moved:
        successor = responsible(departments, inquiry.department_id, today)
        inquiries.reorganise(session, inquiry, successor, drafting=drafting)
    return len(moved)


def _pass_on_stops(session: Session, departments: Mapping[str, Department], today: date) -> None:
    """Once for each: a supervisor may switch the drafts of who took over on again."""
    unpassed = _unpassed(departments, today).order_by(col(Department.id)).with_for_update(key_share=True)
    for ended in session.exec(unpassed.execution_options(populate_existing=True)).all():
        owner, ended.passed_on = departments[responsible(departments, ended.id, today)], True
        if owner.drafting_enabled and not ended.drafting_enabled:
            owner.drafting_enabled = False
            audit.record(
                session, actor="system:organisation", action="reorganise_drafting_off",
                subject=f"department:{owner.id}", screen="worker", before=ended.id,
            )  # fmt: skip


def stopped_before(departments: Mapping[str, Department], today: date) -> dict[str, list[str]]:
    """Names of the departments whose drafts were stopped when they ended, by who took over."""
    found: dict[str, list[str]] = {}
    for ended, owner in successors(departments, today).items():
        if departments[ended].passed_on and not departments[ended].drafting_enabled:
            found.setdefault(owner, []).append(departments[ended].name)
    return found


def is_due(session: Session, today: date) -> bool:
    """Whether `reroute` has anything to do; a read, so that it may be asked every other second."""
    departments = {d.id: d for d in city.departments(session)}
    return any(
        session.exec(query.limit(1)).first() is not None
        for query in (
            _unpassed(departments, today),
            _stranded(departments, today),
            _left_behind(departments, today),
            _left_articles(departments, today),
        )
    )


def _unpassed(departments: Mapping[str, Department], today: date) -> SelectOfScalar[Department]:
    """Ended departments whose switch nobody has looked at yet, but for those that nobody took over."""
    return select(Department).where(
        col(Department.id).in_(list(successors(departments, today))), col(Department.passed_on).is_(False)
    )


def _left_behind(departments: Mapping[str, Department], today: date) -> SelectOfScalar[Staff]:
    """Staff of ended departments, but for those whose department nobody took over."""
    return select(Staff).where(col(Staff.department_id).in_(list(successors(departments, today))))


def _left_articles(departments: Mapping[str, Department], today: date) -> SelectOfScalar[KnowledgeArticle]:
    """Articles in force of ended departments; an import of the city's files may bring some again."""
    return select(KnowledgeArticle).where(
        col(KnowledgeArticle.department_id).in_(_ended(departments, today)),
        col(KnowledgeArticle.retired_at).is_(None),
    )


def _stranded(departments: Mapping[str, Department], today: date) -> SelectOfScalar[Inquiry]:
    return select(Inquiry).where(
        col(Inquiry.department_id).in_(_ended(departments, today)), col(Inquiry.status).in_(OPEN_STATUSES)
    )


def _ended(departments: Mapping[str, Department], today: date) -> list[str]:
    """Not those that have not begun: what was prepared for them waits for their day."""
    return [d.id for d in departments.values() if d.valid_to is not None and d.valid_to < today]


def misfits(labels: Sequence[str], departments: Mapping[str, Department], today: date) -> list[str]:
    """Departments the model knows and the city does not (any more), and the other way round.

    Args:
        labels: The model's departments, exits left out.
        departments: The city's, by id.
        today: The city's date.

    Returns:
        One sentence per trouble, in Japanese; empty when model and city fit.
    """
    troubles = []
    for label in labels:
        if label not in departments:
            troubles.append(f"振り分けモデルが知る課「{label}」は、課の一覧にありません。")
        elif responsible(departments, label, today) == FRONT_DESK:
            fate = (
                "廃止され、引継先がありません"
                if label in _ended(departments, today)
                else "まだ始まっていません"
            )
            troubles.append(f"振り分けモデルが知る課「{departments[label].name}」は{fate}。")
    taken_over = {responsible(departments, label, today) for label in labels}
    for department in departments.values():
        if department.id != FRONT_DESK and valid_on(department, today) and department.id not in taken_over:
            troubles.append(f"「{department.name}」を振り分けモデルが知りません。学習し直してください。")
    return troubles
