"""One draft for one case: the responder makes the body, the city's frame goes around it."""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date, datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol
from uuid import UUID
from zoneinfo import ZoneInfo

import yaml
from sqlalchemy import Engine
from sqlmodel import Session

from bot import city, inquiries, jobs, modes, organisation
from bot.article_index import Knowledge
from bot.db import now, reading, transaction
from bot.errors import DraftNotPending, NotFound, TextRefused
from bot.models import FRONT_DESK, Department, Draft, DraftStatus, Inquiry, InquiryStatus, Staff
from bot.settings import Settings
from responders.check_sources import Register
from responders.draft import (
    MODEL_FLAGS,
    DraftResult,
    Tone,
    Wish,
    answer,
    compose,
    draft,
    reword,
    take,
    to_join,
)
from responders.errors import DraftTimeout, ModelError, ModelUnavailable
from responders.knowledge import Passage
from responders.llm import Llm, Rewrite

TIMED_OUT, RETRIED = MODEL_FLAGS[DraftTimeout], "model_retried"


FRAME_PLACEHOLDERS = frozenset({"department", "phone", "receipt_number"})


@dataclass(frozen=True, slots=True)
class Frame:
    """The fixed words around every reply."""

    city: str
    parts: Mapping[str, str]
    """``greeting`` and ``closing``, of the departments that have none of their own."""
    own: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Department id → its own greeting, closing or both."""

    def around(self, body: str, department: Department, receipt_number: str) -> str:
        """The whole reply."""
        greeting, closing = self._filled(department, receipt_number)
        return f"{greeting}\n\n{body}\n\n{closing}"

    def body_of(self, text: str, department: Department, receipt_number: str) -> str:
        """The reply without the frame, as far as the frame is still there."""
        for part in self._filled(department, receipt_number):
            text = text.replace(part, "")
        return text.strip()

    def body_of_any(self, text: str, departments: Iterable[Department], receipt_number: str) -> str:
        """As `body_of`, of a case that may have been transferred since: the frame names one of these."""
        for department in departments:
            text = self.body_of(text, department, receipt_number)
        return text

    def _filled(self, department: Department, receipt_number: str) -> tuple[str, str]:
        parts = {**self.parts, **self.own.get(department.id, {})}
        values = {"department": department.name, "phone": department.phone, "receipt_number": receipt_number}
        return parts["greeting"].format(**values), parts["closing"].format(**values)


def load_frame(city_dir: Path) -> Frame:
    """Read the frame from ``departments.yaml``; a department's own ``frame`` goes before the city's.

    Raises:
        BadCityFile: A part is missing, or a placeholder is unknown.
    """
    path = city_dir / "departments.yaml"
    raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    own = {row["id"]: row["frame"] for row in [*raw["departments"], raw["front_desk"]] if "frame" in row}
    if missing := {"greeting", "closing"} - raw["frame"].keys():
        raise city.BadCityFile(f"{path}: frame: missing {', '.join(sorted(missing))}")
    for where, parts in {"frame": raw["frame"], **own}.items():
        if unknown := parts.keys() - {"greeting", "closing"}:
            raise city.BadCityFile(f"{path}: {where}: unknown part {', '.join(sorted(unknown))}")
        for part in parts.values():
            city.require_placeholders(part, FRAME_PLACEHOLDERS, f"{path}: {where}")
    return Frame(raw["city"], raw["frame"], own)


class Attach(Protocol):
    """Puts a second text below a case's pending draft, in the draft's transaction."""

    def __call__(self, session: Session, inquiry_id: UUID, *, again: bool) -> None:
        """``again``: the draft has had one before, or a person took it away."""
        ...


@dataclass(frozen=True, slots=True)
class Writer:
    """What drafting works with."""

    knowledge: Knowledge
    llm: Llm | None
    frame: Frame
    zone: ZoneInfo
    drafting_enabled: bool = True
    """The global kill switch."""
    patience_seconds: float = 30.0
    """Longest wait for a model server that went away: a restart takes about ten seconds."""
    attach: Attach | None = None
    """For cities that want a second text below each draft."""


def write(engine: Engine, inquiry_id: UUID, generation: int, writer: Writer) -> bool:
    """Attach the verbatim draft and ask for the model's wording; nothing if the case has moved on.

    Returns:
        False if the draft was not wanted any more.
    """
    with reading(engine) as session:
        inquiry = session.get_one(Inquiry, inquiry_id)
        if inquiry.generation != generation or inquiry.status not in {
            InquiryStatus.drafting,
            InquiryStatus.with_person,
        }:
            return False
        department = session.get_one(Department, inquiry.department_id)
        text, today = inquiries.words(session, inquiry), local_today(writer.zone, now())
        own, chances = register(session, writer.frame.city), where_to_look(session, inquiry, today)
    result = draft(
        text,
        index=writer.knowledge.index(),
        departments=chances,
        today=today,
        drafting_enabled=writer.drafting_enabled and department.drafting_enabled,
        register=own,
        wish=Wish(**inquiry.wish),
    )
    whole = writer.frame.around(result.body, department, inquiry.receipt_number)
    with transaction(engine) as session:
        if not inquiries.propose(session, inquiry_id, generation, result, whole):
            return False
        if writer.attach:
            writer.attach(session, inquiry_id, again=False)
        if writer.llm and result.status == "drafted":
            jobs.reword(session, inquiry_id, session.get_one(Inquiry, inquiry_id).version)
    return True


def improve(engine: Engine, inquiry_id: UUID, version: int, writer: Writer) -> bool:
    """Let the model word the verbatim draft that is on the screen already; it stays whatever the model does.

    A model that hangs is asked once more, later, by a job of its own: others wait behind this one.

    Args:
        engine: The database.
        inquiry_id: The case.
        version: The case's version with the verbatim draft.
        writer: What drafting works with.

    Returns:
        False if nobody wants it any more: the case moved on, or a kill switch is off.
    """
    with reading(engine) as session:
        inquiry = session.get_one(Inquiry, inquiry_id)
        row = inquiries.pending_draft(session, inquiry_id)
        department = session.get_one(Department, inquiry.department_id)
        may = writer.drafting_enabled and department.drafting_enabled
        if writer.llm is None or row is None or inquiry.version != version or not may:
            return False
        if row.origin == "model":
            return False  # a caseworker was faster, or this job runs for the second time
        text = inquiries.words(session, inquiry)
        own, tone = register(session, writer.frame.city), Wish(**inquiry.wish).tone
    first = verbatim(row, own, tone)
    again = TIMED_OUT in row.flags
    known = [flag for flag in row.flags if flag != TIMED_OUT]
    first = replace(first, flags=tuple(dict.fromkeys((*known, *first.flags))))
    better = _by_model(engine, writer.llm, first, text, own, tone, writer.patience_seconds)
    if again:
        better = replace(better, flags=tuple(dict.fromkeys((*better.flags, RETRIED))))
    whole = writer.frame.around(better.body, department, inquiry.receipt_number)
    with transaction(engine) as session:
        if session.get_one(Inquiry, inquiry_id).version != version:
            return False
        wanted = inquiries.improve(session, inquiry_id, inquiry.generation, better, whole)
        if wanted and writer.attach:
            writer.attach(session, inquiry_id, again=True)
        if wanted and TIMED_OUT in better.flags and not again:
            jobs.reword_later(session, inquiry_id, version)
        return wanted


def _by_model(
    engine: Engine,
    llm: Llm,
    first: DraftResult,
    text: str,
    own: Register,
    tone: Tone,
    patience_seconds: float,
) -> DraftResult:
    """The model's wording in the mode that is in force; once more when its server went away and came back."""

    def ask() -> DraftResult:
        with reading(engine) as session:
            mode = modes.in_force(session, llm)
        return answer(first, text, llm, own, tone) if mode == "answer" else reword(first, llm, own, tone)

    better = ask()
    if MODEL_FLAGS[ModelUnavailable] in better.flags and llm.is_back(patience_seconds):
        better = ask()
        better = replace(better, flags=(*better.flags, RETRIED))
    return better


