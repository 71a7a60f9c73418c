"""The supervisor's screens: every queue, what did not go out, what came in oddly, who did what."""

from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from sqlmodel import col, select

from bot import audit, auth, city, jobs, learning, modes, monitoring, organisation, outbox, reports, ticks
from bot.db import now, reading
from bot.errors import Conflict, NotFound
from bot.models import AuditEntry, InboundEvent, Role, Staff
from bot.routes.deps import Deciding, Known, SessionDep, SettingsDep, SignedIn, city_date
from bot.routes.desk import frame_values
from bot.templating import page
from responders.llm import Mode

router = APIRouter(prefix="/supervise")
SCREEN = "supervise"


OVERSEERS = (Role.supervisor, Role.admin, Role.auditor)


def _overseer(signed_in: SignedIn) -> Staff:
    auth.require(signed_in[0], *OVERSEERS)
    return signed_in[0]


def _deciding_overseer(staff: Deciding) -> Staff:
    auth.require(staff, Role.supervisor, Role.admin)
    return staff


def _deciding_admin(staff: Deciding) -> Staff:
    auth.require(staff, Role.admin)
    return staff


Overseer = Annotated[Staff, Depends(_overseer, scope="function")]
DecidingOverseer = Annotated[Staff, Depends(_deciding_overseer, scope="function")]
DecidingAdmin = Annotated[Staff, Depends(_deciding_admin, scope="function")]


def _known_overseer(staff: Known) -> None:
    auth.require(staff, *OVERSEERS)


# What is asked outside the transaction comes before the transaction's own look at who asks.
KnownOverseer = Annotated[None, Depends(_known_overseer)]


def _served_model(request: Request, _known: KnownOverseer) -> modes.Identity | None:
    llm = request.app.state.llm
    return modes.identify(llm) if llm else None


# First among a route's parameters: a model server that hangs must not be asked within a transaction.
ServedModel = Annotated[modes.Identity | None, Depends(_served_model)]


def _dead_jobs(request: Request, _known: KnownOverseer) -> list[jobs.DeadJob]:
    return jobs.dead(request.app.state.engine)


# First too: on SQLite the engine's own connection would wait for the lock of the transaction.
DeadJobs = Annotated[list[jobs.DeadJob], Depends(_dead_jobs)]


@router.get("", response_class=HTMLResponse)
def overview(
    model: ServedModel,
    dead: DeadJobs,
    _staff: Overseer,
    session: SessionDep,
    signed_in: SignedIn,
    request: Request,
) -> str:
    """All queues with counts and oldest age, and whatever a person must look at."""
    counts = reports.queue_counts(session)
    departments = {row.department.id: row.department for row in counts}
    return page(
        "supervise.html",
        channel_ja=reports.CHANNEL_JA,
        **frame_values(session, signed_in),
        counts=counts,
        stopped_before=organisation.stopped_before(departments, city_date(request)),
        deliveries=reports.troubled_deliveries(session),
        dead=reports.dead_jobs(session, dead),
        job_ja=reports.JOB_JA,
        events=reports.odd_events(session),
        loose=reports.loose_messages(session),
        mode=modes.standing(session, model) if model else None,
        limits_ja=reports.LIMITS_JA,
        outbox_ja=reports.OUTBOX_JA,
        now=now(),
    )


Before = Annotated[int, Query(ge=0, lt=2**31)]


def _verdict(request: Request, _known: KnownOverseer, before: Before = 0) -> audit.Verdict | None:
    """Of the whole chain, with the newest entries only: nobody should wait for it at every older page."""
    if before:
        return None
    with reading(request.app.state.engine) as session:
        return audit.verify(session)


# First too: it takes seconds on a long chain, and webhooks would wait for the lock of the transaction.
Chain = Annotated[audit.Verdict | None, Depends(_verdict)]


@router.get("/audit", response_class=HTMLResponse)
def audit_log(
    verdict: Chain, _staff: Overseer, session: SessionDep, signed_in: SignedIn, before: Before = 0
) -> str:
    """The newest entries of the audit log, and whether its chain holds."""
    query = select(AuditEntry).order_by(col(AuditEntry.id).desc()).limit(reports.PAGE)
    if before:
        query = query.where(col(AuditEntry.id) < before)
    return page(
        "audit.html",
        **frame_values(session, signed_in),
        entries=session.exec(query).all(),
        verdict=verdict,
    )


