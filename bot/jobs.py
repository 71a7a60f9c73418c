"""Hand a job to the durable engine inside the caller's transaction: both happen, or neither.

Jobs carry ids only, so no citizen's words lie in the engine's tables.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from uuid import UUID, uuid4

from dbos import DBOSClient, DBOSPortableJSONSerializer, WorkflowStatus
from sqlalchemy import Engine
from sqlmodel import Session

from bot import audit
from bot.models import Staff

APPLICATION = "madoguchi"
TRIAGE, DRAFT, REWORD, DELIVER = "triage", "draft", "reword", "deliver"
"""Queue names; ``triage`` and ``deliver`` are lanes: one job at a time per conversation."""
LANES = (TRIAGE, DELIVER)
REWORD_LATER_SECONDS = 60
_DEAD = ["ERROR", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"]
_UNDER_WAY = ["ENQUEUED", "DELAYED", "PENDING"]
MOST_DEAD = 500


@dataclass(frozen=True, slots=True)
class DeadJob:
    """A job that ended in an error, or over which its worker died again and again."""

    id: str
    name: str
    """Its queue."""
    arguments: tuple[object, ...]
    since: datetime
    """When the first of its tries ended so."""
    tries: int
    error: str
    """Type of the error; its words may be a citizen's. Empty: the worker died."""

    @property
    def subject(self) -> UUID:
        """The conversation of a lane's job; the case of another."""
        return UUID(str(self.arguments[0]))


@lru_cache(maxsize=8)
def _client(engine: Engine) -> DBOSClient:
    return DBOSClient(
        system_database_engine=engine,
        application_name=APPLICATION,
        serializer=DBOSPortableJSONSerializer(),
        lazy=True,  # a check of its own would wait for the lock that the caller's transaction holds
    )


def triage(session: Session, conversation_id: UUID, cause: object) -> None:
    """Ask for the triage of everything that waits in this conversation."""
    _enqueue(session, TRIAGE, f"triage-{cause}", str(conversation_id), lane=conversation_id)


def deliver(session: Session, conversation_id: UUID, cause: object) -> None:
    """Ask for the delivery of everything that is due in this conversation, in order."""
    _enqueue(session, DELIVER, f"deliver-{cause}", str(conversation_id), lane=conversation_id)


def draft(session: Session, inquiry_id: UUID, generation: int) -> None:
    """Ask for a draft; a newer generation makes this one useless."""
    _enqueue(session, DRAFT, f"draft-{inquiry_id}-{generation}", str(inquiry_id), generation)


def reword(session: Session, inquiry_id: UUID, version: int) -> None:
    """Ask for the model's wording of a verbatim draft; whatever happens to the case makes this one useless.

    A queue of its own: the next case's verbatim draft must not wait until a model has written.
    """
    _enqueue(session, REWORD, f"reword-{inquiry_id}-{version}", str(inquiry_id), version)


def reword_later(session: Session, inquiry_id: UUID, version: int) -> None:
    """As `reword`, for the second time: the model hung, and gets a while to come to itself."""
    job_id = f"reword-{inquiry_id}-{version}-later"
    _enqueue(session, REWORD, job_id, str(inquiry_id), version, delay_seconds=REWORD_LATER_SECONDS)


def _enqueue(
    session: Session,
    queue: str,
    job_id: str,
    *arguments: object,
    lane: UUID | None = None,
    delay_seconds: float | None = None,
) -> None:
    options: dict[str, object] = {"workflow_name": queue, "queue_name": queue, "workflow_id": job_id}
    if lane:
        options["queue_partition_key"] = str(lane)
    if delay_seconds:
        options["delay_seconds"] = delay_seconds
    engine = session.get_bind()
    assert isinstance(engine, Engine)  # noqa: S101  (sessions here are always bound to an engine)
    _client(engine).enqueue_in_transaction(session, options, *arguments)  # type: ignore[arg-type]


def dead(engine: Engine) -> list[DeadJob]:
    """The newest dead job for each thing for which none is under way; never to be asked in a transaction.

    Whether the thing has been done since is told by the rows (`bot.reports.dead_jobs`).
    """
    client = _client(engine)
    under_way = {_what(w) for w in client.list_workflows(status=_UNDER_WAY, load_output=False)}
    tries: dict[tuple[object, ...], list[WorkflowStatus]] = {}
    for one in client.list_workflows(status=_DEAD, sort_desc=True, limit=MOST_DEAD):
        if _what(one) not in under_way:
            tries.setdefault(_what(one), []).append(one)
    return [_dead(same) for same in tries.values()]


def _what(job: WorkflowStatus) -> tuple[object, ...]:
    return (job.name, *(job.input or {"args": ()})["args"])


def _dead(tries: list[WorkflowStatus]) -> DeadJob:
    newest, first = tries[0], tries[-1]
    error = newest.error
    return DeadJob(
        id=newest.workflow_id,
        name=newest.name,
        arguments=_what(newest)[1:],
        since=datetime.fromtimestamp((first.updated_at or 0) / 1000, UTC),
        tries=len(tries),
        error=str(getattr(error, "name", type(error).__name__)) if error else "",
    )


def retry(session: Session, job: DeadJob, *, staff: Staff, screen: str) -> None:
    """The cause of a job's death was removed: the same again."""
    lane = job.subject if job.name in LANES else None
    _enqueue(session, job.name, f"{job.name}-again-{uuid4()}", *job.arguments, lane=lane)
    audit.record(
        session, actor=staff.login, action="retry_job", subject=f"job:{job.id}", screen=screen, job=job.name
    )
