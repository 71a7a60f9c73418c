"""The verbs of a case. Each works in the caller's transaction and never commits."""

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, replace
from datetime import date, datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlmodel import Session, col, select

from bot import audit, city, conversations, jobs, outbox
from bot.articles import passages_of
from bot.calendar import JAPAN, Calendar, valid_on
from bot.db import now
from bot.errors import (
    CaseChanged,
    CitizenWrites,
    DraftNotPending,
    NeedsConfirmation,
    NotAllowed,
    NotFound,
    OwnWordsNeedConfirmation,
    SourceEnded,
    TextRefused,
)
from bot.models import (
    EXITS,
    FRONT_DESK,
    OPEN_STATUSES,
    Approval,
    Conversation,
    Counter,
    Department,
    Draft,
    DraftStatus,
    HandOffReason,
    Inquiry,
    InquiryStatus,
    KnowledgeArticle,
    Message,
    OutboxMessage,
    Role,
    SearchExample,
    Staff,
    TrainingExample,
    Transfer,
)
from bot.privacy import mask
from channels.message import MAX_TEXT_UNITS, storable, utf16_units
from responders.draft import DraftResult, Wish
from responders.knowledge import Passage

ALARM_MINUTES = 5
"""An emergency that nobody acknowledged for so long is shown to everybody."""
PAST = "case:"
"""How the ids of passages from past answers begin, before the receipt number."""
MAX_HINT = 200
"""Characters of a caseworker's hint."""
Checker = Callable[[str, Draft], list[dict[str, Any]]]
"""Finds what in a text its draft's passages do not support; each hard one needs a confirmation by its key."""


def open_inquiry(
    session: Session,
    conversation: Conversation,
    department_id: str,
    calendar: Calendar,
    *,
    prediction: dict[str, Any],
    linked_to: Inquiry | None = None,
) -> Inquiry:
    """Register a new matter; it gets its receipt number here.

    Args:
        session: The caller's transaction.
        conversation: Whose matter.
        department_id: Where it lies first.
        calendar: For the due date.
        prediction: What the routing said, for the screen and for monitoring.
        linked_to: The case of the same message's first matter; the two share its thread.
    """
    inquiry = Inquiry(
        receipt_number=_receipt_number(session, calendar.zone),
        conversation_id=conversation.id,
        status=InquiryStatus.with_person,
        department_id=department_id,
        prediction=prediction,
        due_at=calendar.due(now()),
        linked_to=linked_to.id if linked_to else None,
    )
    session.add(inquiry)
    session.flush()
    note(session, inquiry, "system:triage", "open", "worker", department=department_id)
    return inquiry


def explain(
    session: Session, inquiry_ids: Collection[UUID], message_id: UUID, remarks: dict[str, Any]
) -> None:
    """Keep with cases what people may want to know of their prediction, unless the words were taken back."""
    hold(session, inquiry_ids)
    if session.get_one(Message, message_id).hidden_at:
        return
    for inquiry in session.exec(select(Inquiry).where(col(Inquiry.id).in_(inquiry_ids))).all():
        inquiry.prediction = {**inquiry.prediction, **remarks}
        session.add(inquiry)
        note(session, inquiry, "system:triage", "explain", "worker")


def _receipt_number(session: Session, zone: ZoneInfo) -> str:
    from bot.db import insert_once

    year = str(now().astimezone(zone).year)
    insert_once(session, Counter(name=f"receipt:{year}"))
    counter = session.exec(
        select(Counter)
        .where(Counter.name == f"receipt:{year}")
        .with_for_update()
        .execution_options(populate_existing=True)
    ).one()
    number = counter.next
    counter.next += 1
    session.add(counter)
    return f"{year}-{number:05d}"


def current(session: Session, conversation_id: UUID) -> Inquiry | None:
    """The newest open case of a conversation; a second matter of a message never takes what comes later."""
    query = (
        select(Inquiry)
        .where(
            Inquiry.conversation_id == conversation_id,
            col(Inquiry.status).in_(OPEN_STATUSES),
            col(Inquiry.linked_to).is_(None),
        )
        .order_by(col(Inquiry.created_at).desc())
        .with_for_update(key_share=True)
    )
    return session.exec(query).first()


def beside(session: Session, first: Inquiry) -> list[Inquiry]:
    """The open second matters of the same thread: they see what the citizen adds there."""
    query = select(Inquiry).where(Inquiry.linked_to == first.id, col(Inquiry.status).in_(OPEN_STATUSES))
    return list(session.exec(query.order_by(col(Inquiry.id)).with_for_update(key_share=True)))


def open_thread(session: Session, conversation_id: UUID) -> list[Inquiry]:
    """What a citizen means by "my matter": the current case and the second matters told with it.

    When no such case is open, the second matters of the newest thread that are.
    """
    if first := current(session, conversation_id):
        return [first, *beside(session, first)]
    query = select(Inquiry).where(
        Inquiry.conversation_id == conversation_id,
        col(Inquiry.status).in_(OPEN_STATUSES),
        col(Inquiry.linked_to).is_not(None),
    )
    second = session.exec(query.order_by(col(Inquiry.created_at).desc())).first()
    return beside(session, session.get_one(Inquiry, second.linked_to)) if second else []


