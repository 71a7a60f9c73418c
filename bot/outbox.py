"""What goes out: fixed texts and approved replies, in order, exactly once as the citizen sees it.

LINE remembers a retry key for 24 hours. Within that time a repeat of the same push is harmless, so a push is
repeated until LINE gives a definite answer; after ``KEY_HOURS`` without one a person must look.
"""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Engine
from sqlmodel import Session, col, select

from bot import audit, city, conversations, jobs
from bot.db import now, transaction
from bot.errors import NotFound
from bot.models import (
    Approval,
    Conversation,
    Department,
    FixedText,
    Inquiry,
    Message,
    OutboxMessage,
    OutboxStatus,
)
from channels.errors import (
    InvalidReplyToken,
    NotAcceptedYet,
    PermanentChannelError,
    TemporaryChannelError,
)
from channels.message import Accepted, Button

EMERGENCY_NOTICE = "emergency_notice"
"""Key of the one text that waits for no other."""
KEY_HOURS = 23
UNKNOWN_JA = "届いたかどうか確認できません。職員の確認が必要です。"
_BACKOFF_SECONDS = (2, 5, 15, 30, 60, 120, 300)
_REPLY_TOKEN_SECONDS = 50


class Sender(Protocol):
    """A channel that carries text to a citizen."""

    def push(self, to: str, text: str, *, retry_key: str, buttons: Sequence[Button] = ()) -> Accepted:
        """Send; a repeated key is sent once."""
        ...

    def reply(self, reply_token: str, text: str, *, buttons: Sequence[Button] = ()) -> Accepted:
        """Answer an event at once, with its one-use token."""
        ...


class Answerable(Protocol):
    """What a platform sent, with a token for one reply at once."""

    @property
    def reply_token(self) -> str | None:
        """Usable once, for about a minute."""
        ...

    @property
    def created_at(self) -> datetime:
        """When it came."""
        ...


def digest(text: str) -> str:
    """SHA-256 of the bytes that were approved."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def send_fixed(
    session: Session,
    key: str,
    conversation: Conversation,
    *,
    cause: str,
    inquiry: Inquiry | None = None,
    buttons: Sequence[str] = (),
    answers: Answerable | None = None,
) -> None:
    """Queue a text approved in advance; the same ``cause`` never queues it twice.

    Args:
        session: The caller's transaction.
        key: Key of ``data/fixed_texts.yaml``.
        conversation: Where to.
        cause: What it answers.
        inquiry: Fills ``{receipt_number}`` and ``{department}``.
        buttons: Department ids offered as choices.
        answers: What came, whose reply token may still be fresh.
    """
    fixed = city.fixed_text(session, key)
    if fixed is None:
        raise LookupError(f"no fixed text {key!r}: load the city's files")
    if session.exec(select(OutboxMessage).where(OutboxMessage.cause == cause)).first():
        return
    session.flush()
    row = OutboxMessage(
        conversation_id=conversation.id,
        inquiry_id=inquiry.id if inquiry else None,
        seq=_next_seq(session, conversation.id),
        fixed_text_id=fixed.id,
        cause=cause,
        text=_render(session, fixed, inquiry),
        text_sha256="",
        buttons=list(buttons),
    )
    row.text_sha256 = digest(row.text)
    if answers and answers.reply_token and not _token_taken(session, answers.reply_token):
        row.reply_token = answers.reply_token
        row.reply_until = answers.created_at + timedelta(seconds=_REPLY_TOKEN_SECONDS)
    _queue(session, row)


def send_approved(session: Session, approval: Approval, conversation_id: UUID) -> OutboxMessage:
    """Queue exactly the approved text, in the transaction of the approval."""
    row = OutboxMessage(
        conversation_id=conversation_id,
        inquiry_id=approval.inquiry_id,
        seq=_next_seq(session, conversation_id),
        approval_id=approval.id,
        text=approval.text,
        text_sha256=approval.text_sha256,
    )
    _queue(session, row)
    return row


def _render(session: Session, fixed: FixedText, inquiry: Inquiry | None) -> str:
    """The same two replacements as the database's own rule (migration 0002)."""
    department = session.get(Department, inquiry.department_id) if inquiry else None
    number = inquiry.receipt_number if inquiry else ""
    return fixed.text.replace("{receipt_number}", number).replace(
        "{department}", department.name if department else ""
    )


def _queue(session: Session, row: OutboxMessage) -> None:
    session.add(row)
    session.flush()
    jobs.deliver(session, row.conversation_id, row.id)


