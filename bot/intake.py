"""From a platform's event to stored rows, in the transaction that ends before the platform gets its 200."""

import logging

import sqlalchemy as sa
from sqlmodel import Session, select

from bot import audit, conversations, inquiries, jobs, outbox
from bot.db import insert_once, now
from bot.models import Conversation, EventStatus, InboundEvent, Message
from channels import message as wire

log = logging.getLogger(__name__)


def receive(session: Session, channel: str, event: wire.InboundEvent) -> bool:
    """Store one event and what follows from it; a redelivered event changes nothing.

    A trouble with one event is kept with it as a note and never costs its neighbours; a trouble with the
    database itself is raised, so that the platform does not get its 200.

    Returns:
        False if the event was known already.
    """
    row = InboundEvent(
        channel=channel,
        event_id=event.event_id,
        raw=event.raw,
        status=_STATUS.get(event.kind, EventStatus.stored),
        note=event.note,
    )
    if not insert_once(session, row):
        return False
    if event.kind in _HANDLERS:
        try:
            with session.begin_nested():
                _HANDLERS[event.kind](session, channel, event)
        except (sa.exc.IntegrityError, sa.exc.DataError, ValueError, TypeError, LookupError) as reason:
            log.error("event %s could not be worked: %s", event.event_id, type(reason).__name__)
            _mark(session, row, EventStatus.malformed, type(reason).__name__)
    return True


_STATUS = {
    "ignored": EventStatus.ignored,
    "unknown": EventStatus.unknown,
    "malformed": EventStatus.malformed,
}


def _mark(session: Session, row: InboundEvent, status: EventStatus, note: str) -> None:
    stored = session.get_one(InboundEvent, row.id)
    stored.status, stored.note = status, note
    session.add(stored)


def _on_message(session: Session, channel: str, event: wire.InboundEvent) -> None:
    conversation = conversations.of_citizen(session, channel, event.user)
    if _known(session, conversation, event.platform_id):
        return  # redelivered under another event id, or taken back before it came
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


def _known(session: Session, conversation: Conversation, platform_id: str | None) -> bool:
    query = select(Message.id).where(
        Message.conversation_id == conversation.id, Message.platform_id == platform_id
    )
    return platform_id is not None and session.exec(query).first() is not None


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


def _on_follow(session: Session, channel: str, event: wire.InboundEvent) -> None:
    conversation = conversations.of_citizen(session, channel, event.user)
    conversation.blocked = False
    inquiries.give_notice(session, conversation, cause=f"{event.event_id}:notice")
    outbox.send_fixed(session, "greeting", conversation, cause=f"{event.event_id}:greeting")


def _on_unfollow(session: Session, channel: str, event: wire.InboundEvent) -> None:
    conversation = conversations.of_citizen(session, channel, event.user)
    conversation.blocked = True
    session.add(conversation)


def _on_unsend(session: Session, channel: str, event: wire.InboundEvent) -> None:
    """Hide the text at once; the tombstone also stops a message that arrives after its own unsend."""
    conversation = conversations.of_citizen(session, channel, event.user)
    query = select(Message).where(
        Message.conversation_id == conversation.id, Message.platform_id == event.platform_id
    )
    row = session.exec(query).first() or _store_message(session, conversation, event)
    row.text, row.data, row.hidden_at, row.triaged_at = "", {}, now(), row.triaged_at or now()
    session.add(row)
    if row.inquiry_id:
        inquiries.on_unsend(session, row.inquiry_id)
    _erase_raw(session, channel, event.platform_id)
    audit.record(
        session, actor=f"citizen:{channel}", action="unsend", subject=f"message:{row.id}", screen=channel
    )


def _erase_raw(session: Session, channel: str, platform_id: str | None) -> None:
    """The raw event holds the words too."""
    events = session.exec(
        select(InboundEvent).where(
            InboundEvent.channel == channel,
            sa.column("raw").contains(f'"id": "{platform_id}"', autoescape=True),
        )
    )
    for event in events:
        event.raw, event.note = "{}", "unsent by the citizen"
        session.add(event)


_HANDLERS = {
    "message": _on_message,
    "button": _on_message,
    "follow": _on_follow,
    "unfollow": _on_unfollow,
    "unsend": _on_unsend,
}