def answered_since(session: Session, conversation_id: UUID, since: datetime) -> Inquiry | None:
    """The case that was answered last, if that was so lately; no emergency, which has people of its own."""
    query = (
        select(Inquiry)
        .where(
            Inquiry.conversation_id == conversation_id,
            Inquiry.status == InquiryStatus.answered,
            col(Inquiry.answered_at) >= since,
            col(Inquiry.emergency).is_(False),
        )
        .order_by(col(Inquiry.answered_at).desc())
        .with_for_update(key_share=True)
    )
    return session.exec(query).first()


def reopen(session: Session, inquiry: Inquiry, department_id: str, calendar: Calendar) -> None:
    """The citizen asks on about an answer: its department has the case again, with a new due date."""
    if inquiry.incident_id:
        leave_incident(session, inquiry, "system:triage", "worker")
    inquiry.department_id, inquiry.due_at = department_id, calendar.due(now())
    _move(session, inquiry, InquiryStatus.with_person)
    note(session, inquiry, "citizen", "reopen", "worker", department=department_id)


def heard(session: Session, inquiry: Inquiry) -> None:
    """The citizen wrote more: who decides here, or in a case that shares the thread, must see it first."""
    for one in [inquiry, *beside(session, inquiry)]:
        one.version += 1
        session.add(one)
    session.flush()


def give_notice(
    session: Session, conversation: Conversation, *, cause: str, answers: outbox.Answerable
) -> None:
    """Send the first-contact notice unless the citizen has its newest version."""
    notice = city.fixed_text(session, "first_contact_notice")
    if notice and conversation.notice_version < notice.version:
        conversation.notice_version = notice.version
        session.add(conversation)
        outbox.send_fixed(session, "first_contact_notice", conversation, cause=cause, answers=answers)


def route(
    session: Session,
    inquiry: Inquiry,
    department_id: str,
    *,
    drafting: bool,
    reason: HandOffReason | None = None,
) -> None:
    """Put the case into a department's queue and ask for a draft.

    Args:
        session: The caller's transaction.
        inquiry: The case.
        department_id: Where to.
        drafting: The global kill switch; a department has its own.
        reason: Why a person should look in any case, such as an abstained routing.
    """
    if inquiry.incident_id and department_id != inquiry.department_id:
        leave_incident(session, inquiry, "system:triage", "worker")
    inquiry.department_id, inquiry.hand_off_reason = department_id, reason
    if drafting:
        request_draft(session, inquiry)
    else:
        hand_off(session, inquiry, reason or HandOffReason.drafting_off)


def leave_incident(session: Session, inquiry: Inquiry, actor: str, screen: str) -> None:
    """The case is shown and answered with no others any more: its answer is another's."""
    inquiry.incident_id = None
    session.add(inquiry)
    note(session, inquiry, actor, "leave_incident", screen)


def request_draft(session: Session, inquiry: Inquiry, wish: Wish | None = None) -> None:
    """Replace whatever draft there is by a new one, as the caseworker wishes it.

    Where the department's drafting is switched off, a person goes on without one.
    """
    supersede(session, inquiry)
    if not session.get_one(Department, inquiry.department_id).drafting_enabled:
        hand_off(session, inquiry, HandOffReason(inquiry.hand_off_reason or HandOffReason.drafting_off))
        return
    inquiry.generation += 1
    inquiry.wish = asdict(wish or Wish())
    _move(session, inquiry, InquiryStatus.drafting)
    jobs.draft(session, inquiry.id, inquiry.generation)


def hand_off(session: Session, inquiry: Inquiry, reason: HandOffReason) -> None:
    """A person takes over, for this reason."""
    inquiry.hand_off_reason = reason
    inquiry.emergency = inquiry.emergency or reason == HandOffReason.emergency
    _move(session, inquiry, InquiryStatus.with_person)
    note(session, inquiry, "system:triage", "hand_off", "worker", reason=reason)


def supersede(session: Session, inquiry: Inquiry) -> None:
    """Pending drafts no longer answer the case."""
    session.execute(
        sa.update(Draft)
        .where(col(Draft.inquiry_id) == inquiry.id, col(Draft.status) == DraftStatus.pending)
        .values(status=DraftStatus.superseded)
    )


def on_unsend(session: Session, inquiry_id: UUID) -> None:
    """The citizen took words back: a draft that answers them is void."""
    both = select(Inquiry).where((col(Inquiry.id) == inquiry_id) | (col(Inquiry.linked_to) == inquiry_id))
    for inquiry in session.exec(both).all():
        for example in (TrainingExample, SearchExample):
            session.execute(sa.delete(example).where(col(example.inquiry_id) == inquiry.id))
        inquiry.prediction = _without_words(inquiry.prediction)
        session.add(inquiry)
        _forget_words(session, inquiry)
        if inquiry.status in OPEN_STATUSES:
            _go_on_without(session, inquiry)