@router.get("/routing", response_class=HTMLResponse)
def routing(
    _staff: Overseer, session: SessionDep, signed_in: SignedIn, request: Request, settings: SettingsDep
) -> str:
    """How well the routing serves each department, what it could learn, and which model routes."""
    report = monitoring.examine(session, settings, city_date(request))
    models = learning.listed(session)
    return page(
        "routing.html",
        **frame_values(session, signed_in),
        report=report,
        pictures=monitoring.pictures(report),
        lessons=learning.lessons(session),
        ticks=ticks.lessons(session),
        models=models,
        taken_back=learning.taken_back(session, models),
        names=city.department_names(session),
        enough=monitoring.ENOUGH,
        enough_for_drift=monitoring.ENOUGH_FOR_DRIFT,
    )


@router.post("/routing/lessons/{inquiry_id}")
def judge_lesson(
    inquiry_id: UUID,
    staff: DecidingOverseer,
    session: SessionDep,
    version: Annotated[int, Form()],
    use: Annotated[bool, Form()] = False,
) -> Response:
    """Release a finished case for training, or refuse it."""
    learning.judge(session, inquiry_id, staff=staff, use=use, seen_version=version, screen=SCREEN)
    return RedirectResponse("/supervise/routing#lessons", 303)


@router.post("/routing/ticks/{inquiry_id}")
def judge_tick(
    inquiry_id: UUID,
    staff: DecidingOverseer,
    session: SessionDep,
    version: Annotated[int, Form()],
    use: Annotated[bool, Form()] = False,
) -> Response:
    """Release a finished case's ticked sentences for the search to learn from, or refuse them."""
    ticks.judge(session, inquiry_id, staff=staff, use=use, seen_version=version, screen=SCREEN)
    return RedirectResponse("/supervise/routing#ticks", 303)


@router.post("/routing/models/{model_id}/{verb}")
def decide_model(
    model_id: UUID,
    verb: Literal["promote", "refuse", "roll-back"],
    staff: DecidingOverseer,
    session: SessionDep,
    settings: SettingsDep,
) -> Response:
    """The challenger takes over, or goes; the champion gives way to the model before it."""
    if verb == "promote":
        learning.promote(session, settings, model_id, staff=staff, screen=SCREEN)
    elif verb == "refuse":
        learning.refuse(session, model_id, staff=staff, screen=SCREEN)
    else:
        learning.roll_back(session, model_id, staff=staff, screen=SCREEN)
    return RedirectResponse("/supervise/routing#models", 303)


@router.post("/drafting")
def switch_drafting(
    staff: DecidingOverseer,
    session: SessionDep,
    department: Annotated[str, Form()],
    on: Annotated[bool, Form()] = False,
) -> Response:
    """Stop or resume the drafts of a department, or of the whole city."""
    city.switch_drafting(session, department, on=on, actor=staff.login, screen=SCREEN)
    return RedirectResponse("/supervise#drafting", 303)


@router.post("/mode")
def switch_mode(
    model: ServedModel, staff: DecidingAdmin, session: SessionDep, mode: Annotated[Mode, Form()]
) -> Response:
    """An administrator lets the model read citizens' messages, or no longer."""
    if model is None:
        raise modes.NotEvaluated
    modes.switch(session, mode, model, staff=staff, screen=SCREEN)
    return RedirectResponse("/supervise#mode", 303)


@router.post("/deliveries/{row_id}/retry")
def retry_delivery(row_id: UUID, staff: DecidingOverseer, session: SessionDep) -> Response:
    """The cause of a failure was removed: try again with the same key."""
    outbox.retry(session, row_id, actor=staff.login, screen=SCREEN)
    return RedirectResponse("/supervise#deliveries", 303)


@router.post("/jobs/retry")
def retry_job(
    dead: DeadJobs, staff: DecidingOverseer, session: SessionDep, job: Annotated[str, Form()]
) -> Response:
    """The cause of a job's death was removed: try again."""
    found = next((one for one, _ in reports.dead_jobs(session, dead) if one.id == job), None)
    if found is None:
        raise Conflict
    jobs.retry(session, found, staff=staff, screen=SCREEN)
    return RedirectResponse("/supervise#jobs", 303)


@router.post("/events/{event_id}/seen")
def put_aside(event_id: UUID, staff: DecidingOverseer, session: SessionDep) -> Response:
    """A person looked at an odd event."""
    event = session.get(InboundEvent, event_id)
    if event is None:
        raise NotFound
    event.seen_by = staff.id
    session.add(event)
    audit.record(session, actor=staff.login, action="event_seen", subject=f"event:{event.id}", screen=SCREEN)
    return RedirectResponse("/supervise#events", 303)
