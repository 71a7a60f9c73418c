"""Hand a job to the durable engine inside the caller's transaction: both happen, or neither.

Jobs carry ids only, so no citizen's words lie in the engine's tables.
"""

from functools import lru_cache
from uuid import UUID

from dbos import DBOSClient, DBOSPortableJSONSerializer
from sqlalchemy import Engine
from sqlmodel import Session

APPLICATION = "madoguchi"
TRIAGE, DRAFT, REWORD, DELIVER = "triage", "draft", "reword", "deliver"
"""Queue names; ``triage`` and ``deliver`` are lanes: one job at a time per conversation."""


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


def _enqueue(session: Session, queue: str, job_id: str, *arguments: object, lane: UUID | None = None) -> None:
    options = {"workflow_name": queue, "queue_name": queue, "workflow_id": job_id}
    if lane:
        options["queue_partition_key"] = str(lane)
    engine = session.get_bind()
    assert isinstance(engine, Engine)  # noqa: S101  (sessions here are always bound to an engine)
    _client(engine).enqueue_in_transaction(session, options, *arguments)  # type: ignore[arg-type]
