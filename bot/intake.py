"""From a platform's event to stored rows, in the transaction that ends before the platform gets its 200."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlmodel import Session, select

from bot import alarms, audit, conversations, inquiries, jobs, outbox
from bot.calendar import Calendar
from bot.db import insert_once, now
from bot.models import Conversation, EventStatus, InboundEvent, Message
from channels import message as wire

log = logging.getLogger(__name__)
CLOCKS_APART = timedelta(hours=1)
"""Longest time between an event and its message, of two processes' clocks too."""

_TROUBLES = (sa.exc.IntegrityError, sa.exc.DataError, ValueError, TypeError, LookupError)
"""Of one event's content; any other trouble is the database's own."""


def receive(session: Session, channel: str, events: Sequence[wire.InboundEvent], calendar: Calendar) -> int:
    """Store events and what follows from them; a redelivered event changes nothing.

    A trouble with one event is kept with it as a note and never costs its neighbours; a trouble with the
    database itself is raised, so that the platform does not get its 200. Emergencies are heard when all is
    stored: an alarm takes a case and a receipt number, and every conversation is locked before these.

    Args:
        session: The transaction that ends before the platform gets its answer.
        channel: Where they came from.
        events: Each citizen's in their order.
        calendar: For the due date of an emergency's case.

    Returns:
        How many events were not known yet.
    """
    new = [(event, row) for event in events if (row := _new(session, channel, event))]
    stored = [_work(session, channel, event, row) for event, row in new if event.kind in _HANDLERS]
    for message in filter(None, stored):
        _hear(session, message, calendar)
    return len(new)


def _new(session: Session, channel: str, event: wire.InboundEvent) -> InboundEvent | None:
    row = InboundEvent(
        channel=channel,
        event_id=event.event_id,
        raw=event.raw,
        status=_STATUS.get(event.kind, EventStatus.stored),
        note=event.note,
    )
    return row if insert_once(session, row) else None


def _work(session: Session, channel: str, event: wire.InboundEvent, row: InboundEvent) -> Message | None:
    try:
        with session.begin_nested():
            return _HANDLERS[event.kind](session, channel, event)
    except _TROUBLES as reason:
        log.error("event %s could not be worked: %s", event.event_id, type(reason).__name__)
        _mark(session, row, EventStatus.malformed, type(reason).__name__)
        return None


def _hear(session: Session, message: Message, calendar: Calendar) -> None:
    """A trouble costs the head start only: triage runs the rules again."""
    try:
        with session.begin_nested():
            conversation = session.get_one(Conversation, message.conversation_id)
            alarms.hear(session, message, conversation, calendar)
    except _TROUBLES as reason:
        log.error("message %s could not be heard: %s", message.id, type(reason).__name__)


_STATUS = {
    "ignored": EventStatus.ignored,
    "unknown": EventStatus.unknown,
    "malformed": EventStatus.malformed,
}


def _mark(session: Session, row: InboundEvent, status: EventStatus, note: str) -> None:
    stored = session.get_one(InboundEvent, row.id)
    stored.status, stored.note = status, note
    session.add(stored)


def _on_message(session: Session, channel: str, event: wire.InboundEvent) -> Message | None:
    conversation = conversations.of_citizen(session, channel, event.user)
    if known := _known(session, conversation, event.platform_id):
        if known.hidden_at:
            _erase_raw(session, channel, event.platform_id, known)
        return None  # redelivered under another event id, or taken back before it came
    stored = _store_message(session, conversation, event)
    audit.record(
        session,
        actor=f"citizen:{channel}",
        action="receive",
        subject=f"message:{stored.id}",
        screen=channel,
        kind=stored.kind,
    )
    jobs.triage(session, conversation.id, stored.id)
    return stored


def _known(session: Session, conversation: Conversation, platform_id: str | None) -> Message | None:
    query = select(Message).where(
        Message.conversation_id == conversation.id, Message.platform_id == platform_id
    )
    return session.exec(query).first() if platform_id is not None else None


def _store_message(session: Session, conversation: Conversation, event: wire.InboundEvent) -> Message:
    row = Message(
        conversation_id=conversation.id,
        seq=conversation.next_seq,
        direction="in",
        kind="button" if event.kind == "button" else event.message_kind,
        text=event.text,
        data=event.data,
        platform_id=event.platform_id,
        reply_token=event.reply_token,
    )
    conversation.next_seq += 1
    session.add(conversation)
    session.add(row)
    session.flush()
    return row


@dataclass(frozen=True, slots=True)
class _Followed:
    """No message, but with a token to answer."""

    reply_token: str | None
    created_at: datetime


def _on_follow(session: Session, channel: str, event: wire.InboundEvent) -> None:
    conversation = conversations.of_citizen(session, channel, event.user)
    conversation.blocked = False
    followed = _Followed(event.reply_token, now())
    inquiries.give_notice(session, conversation, cause=f"{event.event_id}:notice", answers=followed)
    outbox.send_fixed(session, "greeting", conversation, cause=f"{event.event_id}:greeting", answers=followed)


def _on_unfollow(session: Session, channel: str, event: wire.InboundEvent) -> None:
    conversation = conversations.of_citizen(session, channel, event.user)
    conversation.blocked = True
    session.add(conversation)


def _on_unsend(session: Session, channel: str, event: wire.InboundEvent) -> None:
    """Hide the text at once; the tombstone also stops a message that arrives after its own unsend."""
    conversation = conversations.of_citizen(session, channel, event.user)
    known = _known(session, conversation, event.platform_id)
    row = known or _store_message(session, conversation, event)
    row.text, row.data, row.hidden_at, row.triaged_at = "", {}, now(), row.triaged_at or now()
    session.add(row)
    if row.inquiry_id:
        inquiries.on_unsend(session, row.inquiry_id)
    _erase_raw(session, channel, event.platform_id, known)
    audit.record(
        session, actor=f"citizen:{channel}", action="unsend", subject=f"message:{row.id}", screen=channel
    )


def _erase_raw(session: Session, channel: str, platform_id: str | None, known: Message | None) -> None:
    """The raw event holds the words too, and so does each redelivery of it.

    None came before its message; only words of which no message was made are sought among all events.
    """
    query = select(InboundEvent).where(
        sa.column("raw").contains(f'"id": "{platform_id}"', autoescape=True),
    )
    if known:
        query = query.where(InboundEvent.received_at >= known.created_at - CLOCKS_APART)
    for event in session.exec(query):
        # Asked of the database, it would make SQLite go through all of the channel.
        if event.channel == channel:
            event.raw, event.note = "{}", "unsent by the citizen"
            session.add(event)


_HANDLERS: dict[str, Callable[[Session, str, wire.InboundEvent], Message | None]] = {
    "message": _on_message,
    "button": _on_message,
    "follow": _on_follow,
    "unfollow": _on_unfollow,
    "unsend": _on_unsend,
}
