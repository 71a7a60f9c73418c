"""What machines ask: is it alive, is it ready, how much waits."""

import sqlalchemy as sa
from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest
from sqlmodel import Session, col, select

from bot.models import QUEUE_STATUSES, Department, Inquiry, Message, OutboxMessage, OutboxStatus
from bot.routes.deps import ReaderDep

router = APIRouter()


@router.get("/healthz")
def healthz() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@router.get("/readyz")
def readyz(session: ReaderDep) -> dict[str, str]:
    """The database answers and the city's files are loaded."""
    session.exec(select(Department.id).limit(1)).one()
    return {"status": "ready"}


@router.get("/metrics")
def metrics(session: ReaderDep) -> Response:
    """Prometheus text; counts only, no citizen's words."""
    registry = CollectorRegistry()
    for name, text, value in _gauges(session):
        Gauge(name, text, registry=registry).set(value)
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


def _gauges(session: Session) -> list[tuple[str, str, int]]:
    def count(*where: sa.ColumnElement[bool]) -> int:
        return int(session.execute(sa.select(sa.func.count()).where(*where)).scalar_one())

    return [
        ("madoguchi_cases_open", "Cases in a queue", count(col(Inquiry.status).in_(QUEUE_STATUSES))),
        ("madoguchi_messages_waiting", "Messages not triaged yet", count(col(Message.triaged_at).is_(None))),
        (
            "madoguchi_outbox_queued",
            "Texts on their way out",
            count(col(OutboxMessage.status) == OutboxStatus.queued),
        ),
        (
            "madoguchi_outbox_failed",
            "Texts that a person must look at",
            count(col(OutboxMessage.status).in_([OutboxStatus.failed, OutboxStatus.uncertain])),
        ),
    ]
