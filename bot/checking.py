"""Compare a whole reply, edits included, with what its draft may quote."""

from dataclasses import asdict
from typing import Any

from sqlmodel import Session

from bot.drafting import Frame, register
from bot.inquiries import Checker
from bot.models import Department, Draft, Inquiry
from responders.checks import check
from responders.knowledge import Passage, split_sentences


def checker(session: Session, frame: Frame) -> Checker:
    """The check of a person's final text; a text that a person wrote without a draft has no sources."""

    def run(text: str, draft: Draft) -> list[dict[str, Any]]:
        inquiry = session.get_one(Inquiry, draft.inquiry_id)
        department = session.get_one(Department, inquiry.department_id)
        body = frame.body_of(text.replace("\r\n", "\n"), department, inquiry.receipt_number)
        if draft.origin == "holding" and body == frame.body_of(
            draft.text, department, inquiry.receipt_number
        ):
            return []  # the holding words state no fact
        passages = [_passage(p) for p in draft.passages]
        return [asdict(f) for f in check(split_sentences(body), passages, register(session, frame.city))]

    return run


def _passage(stored: dict[str, Any]) -> Passage:
    names = ("article", "article_title", "department", "ordinal", "text", "heading")
    return Passage(**{name: stored[name] for name in names})