def where_to_look(session: Session, inquiry: Inquiry, today: date) -> dict[str, float]:
    """Where the answer may lie: the case's department, or at the front desk what the routing thought.

    Articles go with their department on the day of a reorganisation, so what the routing thought goes too.
    """
    if inquiry.department_id != FRONT_DESK:
        return {inquiry.department_id: 1.0}
    departments = {d.id: d for d in city.departments(session)}
    chances: dict[str, float] = {}
    for label, chance in inquiry.prediction.get("probabilities", {}).items():
        owner = organisation.responsible(departments, label, today) if label in departments else label
        chances[owner] = chances.get(owner, 0.0) + chance
    return chances


def may_draft(session: Session, inquiry_id: UUID, settings: Settings) -> bool:
    """Whether both kill switches let a machine word a reply to this case.

    Raises:
        NotFound: No such case.
    """
    inquiry = session.get(Inquiry, inquiry_id)
    if inquiry is None:
        raise NotFound
    return settings.drafting_enabled and session.get_one(Department, inquiry.department_id).drafting_enabled


def recompose(
    session: Session,
    inquiry: Inquiry,
    draft_id: UUID | None,
    passages: Sequence[Passage],
    frame: Frame,
    *,
    staff: Staff,
    seen_version: int,
    screen: str,
) -> None:
    """Make the pending draft, or the first one, of the sentences a caseworker ticked, without any model.

    Raises:
        TextRefused: Nothing is ticked. Others: `inquiries.recompose`.
    """
    if not passages:
        raise TextRefused("根拠の文を一つ以上選んでください。")
    department = session.get_one(Department, inquiry.department_id)
    result = compose(passages, register=register(session, frame.city), tone=Wish(**inquiry.wish).tone)
    text = frame.around(result.body, department, inquiry.receipt_number)
    inquiries.recompose(
        session, inquiry.id, draft_id, result, text, staff=staff, seen_version=seen_version, screen=screen
    )


