"""LINE's webhook: verify, store, commit, answer."""

from typing import Annotated

from fastapi import APIRouter, Header, Request

from bot import intake
from bot.errors import NotFound
from bot.routes.deps import RawBody, SessionDep, SettingsDep
from channels import line

router = APIRouter()


@router.post("/webhooks/line")
def receive(
    body: RawBody,
    request: Request,
    session: SessionDep,
    settings: SettingsDep,
    x_line_signature: Annotated[str | None, Header()] = None,
) -> dict[str, int]:
    """Store every event of the body; 200 only after the commit. 401 if the signature does not fit."""
    if not settings.line_secrets:
        raise NotFound("LINEの設定がありません。")
    line.verify(body, x_line_signature, settings.line_secrets)
    # By citizen: two bodies that name the same citizens lock their conversations in the same order.
    events = sorted(line.decode(body), key=lambda event: event.user)
    return {"stored": intake.receive(session, "line", events, request.app.state.city.calendar)}