def _go_on_without(session: Session, inquiry: Inquiry) -> None:
    """Some of its words are gone; with the last ones the matter is."""
    if not words(session, inquiry):
        supersede(session, inquiry)
        _move(session, inquiry, InquiryStatus.withdrawn)
    elif inquiry.status != InquiryStatus.clarifying and not left_to_people(session, inquiry):
        request_draft(session, inquiry)


def left_to_people(session: Session, inquiry: Inquiry) -> bool:
    """Leave an emergency, and who asked for a person, to people; these get no draft unasked.

    Returns:
        False for any other case.
    """
    reason = HandOffReason(inquiry.hand_off_reason) if inquiry.hand_off_reason else None
    if not inquiry.emergency and reason != HandOffReason.asked_for_person:
        return False
    supersede(session, inquiry)
    hand_off(session, inquiry, reason or HandOffReason.emergency)
    return True


def _without_words(prediction: dict[str, Any]) -> dict[str, Any]:
    """The same view without what it quotes of the citizen."""
    rules = {"alarm": {**prediction["alarm"], "matched": ""}} if "alarm" in prediction else {}
    return {**prediction, "words": [], **rules}


def withdraw(session: Session, inquiry: Inquiry) -> None:
    """The citizen cancels the matter."""
    supersede(session, inquiry)
    _move(session, inquiry, InquiryStatus.withdrawn)
    note(session, inquiry, "citizen", "withdraw", "worker")


def clarify(session: Session, inquiry: Inquiry) -> None:
    """Wait for the citizen to say which matter it is."""
    _move(session, inquiry, InquiryStatus.clarifying)


def words(session: Session, inquiry: Inquiry) -> str:
    """What the citizen wrote about this matter, personal data masked, withdrawn words left out."""
    return words_of(session, [inquiry])[inquiry.id]


def first_words(session: Session, several: Sequence[Inquiry]) -> dict[UUID, str]:
    """How each case began, by id, in one query; empty where the citizen took all words back."""
    roots = {inquiry.id: inquiry.linked_to or inquiry.id for inquiry in several}
    query = (
        select(Message.inquiry_id, Message.text)
        .where(
            col(Message.inquiry_id).in_(set(roots.values())), Message.direction == "in", Message.text != ""
        )
        .order_by(col(Message.seq).desc())
    )
    told = dict(session.exec(query).all())
    return {one: told.get(root, "") for one, root in roots.items()}


def words_of(session: Session, several: Sequence[Inquiry]) -> dict[UUID, str]:
    """`words` of several cases, by id, in one query."""
    roots = {inquiry.id: inquiry.linked_to or inquiry.id for inquiry in several}
    query = (
        select(Message.inquiry_id, Message.text)
        .where(
            col(Message.inquiry_id).in_(set(roots.values())),
            col(Message.direction) == "in",
            col(Message.hidden_at).is_(None),
            col(Message.text) != "",
        )
        .order_by(col(Message.seq))
    )
    texts: dict[UUID | None, list[str]] = {}
    for root, text in session.exec(query):
        texts.setdefault(root, []).append(text)
    return {one: mask("\n".join(texts.get(root, [])))[0] for one, root in roots.items()}


def propose(session: Session, inquiry_id: UUID, generation: int, result: DraftResult, text: str) -> bool:
    """Attach a finished draft, unless the case has moved on since it was asked for.

    Args:
        session: The caller's transaction.
        inquiry_id: The case.
        generation: Which request this draft answers.
        result: What the responder made.
        text: The whole reply: greeting, body, closing.

    Returns:
        False if the draft came too late. If an article changed while it was made, a new one is asked for.
    """
    inquiry = locked(session, inquiry_id)
    late = inquiry.status == InquiryStatus.with_person and inquiry.hand_off_reason == HandOffReason.error
    if inquiry.generation != generation or not (inquiry.status == InquiryStatus.drafting or late):
        return False
    if result.status == "handed_off":
        off = "drafting_off" in result.flags
        hand_off(session, inquiry, HandOffReason.drafting_off if off else HandOffReason.no_words)
        return True
    if result.status == "drafted" and not _still_stand(session, result.passages):
        request_draft(session, inquiry, Wish(**inquiry.wish))
        return False
    draft = _empty(inquiry)
    _stand_on(session, inquiry, draft, result, text)
    note(
        session,
        inquiry,
        "system:responder",
        "propose",
        "worker",
        draft=draft.id,
        origin=draft.origin,
        ready=draft.ready,
        model=for_log(draft.model),
        passages=[p.id for p in result.passages if result.status == "drafted"],
    )
    return True


def _still_stand(session: Session, passages: Sequence[Passage]) -> bool:
    """Whether each sentence is in force as the search read it, its heading and its last day with it."""
    return set(passages) <= set(passages_of(session, {p.article for p in passages}, searched=True))


def _empty(inquiry: Inquiry) -> Draft:
    return Draft(inquiry_id=inquiry.id, status=DraftStatus.pending, origin="", text="", ready=False)