@dataclass(frozen=True, slots=True)
class Piece:
    """What a browser hears while the model writes."""

    text: str
    """``begin``: the frame's greeting; ``writing``: the next words; ``accepted``: the whole reply."""
    state: Literal["begin", "writing", "accepted", "refused"]
    reason: str = ""
    """Why it was refused: a flag of `responders.draft.DraftResult`."""


def stream_rewording(
    engine: Engine,
    session: Session,
    inquiry_id: UUID,
    draft_id: UUID,
    frame: Frame,
    llm: Llm,
    *,
    staff: Staff,
) -> Iterator[Piece]:
    """Let the model reword the pending draft before the caseworker's eyes; closing it stops the model.

    What the gate lets through is put into the draft, as the worker's own rewording would be. Nothing is
    written before the end, so stopping leaves everything as it was.

    Args:
        engine: For the transaction at the end.
        session: The caller's transaction; it ends before the first piece is asked for.
        inquiry_id: The case.
        draft_id: The draft on the person's screen.
        frame: Goes around the body.
        llm: The model.
        staff: Who watches.

    Raises:
        NotFound, NotAllowed, DraftNotPending: See `inquiries.approve`. TextRefused: Nothing to join.
    """
    inquiry = inquiries.for_decision(session, inquiry_id, staff)
    draft_row = session.get(Draft, draft_id)
    if draft_row is None or draft_row.inquiry_id != inquiry.id:
        raise NotFound
    if draft_row.status != DraftStatus.pending:
        raise DraftNotPending
    department = session.get_one(Department, inquiry.department_id)
    own, tone = register(session, frame.city), Wish(**inquiry.wish).tone
    first = verbatim(draft_row, own, tone)
    around = partial(frame.around, department=department, receipt_number=inquiry.receipt_number)
    generation, worded_already = inquiry.generation, draft_row.origin == "model"
    if not to_join(first.passages):
        raise TextRefused("言い換える文がありません。一つの文や箇条書きは、記事のまま使います。")

    def finish(rewrite: Rewrite) -> Piece:
        better = take(first, llm, rewrite, own, tone)
        text = around(better.body)
        if worded_already and better.origin != "model":
            return Piece("", "refused", (*better.flags, "")[0])  # the accepted wording stays
        with transaction(engine) as later:
            wanted = inquiries.improve(later, inquiry_id, generation, better, text, again=True)
        if not wanted:
            return Piece("", "refused", "case_changed")
        return Piece(text, "accepted" if better.origin == "model" else "refused", (*better.flags, "")[0])

    begin = around("\0").partition("\0")[0]
    return _pieces(begin, llm.stream(to_join(first.passages)), finish)


