"""The record of a case's drafts, on one page."""

from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from bot import audit, records, reports
from bot.routes.deps import SessionDep, SignedIn
from bot.routes.desk import frame_values
from bot.templating import page

router = APIRouter(prefix="/desk")
SCREEN = "record"


@router.get("/cases/{inquiry_id}/record", response_class=HTMLResponse)
def show_record(request: Request, inquiry_id: UUID, session: SessionDep, signed_in: SignedIn) -> str:
    """How each draft of a case came to be, and what people made of it; reading is logged."""
    seconds = request.app.state.city.seconds
    inquiry, found = records.of_case(session, inquiry_id, signed_in[0], seconds)
    audit.record(
        session,
        actor=signed_in[0].login,
        action="read",
        subject=f"inquiry:{inquiry.receipt_number}",
        screen=SCREEN,
    )
    return page(
        "record.html",
        **frame_values(session, signed_in),
        inquiry=inquiry,
        records=found,
        status_ja=records.STATUS_JA,
        origin_ja=records.ORIGIN_JA,
        mode_ja=records.MODE_JA,
        step_ja=records.STEP_JA,
        flag_ja=reports.flag_ja,
        refused_ja=reports.refused_ja,
        second_frames=seconds,
    )