def _stand_on(session: Session, inquiry: Inquiry, draft: Draft, result: DraftResult, text: str) -> None:
    """Give a draft its sources and wording, and its case the queue that fits them."""
    sources = result.passages if result.status == "drafted" else ()
    _word(draft, text, result)
    draft.passages, draft.article_versions = _plain(sources), _versions(session, sources)
    session.add(draft)
    _queue_draft(session, inquiry, draft, result.status)


def pending_draft(session: Session, inquiry_id: UUID, *, hold: bool = False) -> Draft | None:
    """The draft that waits for a person; ``hold`` locks it until the transaction ends."""
    query = select(Draft).where(Draft.inquiry_id == inquiry_id, Draft.status == DraftStatus.pending)
    return session.exec(query.with_for_update(key_share=True) if hold else query).first()


def improve(
    session: Session,
    inquiry_id: UUID,
    generation: int,
    result: DraftResult,
    text: str,
    *,
    again: bool = False,
) -> bool:
    """Put the model's rewording into the pending draft that shows the verbatim sentences.

    The case's version stays: a person who is reading the verbatim text may still approve what they see.

    Args:
        session: The caller's transaction.
        inquiry_id: The case.
        generation: Which request the draft answers.
        result: The rewording, or the verbatim sentences with the reason why there is none.
        text: The whole reply.
        again: A person asked for it: it may take the place of an earlier rewording.

    Returns:
        False if the draft was decided or replaced meanwhile.
    """
    inquiry = locked(session, inquiry_id)
    draft = pending_draft(session, inquiry_id, hold=True)
    same = draft is not None and draft.passages == _plain(result.passages)
    if draft is None or not same or inquiry.generation != generation:
        return False  # decided, or a person chose other sentences meanwhile
    if draft.origin == "model" and not again:
        return False  # a person had it reworded meanwhile
    _word(draft, text, result)
    session.add(draft)
    note(
        session,
        inquiry,
        "system:responder",
        "reword",
        "worker",
        draft=draft.id,
        origin=draft.origin,
        ready=draft.ready,
        model=for_log(draft.model),
    )
    return True


def recompose(
    session: Session,
    inquiry_id: UUID,
    draft_id: UUID | None,
    result: DraftResult,
    text: str,
    *,
    staff: Staff,
    seen_version: int,
    screen: str,
) -> None:
    """A person chose the sentences: the pending draft now stands on them, and the case with it.

    Its version grows: a colleague's screen shows another text than would be approved.

    Args:
        session: The caller's transaction.
        inquiry_id: The case.
        draft_id: The draft on their screen; None: there was none, so this makes one.
        result: Composed from the ticked passages.
        text: The whole reply around it.
        staff: Who ticked; the ticks are kept, for they show which sentences answer.
        seen_version: The case's version on their screen.
        screen: Where.

    Raises:
        NotFound, NotAllowed, DraftNotPending, CaseChanged: See `approve`.
    """
    inquiry = for_decision(session, inquiry_id, staff)
    draft = session.get(Draft, draft_id) if draft_id else _empty(inquiry)
    if draft is None or draft.inquiry_id != inquiry.id:
        raise NotFound
    if draft.status != DraftStatus.pending:
        raise DraftNotPending
    if inquiry.version != seen_version or not (draft_id or takes_draft(inquiry)):
        raise CaseChanged
    before = [p["article"] + "#" + str(p["ordinal"]) for p in draft.passages]
    _take_note(session, inquiry, staff, screen)
    _stand_on(session, inquiry, draft, result, text)
    draft.ticked = True
    ticked = [p.id for p in result.passages]
    note(session, inquiry, staff.login, "recompose", screen, draft=draft.id, before=before, ticked=ticked)


def takes_draft(inquiry: Inquiry) -> bool:
    """Whether a person may make the first draft of a case that shows none."""
    return inquiry.status == InquiryStatus.with_person


def _word(draft: Draft, text: str, result: DraftResult) -> None:
    """Give a draft the wording of a result; on which passages it stands is the caller's."""
    draft.text, draft.origin, draft.ready = text, result.origin, result.ready
    draft.sentences, draft.findings = _plain(result.sentences), _plain(result.findings)
    draft.flags, draft.model = list(result.flags), dict(result.model)
    draft.times = {**(draft.times or {}), **result.times}


def for_log(model: dict[str, Any]) -> dict[str, Any]:
    """What the audit log keeps about a model; not what it wrote, for it may have read a citizen's words."""
    kept = {name: value for name, value in model.items() if name not in ("text", "gate")}
    return {**kept, "passed": model["gate"]["passed"]} if model else {}


def _forget_words(session: Session, inquiry: Inquiry) -> None:
    """What a model wrote after it had read the citizen's words goes with them."""
    for draft in session.exec(select(Draft).where(Draft.inquiry_id == inquiry.id)):
        if draft.model.get("mode") == "answer":
            draft.model = {**draft.model, "text": "", "gate": {**draft.model["gate"], "reason": ""}}
            draft.flags = [flag.partition(":")[0] for flag in draft.flags]
            session.add(draft)


