"""One draft for one case: the responder makes the body, the city's frame goes around it."""

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
from bot.knowledge import Knowledge
from bot.models import Department, Inquiry, InquiryStatus
from responders.checks import Register
from responders.draft import draft
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
    """Draft a reply and attach it, unless the case has moved on.

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
    result = draft(
        text,
        index=writer.knowledge.index(),
        llm=writer.llm,
        department=department.id,
        today=local_today(writer.zone, now()),
        register=own,
    )
    whole = writer.frame.around(result.body, department, inquiry.receipt_number)
    with transaction(engine) as session:
        return inquiries.propose(session, inquiry_id, generation, result, whole)


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