def _next_seq(session: Session, conversation_id: UUID) -> int:
    query = select(OutboxMessage.seq).where(OutboxMessage.conversation_id == conversation_id)
    return (session.exec(query.order_by(col(OutboxMessage.seq).desc())).first() or 0) + 1


def _token_taken(session: Session, token: str) -> bool:
    return session.exec(select(OutboxMessage).where(OutboxMessage.reply_token == token)).first() is not None


def deliver(engine: Engine, conversation_id: UUID, senders: Mapping[str, Sender]) -> int:
    """Send what is due in one conversation, lowest number first; a row to be retried holds back those behind.

    Only a notice of an emergency overtakes.

    Returns:
        How many messages were accepted.
    """
    accepted = 0
    while started := _start_attempt(engine, conversation_id):
        accepted += _attempt(engine, *started, senders)
    return accepted


def _start_attempt(engine: Engine, conversation_id: UUID) -> tuple[UUID, bool] | None:
    """Commit that a try begins before the first byte leaves: the key's 24 hours start now."""
    with transaction(engine) as session:
        query = (
            select(OutboxMessage)
            .where(
                OutboxMessage.conversation_id == conversation_id, OutboxMessage.status == OutboxStatus.queued
            )
            .order_by(sa.case((_overtakes(), 0), else_=1), col(OutboxMessage.seq))
            .limit(1)
            .with_for_update(key_share=True)
        )
        row = session.exec(query).first()
        if row is None or row.next_try_at > now():
            return None
        if _tampered(session, row):
            _settle(session, row, OutboxStatus.failed, "送信前の照合で、承認された文面と一致しませんでした。")
        elif _lost_reply(row):
            _give_up_reply(session, row, UNKNOWN_JA)
        elif _key_too_old(row):
            _settle(session, row, OutboxStatus.uncertain, UNKNOWN_JA)
        is_first = row.first_tried_at is None
        if row.status == OutboxStatus.queued:
            row.attempts += 1
            row.first_tried_at = row.first_tried_at or now()
            row.next_try_at = now() + _pause(row.attempts)
            if row.reply_until and row.reply_until < now():
                row.reply_token = None
        return row.id, is_first


def _overtakes() -> sa.ColumnElement[bool]:
    """Notices of an emergency whose time has come; one in back-off holds back nothing before it."""
    notices = sa.select(col(FixedText.id)).where(col(FixedText.key) == EMERGENCY_NOTICE)
    return col(OutboxMessage.fixed_text_id).in_(notices) & (col(OutboxMessage.next_try_at) <= now())


def _tampered(session: Session, row: OutboxMessage) -> bool:
    approval = session.get(Approval, row.approval_id) if row.approval_id else None
    approved = approval.text_sha256 if approval else row.text_sha256
    return not (digest(row.text) == row.text_sha256 == approved)


def _lost_reply(row: OutboxMessage) -> bool:
    """A reply was under way when the process died: without a retry key it must not be repeated."""
    return row.reply_token is not None and row.first_tried_at is not None


def _give_up_reply(session: Session, row: OutboxMessage, error: str) -> None:
    """Nobody knows whether it arrived; an emergency's notice goes again by push: better twice than never."""
    fixed = session.get(FixedText, row.fixed_text_id) if row.fixed_text_id else None
    if fixed and fixed.key == EMERGENCY_NOTICE:
        row.reply_token, row.first_tried_at, row.next_try_at = None, None, now()
    else:
        _settle(session, row, OutboxStatus.uncertain, error)


def _key_too_old(row: OutboxMessage) -> bool:
    return row.first_tried_at is not None and now() - row.first_tried_at > timedelta(hours=KEY_HOURS)


def _pause(attempts: int) -> timedelta:
    return timedelta(seconds=_BACKOFF_SECONDS[min(attempts, len(_BACKOFF_SECONDS)) - 1])


def _attempt(engine: Engine, row_id: UUID, is_first: bool, senders: Mapping[str, Sender]) -> bool:
    with transaction(engine) as session:
        row, conversation = _load(session, row_id)
        buttons = _buttons(session, row)
        if row.status != OutboxStatus.queued:
            return False
        if conversation.channel not in senders:
            why = "この経路の送信設定がありません。システム担当者に連絡してください。"
            if is_first:
                row.first_tried_at = None  # nothing left the house
            _settle(session, row, OutboxStatus.failed, why)
            return False
    try:
        answer = _send(senders[conversation.channel], row, conversation, buttons)
    except (TemporaryChannelError, PermanentChannelError) as refused:
        with transaction(engine) as session:
            _record_refusal(session, _load(session, row_id)[0], refused, is_first)
        return False
    with transaction(engine) as session:
        row, conversation = _load(session, row_id)
        _record_accepted(session, row, conversation, answer)
    return True


