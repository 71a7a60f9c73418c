"""The worker: DBOS runs the three jobs reliably, the sweep makes "nothing is lost" independent of it.

Business truth lies in our rows. A job gets ids, works until nothing is left to do, and may run twice.
"""

import logging
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import sqlalchemy as sa
from dbos import DBOS, DBOSPortableJSONSerializer
from sqlalchemy import Engine
from sqlmodel import Session, col, select

from bot import drafting, inquiries, jobs, organisation, outbox, triage
from bot.db import now, reading, transaction
from bot.models import HandOffReason, Inquiry, InquiryStatus, Message

log = logging.getLogger(__name__)

SWEEP_SECONDS = 2.0
STUCK_SECONDS = 30
DRAFT_MINUTES = 10
CLARIFY_MINUTES = 10
KEEP_JOBS_DAYS = 7
POLL_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Services:
    """Everything the jobs work with, built once by the entry point."""

    engine: Engine
    brain: triage.Brain
    writer: drafting.Writer
    senders: Mapping[str, outbox.Sender]


class Worker:
    """One DBOS process. On SQLite there is exactly one; on PostgreSQL each has its own id.

    Args:
        url: The database; DBOS keeps its own engine on it.
        worker_id: Recovery after a crash goes by this id, so it must stay the same over restarts.
        services: What the jobs use.
    """

    def __init__(self, url: str, worker_id: str, services: Services) -> None:
        self._services = services
        self._lock = _Liveness(services.engine, worker_id)
        # Workflow code may change between versions while jobs wait; jobs are short and idempotent, so the
        # application version is pinned: a hash of the sources would strand what was queued before an upgrade.
        self._dbos = DBOS(
            config={
                "name": jobs.APPLICATION,
                "system_database_url": url,
                "executor_id": worker_id,
                "application_version": "1",
                "serializer": DBOSPortableJSONSerializer(),
                "notification_listener_polling_interval_sec": 0.5,
                "log_level": "WARNING",
                "run_migrations": True,
            }
        )
        self._register()
        self._stop = threading.Event()

    def _register(self) -> None:
        services = self._services

        @DBOS.workflow(name=jobs.TRIAGE, max_recovery_attempts=10)
        def run_triage(conversation_id: str) -> None:
            decide(services, UUID(conversation_id))

        @DBOS.workflow(name=jobs.DRAFT, max_recovery_attempts=10)
        def run_draft(inquiry_id: str, generation: int) -> None:
            drafting.write(services.engine, UUID(inquiry_id), generation, services.writer)

        @DBOS.workflow(name=jobs.REWORD, max_recovery_attempts=10)
        def run_reword(inquiry_id: str, version: int) -> None:
            drafting.improve(services.engine, UUID(inquiry_id), version, services.writer)

        @DBOS.workflow(name=jobs.DELIVER, max_recovery_attempts=10)
        def run_deliver(conversation_id: str) -> None:
            outbox.deliver(services.engine, UUID(conversation_id), services.senders)

    def start(self) -> None:
        """Take the liveness lock, recover what an earlier life left, begin to work."""
        self._lock.take()
        DBOS.launch()
        for lane in jobs.LANES:
            DBOS.register_queue(
                lane, partition_concurrency=1, worker_concurrency=8, polling_interval_sec=POLL_SECONDS
            )
        for queue in (jobs.DRAFT, jobs.REWORD):
            DBOS.register_queue(queue, worker_concurrency=1, polling_interval_sec=POLL_SECONDS)

    def run(self) -> None:
        """Sweep until stopped."""
        threading.Thread(target=self._follow_knowledge, daemon=True).start()
        last_prune = 0.0
        while not self._stop.wait(SWEEP_SECONDS):
            try:
                self._lock.check()
                sweep(self._services.engine)
                follow_organisation(self._services)
                self._recover_dead_workers()
                if time.monotonic() - last_prune > 3600:
                    prune()
                    last_prune = time.monotonic()
            except (
                sa.exc.SQLAlchemyError
            ) as reason:  # the database may be restarting: the next sweep tries again
                log.error("sweep failed: %s", type(reason).__name__)

    def _follow_knowledge(self) -> None:
        """Make an import's vectors as soon as it is there, not when the next question comes."""
        while not self._stop.wait(SWEEP_SECONDS):
            try:
                self._services.writer.knowledge.index()
            except Exception as reason:  # a draft that needs the index meets the same trouble and tells it
                log.error("the articles could not be read: %s", type(reason).__name__)

    def ask_to_stop(self) -> None:
        """Make ``run`` return; safe in a signal handler."""
        self._stop.set()

    def stop(self) -> None:
        """Let running jobs end, then stop."""
        self._stop.set()
        DBOS.destroy(workflow_completion_timeout_sec=10)
        self._lock.release()

    def _recover_dead_workers(self) -> None:
        """Open-source DBOS never takes over another process's work; on PostgreSQL we do it here."""
        if not self._lock.shared_database:
            return
        for owner in {
            w.executor_id for w in DBOS.list_workflows(status="PENDING", load_input=False, load_output=False)
        }:
            if owner and owner != self._lock.worker_id and self._lock.is_dead(owner):
                log.warning("recovering the work of %s", owner)
                DBOS._recover_pending_workflows([owner])