def _pieces(
    begin: str, stream: Generator[str, None, Rewrite], finish: Callable[[Rewrite], Piece]
) -> Iterator[Piece]:
    yield Piece(begin, "begin")
    try:
        while True:
            yield Piece(next(stream), "writing")
    except StopIteration as end:
        yield finish(end.value)
    except ModelError as error:
        yield Piece("", "refused", MODEL_FLAGS[type(error)])
    finally:
        stream.close()


def restore_verbatim(session: Session, inquiry_id: UUID, shown: str, frame: Frame) -> bool:
    """Give a reworded draft the articles' sentences back, if these are what a person has read and edited.

    The rewording comes without a word while they read (`improve`): the record must not say that the sent text
    is the model's, changed by hand. What the model wrote stays in the draft's ``model``.

    Args:
        session: The caller's transaction, which is taken back when the approval is refused.
        inquiry_id: The case.
        shown: `Draft.origin` of the wording that the person's editor began with.
        frame: Goes around the body.

    Returns:
        Whether it did.
    """
    draft_row = inquiries.pending_draft(session, inquiry_id)
    if draft_row is None or (shown, draft_row.origin) != ("template", "model"):
        return False
    inquiry = session.get_one(Inquiry, inquiry_id)
    department = session.get_one(Department, inquiry.department_id)
    first = verbatim(draft_row, register(session, frame.city), Wish(**inquiry.wish).tone)
    whole = frame.around(first.body, department, inquiry.receipt_number)
    draft_row.text, draft_row.origin, draft_row.ready = whole, first.origin, first.ready
    draft_row.sentences = [asdict(sentence) for sentence in first.sentences]
    draft_row.findings = [asdict(finding) for finding in first.findings]
    session.add(draft_row)
    return True


def verbatim(draft_row: Draft, own: Register, tone: Tone) -> DraftResult:
    """A draft in the articles' own sentences, whatever wording it has now."""
    return compose([stored_passage(p) for p in draft_row.passages], register=own, tone=tone)


def stored_passage(stored: dict[str, Any]) -> Passage:
    """A passage as `Draft.passages` keeps it."""
    days = {k: date.fromisoformat(stored[k]) for k in ("valid_from", "valid_to") if stored.get(k)}
    return Passage(**{**stored, **days})


def local_today(zone: ZoneInfo, at: datetime) -> date:
    """The city's date."""
    return at.astimezone(zone).date()


def register(session: Session, city_name: str) -> Register:
    """The city's own names and phones, which a reply may hold without a source; no ended section's."""
    today = now().date()  # by UTC: an ended section stays known until nine in the morning
    rows = [d for d in city.departments(session) if d.valid_to is None or d.valid_to >= today]
    return Register(
        city=city_name,
        phones=frozenset(d.phone for d in rows),
        sections=frozenset(d.name for d in rows),
    )