def _versions(session: Session, passages: Sequence[Passage]) -> dict[str, int]:
    """Which version of each quoted article is in force now, and of those that a quoted past answer quotes."""
    past = {p.article.removeprefix(PAST) for p in passages if p.article.startswith(PAST)}
    quoted = (
        select(Draft.article_versions)
        .join(Inquiry, col(Draft.inquiry_id) == col(Inquiry.id))
        .where(col(Inquiry.receipt_number).in_(past), Draft.status == DraftStatus.approved)
    )
    behind = {article for versions in (session.exec(quoted) if past else ()) for article in versions}
    query = select(KnowledgeArticle.article, sa.func.max(KnowledgeArticle.version)).where(
        col(KnowledgeArticle.article).in_({p.article for p in passages} | behind),
        col(KnowledgeArticle.retired_at).is_(None),
    )
    return dict(session.exec(query.group_by(KnowledgeArticle.article)).all())


def _plain(values: Sequence[Any]) -> list[Any]:
    """Dataclasses as JSON values, dates as text."""
    listed: list[Any] = json.loads(json.dumps([asdict(v) for v in values], default=str))
    return listed


def _queue_draft(session: Session, inquiry: Inquiry, draft: Draft, status: str) -> None:
    ready = status == "drafted" and draft.ready
    if not inquiry.emergency:  # an emergency stays one on the list, whatever its draft is like
        inquiry.hand_off_reason = _reason_after(inquiry, ready=ready, status=status)
    _move(session, inquiry, InquiryStatus.awaiting if ready else InquiryStatus.with_person)


def _reason_after(inquiry: Inquiry, *, ready: bool, status: str) -> HandOffReason | None:
    if ready:
        unsure = inquiry.hand_off_reason == HandOffReason.low_confidence
        return HandOffReason.low_confidence if unsure else None
    return HandOffReason.no_source if status == "no_source" else HandOffReason.failed_check


def approve(
    session: Session,
    draft_id: UUID,
    *,
    staff: Staff,
    text: str,
    seen_version: int,
    screen: str,
    today: date,
    check: Checker,
    confirmed: Collection[str] = (),
    keep_open: bool = False,
    below: str = "",
) -> OutboxMessage:
    """Record a person's decision and queue exactly the approved text for sending.

    Args:
        session: The caller's transaction.
        draft_id: The draft the person saw.
        staff: Who decides.
        text: What they saw and perhaps edited; exactly this is sent.
        seen_version: The case's version on their screen.
        screen: Where they decided, such as ``desk``.
        today: The city's date: every article that the draft cites must be in force on it.
        check: Finds facts of the text that its sources do not support.
        confirmed: Keys of the hard findings that they ticked one by one.
        keep_open: The case goes on after this reply.
        below: The second text with its heading (`bot.second_text.below`): approved and sent with ``text``.

    Raises:
        NotFound, NotAllowed: No such draft for this person, or their role cannot approve.
        DraftNotPending: Someone has decided, or a newer draft took its place.
        CaseChanged: The citizen or a colleague changed the case since.
        CitizenWrites: The citizen's newest words, perhaps of another matter, wait for their case.
        SourceEnded: An article's last day has passed, or it changed; `renew_ended` makes the draft anew.
        TextRefused: Empty or too long. NeedsConfirmation: a place without a source that nobody ticked.
    """
    draft = session.get(Draft, draft_id)
    if draft is None:
        raise NotFound
    inquiry = for_decision(session, draft.inquiry_id, staff)
    text = _sendable(text)
    if draft.status != DraftStatus.pending:
        raise DraftNotPending
    if inquiry.version != seen_version:
        raise CaseChanged
    if _hears(session, inquiry.conversation_id):
        raise CitizenWrites
    if ended_sources(draft, today) | changed_sources(session, draft):
        raise SourceEnded
    hard = [finding for finding in check(text, draft) if finding["hard"]]
    if any(finding["key"] not in confirmed for finding in hard):
        raise OwnWordsNeedConfirmation if draft.origin == "staff" else NeedsConfirmation
    _decide(session, draft, DraftStatus.approved, staff)
    _take_note(session, inquiry, staff, screen)
    row = _send(session, draft, inquiry, _sendable(text + below), hard, staff=staff, screen=screen)
    inquiry.answered_at = now()
    _move(session, inquiry, InquiryStatus.with_person if keep_open else InquiryStatus.answered)
    note(
        session,
        inquiry,
        staff.login,
        "approve",
        screen,
        draft=draft.id,
        outbox=row.id,
        text_sha256=row.text_sha256,
        origin=draft.origin,
        edited=text != draft.text,
        second=bool(below),
        confirmed=len(hard),
    )
    return row


def _hears(session: Session, conversation_id: UUID) -> bool:
    """Whether words came in of which no case knows yet: triage is seconds behind, or it is down."""
    query = select(Message.id).where(
        Message.conversation_id == conversation_id, col(Message.triaged_at).is_(None)
    )
    return session.exec(query.limit(1)).first() is not None


