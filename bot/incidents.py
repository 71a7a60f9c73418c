"""Many citizens, one incident: near-duplicate cases are shown together and may get one answer.

Grouping is a suggestion on a screen. Nothing is answered together unless a person ticks each case, and each
citizen gets a text of their own, approved by that person.
"""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from uuid import UUID

from sqlmodel import Session, col, select

from bot import inquiries
from bot.db import now
from bot.errors import CaseChanged, TextRefused
from bot.models import (
    QUEUE_STATUSES,
    Approval,
    Draft,
    DraftStatus,
    Incident,
    Inquiry,
    Staff,
)
from responders.japanese import pairs, words

WINDOW = timedelta(hours=48)
"""An older case tells of something else."""
MOST_COMPARED = 300
MOST_READ = 500
"""Characters of a message that are compared."""
SHARED_WORDS, WORD_SHARE, PAIR_SHARE = 2, 0.5, 0.3
"""Measured on data/evaluation/incidents.jsonl: 42 of 50 messages join their group; of 20,000 random pairs of
one department's messages 81 would (pairs about the same service, such as two about 市営住宅)."""


def alike(one: str, other: str) -> bool:
    """Whether two messages seem to tell of the same thing: most content words, and many character pairs."""
    mine, theirs = ({*words(_plain(text))} for text in (one, other))
    shared = len(mine & theirs)
    if shared < SHARED_WORDS or shared < WORD_SHARE * min(len(mine), len(theirs)):
        return False
    first, second = pairs(_plain(one)), pairs(_plain(other))
    return len(first & second) >= PAIR_SHARE * min(len(first), len(second))


def _plain(text: str) -> str:
    return unicodedata.normalize("NFKC", text[:MOST_READ])


def join(session: Session, inquiry: Inquiry) -> None:
    """Put a new case beside those of its department that tell of the same thing, if there are any."""
    text = inquiries.words(session, inquiry)
    if inquiry.emergency or inquiry.incident_left or not text:
        return
    for other_text, other in _recent(session, inquiry):
        if alike(text, other_text) and _held(session, other):
            if other.incident_id is None:
                incident = Incident(department_id=inquiry.department_id)
                session.add(incident)
                session.flush()
                _enter(session, other, incident.id)
            _enter(session, inquiry, other.incident_id)
            return


def _held(session: Session, other: Inquiry) -> bool:
    """Lock a neighbour's case, or leave it to whoever works on it at this moment: never wait for it."""
    query = select(Inquiry).where(Inquiry.id == other.id).with_for_update(key_share=True, skip_locked=True)
    return session.exec(query.execution_options(populate_existing=True)).first() is not None


def _enter(session: Session, inquiry: Inquiry, incident_id: UUID | None) -> None:
    inquiry.incident_id = incident_id
    session.add(inquiry)
    inquiries.note(session, inquiry, "system:incidents", "join_incident", "worker", incident=incident_id)


def _recent(session: Session, inquiry: Inquiry) -> list[tuple[str, Inquiry]]:
    query = (
        select(Inquiry)
        .where(
            Inquiry.department_id == inquiry.department_id,
            Inquiry.conversation_id != inquiry.conversation_id,
            col(Inquiry.linked_to).is_(None),
            col(Inquiry.status).in_(QUEUE_STATUSES),
            col(Inquiry.emergency).is_(False),
            col(Inquiry.incident_left).is_(False),
            Inquiry.created_at > now() - WINDOW,
        )
        .order_by(col(Inquiry.created_at).desc())
        .limit(MOST_COMPARED)
    )
    found = session.exec(query).all()
    told = inquiries.first_words(session, found)
    return [(told[one.id], one) for one in found if told[one.id]]


@dataclass(frozen=True, slots=True)
class Member:
    """Another case of the same incident, as the list shows it."""

    inquiry: Inquiry
    first_words: str
    open: bool
    """Still waits for an answer of the same department, so that it may be ticked."""


