"""What machines ask: is it alive, is it ready, how much waits."""

import numpy as np
import sqlalchemy as sa
from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest
from sqlmodel import Session, col, select

from bot import monitoring
from bot.models import QUEUE_STATUSES, Department, Inquiry, Message, OutboxMessage, OutboxStatus
from bot.routes.deps import ReaderDep, SettingsDep, city_date
from classifiers.curves import which_bin

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
def metrics(session: ReaderDep, request: Request, settings: SettingsDep) -> Response:
    """Prometheus text; counts only, no citizen's words."""
    registry = CollectorRegistry()
    for name, text, value in _gauges(session):
        Gauge(name, text, registry=registry).set(value)
    _routing(monitoring.examine(session, settings, city_date(request)), registry)
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


def _routing(report: monitoring.Monitoring, registry: CollectorRegistry) -> None:
    """What the supervisor's page on routing shows, as numbers; what is not known yet is left out."""
    shares = {
        "madoguchi_routing_precision": (
            "Share of what was sent to a department that belonged there",
            "precision",
        ),
        "madoguchi_routing_recall": ("Share of a department's cases that were sent there at once", "recall"),
    }
    for name, (text, attribute) in shares.items():
        gauge = Gauge(name, text, ["department"], registry=registry)
        for row in report.departments:
            if (value := getattr(row, attribute)) is not None:
                gauge.labels(row.department).set(value)
    _curves(report, registry)
    single = {
        "madoguchi_routing_transfers_per_case": ("Transfers by people per case", report.transfers_per_case),
        "madoguchi_routing_wandering_cases": ("Cases that were passed around", len(report.wandering)),
        "madoguchi_routing_psi": ("Drift of the confidences against the validation set", report.psi),
        "madoguchi_routing_unknown_words": ("Share of words the model never saw", report.unknown),
        "madoguchi_routing_misfits": ("Departments on which model and city differ", len(report.misfits)),
        "madoguchi_routing_shadow_agreement": (
            "Share of cases on which the challenger says the same",
            report.agreement[1] if report.agreement else None,
        ),
    }
    for name, (text, number) in single.items():
        if number is not None:
            Gauge(name, text, registry=registry).set(number)


def _curves(report: monitoring.Monitoring, registry: CollectorRegistry) -> None:
    """Both curves, by fixed bins and shares: a series must not change its name as cases come."""

    def gauge(name: str, text: str, label: str) -> Gauge:
        return Gauge(f"madoguchi_routing_{name}", text, ["set", label], registry=registry)

    reliability = {
        "accuracy": gauge("reliability", "Share right within a range of confidence", "confidence"),
        "confidence": gauge("reliability_confidence", "Mean confidence within that range", "confidence"),
        "n": gauge("reliability_messages", "Messages within that range", "confidence"),
    }
    covered = gauge("coverage_accuracy", "Share right when so much is routed without a person", "coverage")
    for source, points in report.curves.items():
        for point in points["reliability"]:
            for field, one in reliability.items():
                one.labels(source, _range(point["confidence"])).set(point[field])
        for point in points["coverage_accuracy"]:
            covered.labels(source, f"{point['coverage']:.2f}").set(point["accuracy"])


def _range(confidence: float) -> str:
    number = int(which_bin(np.array(confidence)))
    return f"{number / 10:.1f}-{(number + 1) / 10:.1f}"


def _gauges(session: Session) -> list[tuple[str, str, int]]:
    def count(*where: sa.ColumnElement[bool]) -> int:
        return int(session.execute(sa.select(sa.func.count()).where(*where)).scalar_one())

    unheard = col(Inquiry.emergency).is_(True), col(Inquiry.acknowledged_by).is_(None)
    escalated = col(Inquiry.alarm_escalated_at).is_not(None)
    return [
        ("madoguchi_alarms_unacknowledged", "Emergencies nobody took note of yet", count(*unheard)),
        ("madoguchi_alarms_escalated", "Of these, shown to everybody by now", count(*unheard, escalated)),
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