def _load(session: Session, row_id: UUID) -> tuple[OutboxMessage, Conversation]:
    """The row and its conversation, locked."""
    conversation = conversations.hold(session, session.get_one(OutboxMessage, row_id).conversation_id)
    return session.get_one(OutboxMessage, row_id, populate_existing=True), conversation


def _buttons(session: Session, row: OutboxMessage) -> list[Button]:
    known = {d.id: d.short for d in city.departments(session)}
    return [Button(known[d], f"command=choose_department&department={d}") for d in row.buttons if d in known]


def _send(sender: Sender, row: OutboxMessage, conversation: Conversation, buttons: list[Button]) -> Accepted:
    if row.reply_token:
        return sender.reply(row.reply_token, row.text, buttons=buttons)
    return sender.push(conversation.channel_user, row.text, retry_key=str(row.id), buttons=buttons)


def _record_refusal(
    session: Session,
    row: OutboxMessage,
    refused: TemporaryChannelError | PermanentChannelError,
    is_first: bool,
) -> None:
    row.error = str(refused)[:500]
    definite = isinstance(refused, NotAcceptedYet | PermanentChannelError)
    if definite and is_first:
        row.first_tried_at = None  # LINE has not seen the key: its 24 hours have not begun
    if isinstance(refused, InvalidReplyToken):
        row.reply_token, row.next_try_at = None, now()
    elif isinstance(refused, NotAcceptedYet):
        row.reply_token = None
    elif isinstance(refused, PermanentChannelError):
        _settle(session, row, OutboxStatus.failed, row.error)
    elif row.reply_token:
        _give_up_reply(session, row, row.error)
    session.add(row)


def _record_accepted(
    session: Session, row: OutboxMessage, conversation: Conversation, answer: Accepted
) -> None:
    row.status, row.accepted_at = OutboxStatus.accepted, now()
    row.platform_request_id, row.error = answer.request_id, ""
    show(session, row, conversation)
    audit.record(
        session,
        actor="system:outbox",
        action="accepted",
        subject=f"outbox:{row.id}",
        screen="worker",
        text_sha256=row.text_sha256,
        request_id=answer.request_id,
        repeated=answer.repeated,
    )


def show(session: Session, row: OutboxMessage, conversation: Conversation) -> None:
    """Put the sent text into the thread of its conversation, which the caller has locked."""
    session.add(
        Message(
            conversation_id=row.conversation_id,
            inquiry_id=row.inquiry_id,
            seq=conversation.next_seq,
            direction="out",
            text=row.text,
            data={"buttons": row.buttons} if row.buttons else {},
            outbox_id=row.id,
            triaged_at=now(),
        )
    )
    conversation.next_seq += 1
    session.add(conversation)
    session.flush()


def _settle(session: Session, row: OutboxMessage, status: OutboxStatus, error: str) -> None:
    row.status, row.error = status, error
    session.add(row)
    audit.record(
        session,
        actor="system:outbox",
        action=status,
        subject=f"outbox:{row.id}",
        screen="worker",
        error=error,
    )


def answer_goes_out(session: Session, inquiry: Inquiry) -> bool:
    """Whether the last reply that a person approved reaches the citizen before whatever is queued now."""
    query = select(OutboxMessage.status).where(
        OutboxMessage.inquiry_id == inquiry.id, col(OutboxMessage.approval_id).is_not(None)
    )
    last = session.exec(query.order_by(col(OutboxMessage.seq).desc())).first()
    return last in (OutboxStatus.queued, OutboxStatus.accepted)


def retry(session: Session, row_id: UUID, *, actor: str, screen: str) -> None:
    """A supervisor had the cause removed: try a failed row again, with the same key.

    Raises:
        NotFound: No such row.
    """
    query = select(OutboxMessage).where(OutboxMessage.id == row_id)
    row = session.exec(query.with_for_update(key_share=True)).first()
    if row is None:
        raise NotFound
    if row.status != OutboxStatus.failed:
        return
    row.status, row.next_try_at, row.error = OutboxStatus.queued, now(), ""
    session.add(row)
    audit.record(session, actor=actor, action="retry_delivery", subject=f"outbox:{row.id}", screen=screen)
    jobs.deliver(session, row.conversation_id, f"{row.id}-by-hand-{row.attempts}")


def due(session: Session, at: datetime) -> list[OutboxMessage]:
    """Queued rows whose time has come."""
    return list(
        session.exec(
            select(OutboxMessage).where(
                OutboxMessage.status == OutboxStatus.queued, OutboxMessage.next_try_at <= at
            )
        )
    )