def ended_sources(draft: Draft, today: date) -> set[str]:
    """The articles that a draft cites beyond their last day."""
    last_days = ((str(p["article"]), p.get("valid_to")) for p in draft.passages)
    return {article for article, last in last_days if last and date.fromisoformat(last) < today}


def changed_sources(session: Session, draft: Draft) -> set[str]:
    """The articles that do not say any more what a draft quotes of them.

    Who changes an article has the drafts made anew that quote it, but sees none that is just being written.
    """
    past = [p for p in draft.passages if str(p["article"]).startswith(PAST)]
    quoted = [p for p in draft.passages if p not in past]
    read = _plain(passages_of(session, {p["article"] for p in quoted}))
    standing = {(p["article"], p["ordinal"]): p for p in read}

    def stands(quote: dict[str, Any]) -> bool:
        said = standing.get((quote["article"], quote["ordinal"]), {})
        # A reorganisation gives an article to another department and leaves what it says.
        return all(said.get(field) == value for field, value in quote.items() if field != "department")

    return {str(p["article"]) for p in quoted if not stands(p)} | _changed_past(session, past)


def _changed_past(session: Session, quoted: Sequence[dict[str, Any]]) -> set[str]:
    """The past answers among these quotes that would not be offered any more, or not to the same day.

    Of a case that was answered several times a quote does not tell from which answer it is: one that stands
    is enough.
    """
    if not quoted:
        return set()
    numbers = {str(p["article"]).removeprefix(PAST) for p in quoted}
    query = (
        select(Inquiry.receipt_number, Draft.passages)
        .join(Draft, col(Draft.inquiry_id) == col(Inquiry.id))
        .where(
            col(Inquiry.receipt_number).in_(numbers),
            Draft.status == DraftStatus.approved,
            Draft.origin != "holding",
        )
    )
    answers = session.exec(query).all()
    behind = passages_of(session, {str(p["article"]) for _, under in answers for p in under})
    last_days = {(p.article, p.text): p.valid_to for p in behind}
    offered = set()
    for number, under in answers:
        sources = [(str(p["article"]), str(p["text"])) for p in under]
        if all(source in last_days for source in sources):
            last = min((day for source in sources if (day := last_days[source])), default=None)
            offered.add((f"{PAST}{number}", last and last.isoformat()))
    return {str(p["article"]) for p in quoted if (p["article"], p.get("valid_to")) not in offered}


def renew_ended(session: Session, draft_id: UUID, *, staff: Staff, today: date, screen: str) -> None:
    """A pending draft that cites an ended or changed article is made anew, as if it had been retired.

    Raises:
        NotFound, NotAllowed: See `approve`.
    """
    draft = session.get_one(Draft, draft_id)
    inquiry = for_decision(session, draft.inquiry_id, staff)
    session.refresh(draft)
    ended = ended_sources(draft, today) | changed_sources(session, draft)
    if draft.status == DraftStatus.pending and ended:
        request_draft(session, inquiry, Wish(**inquiry.wish))
        note(session, inquiry, staff.login, "source_ended", screen, draft=draft.id, articles=sorted(ended))


def _send(
    session: Session,
    draft: Draft,
    inquiry: Inquiry,
    text: str,
    confirmed: list[dict[str, Any]],
    *,
    staff: Staff,
    screen: str,
) -> OutboxMessage:
    """The approval and the row that goes out, one beside the other."""
    approval = Approval(
        draft_id=draft.id,
        inquiry_id=inquiry.id,
        staff_id=staff.id,
        text=text,
        text_sha256=outbox.digest(text),
        screen=screen,
        confirmed=confirmed,
    )
    session.add(approval)
    session.flush()
    return outbox.send_approved(session, approval, inquiry.conversation_id)


def _sendable(text: str) -> str:
    text = storable(text.replace("\r\n", "\n")).strip()
    if not text:
        raise TextRefused("本文が空です。")
    if utf16_units(text) > MAX_TEXT_UNITS:
        raise TextRefused(f"長すぎます({utf16_units(text)}字)。{MAX_TEXT_UNITS}字以内にしてください。")
    if "my_number" in mask(text)[1]:
        raise TextRefused("マイナンバーと思われる番号が含まれています。削除してください。")
    return text


def _decide(session: Session, draft: Draft, status: DraftStatus, staff: Staff, reason: str = "") -> None:
    changed = session.execute(
        sa.update(Draft)
        .where(col(Draft.id) == draft.id, col(Draft.status) == DraftStatus.pending)
        .values(status=status, decided_by=staff.id, decided_at=now(), return_reason=reason)
        .returning(col(Draft.id))
    ).first()
    if changed is None:
        raise DraftNotPending
    session.refresh(draft)


