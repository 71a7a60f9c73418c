"""A citizen's conversation, and the lock that everything about it takes first.

Locks are taken in one order, or two transactions wait for each other for ever: conversation, case, draft or
outbox row; whoever needs several of a kind takes them by id. ``key_share`` asks PostgreSQL for FOR NO KEY
UPDATE: a new row that only refers to a locked one need not wait.
Source: PostgreSQL manual, "Explicit Locking", sections "Row-Level Locks" and "Deadlocks".
"""

from collections.abc import Iterable
from uuid import UUID

from sqlmodel import Session, col, select
from sqlmodel.sql.expression import SelectOfScalar

from bot.db import insert_once
from bot.models import Conversation, Inquiry


def of_citizen(session: Session, channel: str, user: str) -> Conversation:
    """The citizen's conversation on this channel, locked until the transaction ends."""
    insert_once(session, Conversation(channel=channel, channel_user=user))
    query = select(Conversation).where(Conversation.channel == channel, Conversation.channel_user == user)
    return _locked(session, query)


def hold(session: Session, conversation_id: UUID) -> Conversation:
    """Lock a conversation until the transaction ends, and read it as it is now."""
    return _locked(session, select(Conversation).where(Conversation.id == conversation_id))


def _locked(session: Session, query: SelectOfScalar[Conversation]) -> Conversation:
    query = query.with_for_update(key_share=True).execution_options(populate_existing=True)
    return session.exec(query).one()


def hold_of_cases(session: Session, inquiry_ids: Iterable[UUID]) -> None:
    """Lock the conversations of these cases, so that the cases may be locked next."""
    mine = select(Inquiry.conversation_id).where(col(Inquiry.id).in_(list(inquiry_ids)))
    query = select(Conversation.id).where(col(Conversation.id).in_(mine)).order_by(col(Conversation.id))
    session.exec(query.with_for_update(key_share=True)).all()
