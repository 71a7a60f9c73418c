"""The buttons for the second text on the case's screen, and its live check."""

from collections.abc import Iterator
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, StreamingResponse

from bot import drafting, reports, second_text
from bot.db import transaction
from bot.errors import BadInput, BotError
from bot.models import Staff, StaffSession
from bot.routes.deps import Deciding, SessionDep, SignedIn, TypedSecond
from bot.routes.desk import SCREEN, case_page, second_values
from bot.second_text import Second
from bot.templating import page
from responders.llm import Llm
from responders.translate import Translation

router = APIRouter(prefix="/desk")
Text = Annotated[str, Form()]
Confirmed = Annotated[list[str] | None, Form()]


@router.post("/cases/{inquiry_id}/second")
def attach(
    request: Request,
    inquiry_id: UUID,
    session: SessionDep,
    signed_in: SignedIn,
    staff: Deciding,
    draft_id: Annotated[UUID, Form()],
    want: Text = "",
    text: Text = "",
    seen: Text = "",
    confirmed: Confirmed = None,
    also: Annotated[list[str] | None, Form()] = None,
    keep_open: Annotated[bool, Form()] = False,
) -> StreamingResponse:
    """Make the second text that was asked for (``want``; empty: take it away) and show the screen with it.

    The answer is a stream only so that the request's transaction ends before a model begins to write.
    """
    city = request.app.state.city
    if want and want not in city.seconds:
        raise BadInput("いっしょに送る文の種類が正しくありません。画面を更新してください。")
    asked = second_text.ask(session, inquiry_id, draft_id, want, text, city.frame, staff=staff)
    allowed = drafting.may_draft(session, inquiry_id, request.app.state.settings)
    llm = request.app.state.llm if allowed else None
    ticked = {"confirmed": confirmed or (), "also": also or (), "keep_open": keep_open}
    typed = {"text": asked.japanese, "seen": seen, **ticked}
    made = _made(request, inquiry_id, signed_in, asked, typed, llm)
    return StreamingResponse(made, media_type="text/html")


def _made(
    request: Request,
    inquiry_id: UUID,
    signed_in: tuple[Staff, StaffSession],
    asked: second_text.Asked,
    typed: dict[str, Any],
    llm: Llm | None,
) -> Iterator[str]:
    state = request.app.state
    second, how, error = Second("", "", ""), Translation("unsupported"), ""
    if asked.kind:
        bundled = second_text.is_bundled(state.settings)
        second, how = second_text.make(asked, state.city.seconds, llm, bundled=bundled)
    with transaction(state.engine) as session:
        try:
            second_text.keep(
                session,
                inquiry_id,
                asked,
                second,
                how,
                state.city.seconds,
                staff=signed_in[0],
                screen=SCREEN,
            )
        except BotError as refused:  # decided or moved on while the model wrote
            error = refused.message_ja
        yield case_page(
            request,
            session,
            signed_in,
            inquiry_id,
            error=error,
            second=second if second.kind else None,
            second_reason=how.reason_ja,
            **typed,
        )


@router.post("/cases/{inquiry_id}/second/check", response_class=HTMLResponse)
def check(
    request: Request,
    inquiry_id: UUID,
    session: SessionDep,
    staff: Deciding,
    text: Text = "",
    second: TypedSecond = None,
    confirmed: Confirmed = None,
) -> str:
    """The remarks on the second text, as a piece of the page, while the person types in either text."""
    case = reports.case(session, inquiry_id, staff)
    return page(
        "second_findings.html",
        **second_values(request, case, text, second),
        confirmed=confirmed or (),
    )