def write_by_hand(
    session: Session,
    inquiry_id: UUID,
    *,
    staff: Staff,
    text: str,
    seen_version: int,
    screen: str,
    check: Checker,
    confirmed: Collection[str] = (),
    keep_open: bool,
) -> OutboxMessage:
    """A person answers in their own words: their text is the draft, and they approve it.

    Raises:
        As `approve`; ``check`` finds what is wrong without any source.
    """
    inquiry = for_decision(session, inquiry_id, staff)
    supersede(session, inquiry)
    draft = Draft(inquiry_id=inquiry.id, status=DraftStatus.pending, origin="staff", text=text, ready=True)
    session.add(draft)
    session.flush()
    return approve(
        session,
        draft.id,
        staff=staff,
        text=text,
        seen_version=seen_version,
        screen=screen,
        today=now().date(),  # any day does: the text cites no article
        check=check,
        confirmed=confirmed,
        keep_open=keep_open,
    )


def return_draft(
    session: Session, draft_id: UUID, *, staff: Staff, reason: str, seen_version: int, screen: str
) -> None:
    """Send a draft back with a reason; a person goes on with the case."""
    draft = session.get(Draft, draft_id)
    if draft is None:
        raise NotFound
    inquiry = _for_change(session, draft.inquiry_id, staff, seen_version)
    reason = _reason(reason)
    _decide(session, draft, DraftStatus.returned, staff, reason)
    _take_note(session, inquiry, staff, screen)
    inquiry.hand_off_reason = HandOffReason.returned
    _move(session, inquiry, InquiryStatus.with_person)
    note(session, inquiry, staff.login, "return_draft", screen, draft=draft.id, reason=reason)


def transfer(
    session: Session,
    inquiry_id: UUID,
    *,
    staff: Staff,
    department_id: str,
    reason: str,
    seen_version: int,
    screen: str,
    today: date,
    drafting: bool,
) -> None:
    """Hand the case to another department, with a reason; it gets a new draft from that department's view."""
    inquiry = _for_change(session, inquiry_id, staff, seen_version)
    target = session.get(Department, department_id)
    if target is None or target.id == inquiry.department_id or not valid_on(target, today):
        raise TextRefused("移管先の課を選んでください。")
    reason, before = _reason(reason), inquiry.department_id
    if inquiry.incident_id:
        leave_incident(session, inquiry, staff.login, screen)
    _move_department(session, inquiry, department_id, staff=staff, drafting=drafting)
    note(session, inquiry, staff.login, "transfer", screen, before=before, after=department_id, reason=reason)


def reorganise(session: Session, inquiry: Inquiry, department_id: str, *, drafting: bool) -> None:
    """The department ended; its successor takes the case over, and groups stay whole (機構改革)."""
    before = inquiry.department_id
    _move_department(session, inquiry, department_id, staff=None, drafting=drafting)
    note(session, inquiry, "system:organisation", "reorganise", "worker", before=before, after=department_id)


def _move_department(
    session: Session, inquiry: Inquiry, department_id: str, *, staff: Staff | None, drafting: bool
) -> None:
    """Whoever decided: the step is kept as a row, and a matter that people work on gets a new draft."""
    session.add(
        Transfer(
            inquiry_id=inquiry.id,
            from_department=inquiry.department_id,
            to_department=department_id,
            staff_id=staff.id if staff else None,
        )
    )
    inquiry.department_id = department_id
    if not left_to_people(session, inquiry):
        supersede(session, inquiry)
        route(session, inquiry, department_id, drafting=drafting)


def close(
    session: Session,
    inquiry_id: UUID,
    *,
    staff: Staff,
    reason: str,
    seen_version: int,
    screen: str,
    belongs_to: str = "",
) -> None:
    """End the case without (a further) reply.

    Args:
        session: The caller's transaction.
        inquiry_id: The case.
        staff: Who decides.
        reason: Why, for the audit log.
        seen_version: Of the case, on the person's screen.
        screen: For the audit log.
        belongs_to: One of `EXITS` where the matter was no department's; the routing may learn it.

    Raises:
        As every decision, and TextRefused without a reason or with an exit that does not exist.
    """
    inquiry = _for_change(session, inquiry_id, staff, seen_version, answered_too=True)
    reason = _reason(reason)
    if belongs_to and belongs_to not in EXITS:
        raise TextRefused("終了の区分を選んでください。")
    supersede(session, inquiry)
    _take_note(session, inquiry, staff, screen)
    inquiry.closed_at, inquiry.belongs_to = now(), belongs_to
    _move(session, inquiry, InquiryStatus.closed)
    note(session, inquiry, staff.login, "close", screen, reason=reason, belongs_to=belongs_to)


def redraft(
    session: Session, inquiry_id: UUID, wish: Wish, *, staff: Staff, seen_version: int, screen: str
) -> None:
    """Ask for a new draft: with a hint, shorter, longer, in another tone."""
    inquiry = _for_change(session, inquiry_id, staff, seen_version)
    wish = replace(wish, hint=mask(storable(wish.hint).strip()[:MAX_HINT])[0])
    _take_note(session, inquiry, staff, screen)
    request_draft(session, inquiry, wish)
    note(session, inquiry, staff.login, "redraft", screen, wish=asdict(wish))


def acknowledge(session: Session, inquiry_id: UUID, *, staff: Staff, screen: str) -> None:
    """A person took note of an emergency."""
    _take_note(session, for_decision(session, inquiry_id, staff), staff, screen)


