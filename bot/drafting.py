"""One draft for one case: the responder makes the body, the city's frame goes around it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from uuid import UUID
from zoneinfo import ZoneInfo

import yaml
from sqlalchemy import Engine
from sqlmodel import Session

from bot import city, inquiries
from bot.db import now, reading, transaction
from bot.errors import TextRefused
from bot.knowledge import Knowledge, passages_of
from bot.models import FRONT_DESK, Department, Draft, Inquiry, InquiryStatus, Staff
from responders.checks import Register
from responders.draft import compose, draft, reword
from responders.llm import Llm


@dataclass(frozen=True, slots=True)
class Frame:
    """The fixed words around every reply."""

    city: str
    greeting: str
    closing: str

    def around(self, body: str, department: Department, receipt_number: str) -> str:
        """The whole reply."""
        values = {"department": department.name, "phone": department.phone, "receipt_number": receipt_number}
        return f"{self.greeting.format(**values)}\n\n{body}\n\n{self.closing.format(**values)}"

    def body_of(self, text: str, department: Department, receipt_number: str) -> str:
        """The reply without the frame, as far as the frame is still there."""
        values = {"department": department.name, "phone": department.phone, "receipt_number": receipt_number}
        for part in (self.greeting.format(**values), self.closing.format(**values)):
            text = text.replace(part, "")
        return text.strip()


def load_frame(city_dir: Path) -> Frame:
    """Read the frame from ``departments.yaml``."""
    raw = yaml.safe_load((city_dir / "departments.yaml").read_text(encoding="utf-8"))
    return Frame(raw["city"], raw["frame"]["greeting"], raw["frame"]["closing"])


@dataclass(frozen=True, slots=True)
class Writer:
    """What drafting works with."""

    knowledge: Knowledge
    llm: Llm | None
    frame: Frame
    zone: ZoneInfo


def write(engine: Engine, inquiry_id: UUID, generation: int, writer: Writer) -> bool:
    """Attach the verbatim draft at once, then the model's rewording; neither if the case has moved on.

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
        text = inquiries.words(session, inquiry)
        own = register(session, writer.frame.city)
    first = draft(
        text,
        index=writer.knowledge.index(),
        departments=_chances(inquiry),
        today=local_today(writer.zone, now()),
        register=own,
    )
    whole = writer.frame.around(first.body, department, inquiry.receipt_number)
    with transaction(engine) as session:
        wanted = inquiries.propose(session, inquiry_id, generation, first, whole)
    if wanted and writer.llm and first.status == "drafted":
        # The verbatim sentences are on the screen already; whatever the model does, they stay usable.
        better = reword(first, writer.llm, own)
        whole = writer.frame.around(better.body, department, inquiry.receipt_number)
        with transaction(engine) as session:
            inquiries.improve(session, inquiry_id, generation, better, whole)
    return wanted


def _chances(inquiry: Inquiry) -> dict[str, float]:
    """Where the answer may lie: the case's department, or at the front desk what the routing thought."""
    if inquiry.department_id != FRONT_DESK:
        return {inquiry.department_id: 1.0}
    return dict(inquiry.prediction.get("probabilities", {}))


def recompose(
    session: Session,
    draft_id: UUID,
    passage_ids: Sequence[str],
    frame: Frame,
    *,
    staff: Staff,
    seen_version: int,
    screen: str,
) -> None:
    """Make the pending draft of the sentences a caseworker ticked, verbatim, without any model.

    Raises:
        TextRefused: Nothing is ticked, or no such sentence is in force. Others: `inquiries.recompose`.
    """
    found = {p.id: p for p in passages_of(session, {i.rpartition("#")[0] for i in passage_ids})}
    passages = [found[i] for i in passage_ids if i in found]
    draft_row = session.get(Draft, draft_id)
    if draft_row is None or not passages:
        raise TextRefused("根拠の文を一つ以上選んでください。")
    inquiry = session.get_one(Inquiry, draft_row.inquiry_id)
    department = session.get_one(Department, inquiry.department_id)
    result = compose(passages, register=register(session, frame.city))
    text = frame.around(result.body, department, inquiry.receipt_number)
    inquiries.recompose(
        session, draft_id, result, text, staff=staff, seen_version=seen_version, screen=screen
    )


def local_today(zone: ZoneInfo, at: datetime) -> date:
    """The city's date."""
    return at.astimezone(zone).date()


def register(session: Session, city_name: str) -> Register:
    """The city's own names and phones, which a reply may hold without a source."""
    rows = city.departments(session)
    return Register(
        city=city_name,
        phones=frozenset(d.phone for d in rows),
        sections=frozenset(d.name for d in rows),
    )
