"""The audit log: append-only, each entry sealed by the hash of the one before."""

import hashlib
import json
from dataclasses import dataclass

import sqlalchemy as sa
from sqlmodel import Session, col, select

from bot.db import now
from bot.models import AuditEntry

GENESIS = "0" * 64
_LOCK = 0x6D61646F  # any constant; one lock for the end of the chain


def record(
    session: Session, *, actor: str, action: str, subject: str, screen: str = "", **details: object
) -> AuditEntry:
    """Append one entry in the caller's transaction.

    Args:
        session: The caller's transaction.
        actor: Login of the person, or ``system:<part>``.
        action: A verb, such as ``approve``.
        subject: What it was done to, such as ``inquiry:2026-00001``.
        screen: Where it was done, such as ``desk``.
        details: Ids, versions, hashes. Never a citizen's words.

    Writers wait for each other until the transaction ends, so call it late in the transaction. On SQLite
    the write lock is held already; on PostgreSQL an advisory lock stands for the end of the chain.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    session.flush()
    last = session.exec(select(AuditEntry.digest).order_by(col(AuditEntry.id).desc()).limit(1)).first()
    entry = AuditEntry(
        at=now().isoformat(),
        actor=actor,
        action=action,
        subject=subject,
        screen=screen,
        details=json.dumps(details, ensure_ascii=True, sort_keys=True, default=str),
        previous=last or GENESIS,
        digest="",
    )
    entry.digest = _digest(entry)
    session.add(entry)
    session.flush()
    return entry


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