def others(session: Session, inquiry: Inquiry, staff: Staff) -> list[Member]:
    """The other cases of a case's incident that this person may see, oldest first."""
    if inquiry.incident_id is None:
        return []
    query = (
        select(Inquiry)
        .where(Inquiry.incident_id == inquiry.incident_id, Inquiry.id != inquiry.id, inquiries.visible(staff))
        .order_by(col(Inquiry.created_at))
    )
    found = session.exec(query).all()
    told = inquiries.words_of(session, found)
    return [Member(one, told[one.id][:80], _answerable(one, inquiry)) for one in found]


def _answerable(one: Inquiry, origin: Inquiry) -> bool:
    """The answer names the department: a group of an older version may hold cases of several."""
    return one.status in QUEUE_STATUSES and one.department_id == origin.department_id


def leave(session: Session, inquiry_id: UUID, *, staff: Staff, screen: str) -> None:
    """Take a case out of its group, for good.

    Raises:
        NotFound, NotAllowed: See `inquiries.for_decision`.
    """
    inquiry = inquiries.for_decision(session, inquiry_id, staff)
    inquiry.incident_left = True
    inquiries.leave_incident(session, inquiry, staff.login, screen)


def answer_others(
    session: Session,
    approved: Approval,
    seen_versions: Mapping[UUID, int],
    *,
    staff: Staff,
    screen: str,
    today: date,
    keep_open: bool,
    below: str,
) -> int:
    """Send an approved text to the ticked cases of the same incident, each with its own receipt number.

    Each case gets a draft and an approval of its own by the same person, in the caller's transaction: all of
    them, or none.

    Args:
        session: The caller's transaction, in which ``approved`` was made.
        approved: The approval of the case on the person's screen.
        seen_versions: The ticked cases with the versions that the list showed.
        staff: Who decides.
        screen: Where.
        today: The city's date.
        keep_open: The cases go on after this reply.
        below: The second text with which ``approved`` ends: it is in the language of one citizen.

    Returns:
        How many.

    Raises:
        CaseChanged: One of them changed since, is another department's, or is not of this incident any more:
            nothing is sent.
        TextRefused: The reply does not hold its receipt number, so that it cannot be made another's.
    """
    origin = session.get_one(Inquiry, approved.inquiry_id)
    answer = approved.text.removesuffix(below)
    # What the second text's findings add: in which of the two texts each stands.
    confirmed = [finding for finding in approved.confirmed if "in_japanese" not in finding]
    model = session.get_one(Draft, approved.draft_id)
    if seen_versions and origin.receipt_number not in answer:
        raise TextRefused(
            "文面にこの案件の受付番号がないため、ほかの案件に同じ回答を送れません。"
            "受付番号を文面に戻すか、ほかの案件のチェックを外してください。"
        )
    for inquiry_id, version in sorted(seen_versions.items()):
        inquiry = inquiries.for_decision(session, inquiry_id, staff)
        same = inquiry.incident_id is not None and inquiry.incident_id == origin.incident_id
        if not same or inquiry.version != version or not _answerable(inquiry, origin):
            raise CaseChanged("同じ出来事の一覧が変わりました。何も送っていません。一覧を確かめてください。")
        text = answer.replace(origin.receipt_number, inquiry.receipt_number)
        inquiries.supersede(session, inquiry)
        draft = _draft_like(model, inquiry, text)
        session.add(draft)
        session.flush()
        inquiries.approve(
            session,
            draft.id,
            staff=staff,
            text=text,
            seen_version=version,
            screen=screen,
            today=today,
            check=lambda _text, _draft: confirmed,
            confirmed=[finding["key"] for finding in confirmed],
            keep_open=keep_open,
        )
    return len(seen_versions)


def _draft_like(model: Draft, inquiry: Inquiry, text: str) -> Draft:
    as_made = ("origin", "ready", "sentences", "findings", "passages", "flags")
    provenance = ("model", "article_versions", "times")
    kept = {name: getattr(model, name) for name in as_made + provenance}
    return Draft(inquiry_id=inquiry.id, status=DraftStatus.pending, text=text, **kept)
