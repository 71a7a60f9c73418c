"""The audit log: append-only, each entry sealed by the hash of the one before.

What a transaction recorded is sealed at its commit, as the last thing it does: nobody holds the end of the
chain while waiting for anything else, so it can neither deadlock nor let a long import stop the desk.
"""

import hashlib
import json
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import event, orm
from sqlmodel import Session, col, select

from bot.db import now
from bot.models import AuditEntry

GENESIS = "0" * 64
_LOCK = 0x6D61646F  # any constant; one lock for the end of the chain
_UNSEALED = "unsealed audit entries"


def record(
    session: Session, *, actor: str, action: str, subject: str, screen: str = "", **details: object
) -> None:
    """Append one entry in the caller's transaction; it stands in the log once that has been committed.

    Args:
        session: The caller's transaction.
        actor: Login of the person, or ``system:<part>``.
        action: A verb, such as ``approve``.
        subject: What it was done to, such as ``inquiry:2026-00001``.
        screen: Where it was done, such as ``desk``.
        details: Ids, versions, hashes. Never a citizen's words.
    """
    entry = AuditEntry(
        at="",
        actor=actor,
        action=action,
        subject=subject,
        screen=screen,
        details=json.dumps(details, ensure_ascii=True, sort_keys=True, default=str),
        previous="",
        digest="",
    )
    session.info.setdefault(_UNSEALED, []).append((session.get_nested_transaction(), entry))


@event.listens_for(orm.Session, "before_commit")
def _seal(session: orm.Session) -> None:
    """Chain the transaction's entries to the log. On SQLite the write lock is held already."""
    if session.in_nested_transaction() or not (entries := session.info.pop(_UNSEALED, None)):
        return
    session.flush()
    if session.get_bind().dialect.name == "postgresql":
        session.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    newest = sa.select(col(AuditEntry.digest)).order_by(col(AuditEntry.id).desc()).limit(1)
    previous = session.scalar(newest) or GENESIS
    for _, entry in entries:
        entry.at, entry.previous = now().isoformat(), previous
        previous = entry.digest = _digest(entry)
        session.add(entry)
        session.flush()


@event.listens_for(orm.Session, "after_soft_rollback")
def _forget(session: orm.Session, undone: orm.SessionTransaction) -> None:
    """What was recorded in a transaction or savepoint that was rolled back never happened."""

    def within(recorded: orm.SessionTransaction | None) -> bool:
        while recorded is not None and recorded is not undone:
            recorded = recorded.parent
        return recorded is undone

    entries = session.info.get(_UNSEALED, [])
    session.info[_UNSEALED] = [pair for pair in entries if undone.nested and not within(pair[0])]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check of the chain found."""

    entries: int
    broken_at: int | None
    """Id of the first entry that does not fit; None: the chain holds."""
    head: str
    """Digest of the last entry: note it elsewhere to notice a chain cut short."""


def verify(session: Session) -> Verdict:
    """Recompute the whole chain in order."""
    rows = session.exec(select(AuditEntry).order_by(col(AuditEntry.id))).yield_per(1000)
    previous, count = GENESIS, 0
    for entry in rows:
        if entry.previous != previous or entry.digest != _digest(entry):
            return Verdict(count, entry.id, previous)
        previous, count = entry.digest, count + 1
    return Verdict(count, None, previous)


def _digest(entry: AuditEntry) -> str:
    fields = (entry.at, entry.actor, entry.action, entry.subject, entry.screen, entry.details, entry.previous)
    return hashlib.sha256(json.dumps(fields, ensure_ascii=True).encode()).hexdigest()