def _take_note(session: Session, inquiry: Inquiry, staff: Staff, screen: str) -> None:
    """Whoever decides on an emergency has read it: it must not sound at everybody's desk any more."""
    if inquiry.emergency and inquiry.acknowledged_by is None:
        inquiry.acknowledged_by = staff.id
        session.add(inquiry)
        note(session, inquiry, staff.login, "acknowledge", screen)


def escalate_alarms(session: Session, before: datetime) -> int:
    """Emergencies that people have had since ``before`` and nobody took note of: now everybody sees them.

    One that somebody works on at this moment is left to the next sweep.

    Returns:
        How many alarms escalated.
    """
    query = select(Inquiry).where(
        col(Inquiry.emergency).is_(True),
        col(Inquiry.acknowledged_by).is_(None),
        col(Inquiry.alarm_escalated_at).is_(None),
        Inquiry.status_since < before,
    )
    overdue = session.exec(query.with_for_update(key_share=True, skip_locked=True)).all()
    for inquiry in overdue:
        inquiry.alarm_escalated_at = now()
        session.add(inquiry)
        note(session, inquiry, "system:alarm", "escalate_alarm", "worker")
    return len(overdue)


def visible(staff: Staff) -> sa.ColumnElement[bool]:
    """Condition of the cases this person may see: their department's; the front desk and supervisors all.

    Theirs are those of departments that it took over too: finished cases stay where they ended.
    An emergency that nobody took note of in time is everybody's until somebody does, and then theirs too.
    """
    if staff.role != Role.caseworker or staff.department_id == FRONT_DESK:
        return sa.true()
    unheard = (
        col(Inquiry.emergency).is_(True)
        & col(Inquiry.alarm_escalated_at).is_not(None)
        & col(Inquiry.acknowledged_by).is_(None)
    )
    heard = col(Inquiry.acknowledged_by) == staff.id
    return col(Inquiry.department_id).in_(taken_over(staff.department_id)) | unheard | heard


def taken_over(department_id: str) -> sa.Select[Any]:
    """The department, those that have ended and named it their successor, and so on back (機構改革)."""
    today = now().astimezone(JAPAN).date()
    own = sa.select(col(Department.id)).where(col(Department.id) == department_id)
    known = own.cte("taken_over", recursive=True)
    ended = sa.select(col(Department.id)).join(known, col(Department.successor_id) == known.c.id)
    return sa.select(known.union(ended.where(col(Department.valid_to) < today)).c.id)


def hold(session: Session, inquiry_ids: Collection[UUID]) -> None:
    """Lock several cases with their conversations, in the order that everybody keeps."""
    conversations.hold_of_cases(session, inquiry_ids)
    query = select(Inquiry.id).where(col(Inquiry.id).in_(inquiry_ids)).order_by(col(Inquiry.id))
    session.exec(query.with_for_update(key_share=True)).all()


def for_decision(session: Session, inquiry_id: UUID, staff: Staff) -> Inquiry:
    """The case, locked with its conversation, if this person may decide about it."""
    hold(session, [inquiry_id])
    query = select(Inquiry).where(Inquiry.id == inquiry_id, visible(staff))
    inquiry = session.exec(query.execution_options(populate_existing=True)).first()
    if inquiry is None:
        raise NotFound
    if staff.role == Role.auditor:
        raise NotAllowed
    return inquiry


def _for_change(
    session: Session, inquiry_id: UUID, staff: Staff, seen_version: int, *, answered_too: bool = False
) -> Inquiry:
    inquiry = for_decision(session, inquiry_id, staff)
    allowed: Sequence[str] = (*OPEN_STATUSES, InquiryStatus.answered) if answered_too else OPEN_STATUSES
    if inquiry.version != seen_version or inquiry.status not in allowed:
        raise CaseChanged
    return inquiry


def _reason(reason: str) -> str:
    if not (reason := storable(reason).strip()):
        raise TextRefused("理由を入力してください。")
    return reason[:500]


def locked(session: Session, inquiry_id: UUID) -> Inquiry:
    """The case as it is now, locked with its conversation."""
    hold(session, [inquiry_id])
    return session.get_one(Inquiry, inquiry_id, populate_existing=True)


def _move(session: Session, inquiry: Inquiry, status: InquiryStatus) -> None:
    """Every change of a case passes here: its version grows, so older screens cannot decide."""
    inquiry.status = status
    if not inquiry.emergency or inquiry.acknowledged_by:  # the timer of an alarm that nobody heard goes on
        inquiry.status_since = now()
    inquiry.version += 1
    session.add(inquiry)
    session.flush()


def note(session: Session, inquiry: Inquiry, actor: str, action: str, screen: str, **details: object) -> None:
    """Write what was done with a case into the audit log."""
    audit.record(
        session,
        actor=actor,
        action=action,
        subject=f"inquiry:{inquiry.receipt_number}",
        screen=screen,
        version=inquiry.version,
        **details,
    )