class _Liveness:
    """Tells the living from the dead: a lock that the system or the server drops with its holder."""

    def __init__(self, engine: Engine, worker_id: str) -> None:
        self.worker_id = worker_id
        self.shared_database = engine.dialect.name == "postgresql"
        self._engine = engine
        self._connection: sa.Connection | None = None
        self._file: int | None = None

    def take(self) -> None:
        """Hold the lock; wait for a predecessor that is still shutting down.

        Raises:
            RuntimeError: Another worker of this id lives.
        """
        for _ in range(100):
            if self._try():
                return
            time.sleep(0.2)
        raise RuntimeError(f"another worker named {self.worker_id} is running")

    def _try(self) -> bool:
        if self.shared_database:
            self._connection = self._connection or self._engine.connect().execution_options(
                isolation_level="AUTOCOMMIT"
            )
            return bool(
                self._connection.scalar(sa.select(sa.func.pg_try_advisory_lock(_key(self.worker_id))))
            )
        import fcntl

        self._file = self._file or os.open(f"{self._engine.url.database}.lock", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def check(self) -> None:
        """A worker that lost its lock must not go on: its supervisor starts it anew."""
        if self._connection is not None:
            try:
                self._connection.scalar(sa.select(1))
            except sa.exc.SQLAlchemyError:
                log.critical("lost the liveness lock")
                os._exit(70)

    def is_dead(self, owner: str) -> bool:
        """Whether nobody holds another worker's lock."""
        assert self._connection is not None  # noqa: S101
        key = _key(owner)
        free = bool(self._connection.scalar(sa.select(sa.func.pg_try_advisory_lock(key))))
        if free:
            self._connection.scalar(sa.select(sa.func.pg_advisory_unlock(key)))
        return free

    def release(self) -> None:
        """Give the lock up."""
        if self._connection is not None:
            self._connection.close()
        if self._file is not None:
            os.close(self._file)


def _key(worker_id: str) -> int:
    import zlib

    return 0x4D61_0000_0000 + zlib.crc32(worker_id.encode())


def sweep(engine: Engine) -> None:
    """Find whatever waits too long, by its rows alone, and ask for its job again or hand it to a person."""
    at = now()
    bucket = int(at.timestamp() // STUCK_SECONDS)
    with transaction(engine) as session:
        waiting = session.exec(
            select(Message).where(
                col(Message.triaged_at).is_(None), Message.created_at < at - timedelta(seconds=STUCK_SECONDS)
            )
        )
        for conversation_id in {m.conversation_id for m in waiting}:
            jobs.triage(session, conversation_id, f"{conversation_id}-sweep-{bucket}")
        inquiries.escalate_alarms(session, at - timedelta(minutes=inquiries.ALARM_MINUTES))
        for row in outbox.due(session, at - timedelta(seconds=1)):
            jobs.deliver(session, row.conversation_id, f"{row.id}-{row.attempts}-sweep-{bucket}")
        _end_waiting(
            session, InquiryStatus.drafting, at - timedelta(minutes=DRAFT_MINUTES), HandOffReason.error
        )
        _end_waiting(
            session,
            InquiryStatus.clarifying,
            at - timedelta(minutes=CLARIFY_MINUTES),
            HandOffReason.low_confidence,
        )


def follow_organisation(services: Services) -> int:
    """On the day a department ends, its open cases go to its successor; every other day this only reads."""
    today = now().astimezone(services.brain.calendar.zone).date()
    with reading(services.engine) as session:
        if not organisation.is_due(session, today):
            return 0
    with transaction(services.engine) as session:
        return organisation.reroute(session, today, drafting=services.brain.drafting_enabled)


def decide(services: Services, conversation_id: UUID) -> None:
    """Decide a conversation's messages by what the departments are today.

    The first message of a day on which one ends may come before the worker's next sweep: where drafts are
    stopped, and whose articles answer, must have gone to who took over.
    """
    follow_organisation(services)
    triage.triage_conversation(services.engine, conversation_id, services.brain)


def _end_waiting(session: Session, status: InquiryStatus, before: datetime, reason: HandOffReason) -> None:
    """Hand what waits to people, who hear why; what somebody works on at this moment at the next sweep.

    Of an emergency they must hear that it is one, and not that its draft failed.
    """
    query = select(Inquiry).where(Inquiry.status == status, Inquiry.status_since < before)
    for inquiry in session.exec(query.with_for_update(key_share=True, skip_locked=True)).all():
        if not inquiries.left_to_people(session, inquiry):
            inquiries.hand_off(session, inquiry, reason)


def prune() -> None:
    """Forget finished jobs after a week; our own rows stay."""
    before = (now() - timedelta(days=KEEP_JOBS_DAYS)).isoformat()
    done = DBOS.list_workflows(
        status=["SUCCESS", "ERROR"], completed_before=before, limit=5000, load_input=False, load_output=False
    )
    if done:
        DBOS.delete_workflows([w.workflow_id for w in done])
