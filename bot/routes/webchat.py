"""The citizen's web chat: a page, a widget on the same code, and live answers.

No cookie: the browser keeps a signed token and sends it as ``Authorization: Bearer``.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, BeforeValidator, Field
from sqlalchemy import Engine
from sqlmodel import Session, col, select
from sse_starlette import EventSourceResponse, ServerSentEvent

from bot import city, intake, webchat_token
from bot.db import reading
from bot.errors import BadInput
from bot.models import Conversation, Message
from bot.routes.deps import City, ReaderDep, SessionDep, SettingsDep
from bot.second_text import ruby_of
from bot.templating import page
from channels import webchat
from channels.message import storable

router = APIRouter()

POLL_SECONDS = 0.7
MAX_CHARACTERS = 5000
_CLIENT_ID = re.compile(r"[A-Za-z0-9-]{8,64}")


class Pressed(BaseModel):
    """The payload of our buttons: there is no other."""

    command: Literal["choose_department"]
    department: str = Field(max_length=100)


def _storable(text: object) -> object:
    """As what comes by LINE; pydantic would refuse half a character, which a browser can send."""
    return storable(text) if isinstance(text, str) else text


class Posted(BaseModel):
    """What the chat page sends."""

    client_id: str
    """Chosen by the browser per utterance; a repeat is stored once."""
    text: Annotated[str, BeforeValidator(_storable)] = Field(default="", max_length=MAX_CHARACTERS)
    command: Pressed | None = None
    """Instead of text."""


def _citizen(settings: SettingsDep, authorization: Annotated[str, Header()] = "") -> str:
    return webchat_token.read(settings.secret_key, authorization.removeprefix("Bearer "))


CitizenDep = Annotated[str, Depends(_citizen)]
After = Annotated[int, Query(ge=0, lt=2**31)]
"""What the column of sequence numbers can hold."""


@router.get("/chat", response_class=HTMLResponse)
def chat_page() -> str:
    """The chat, as a page of its own or inside the widget's frame."""
    return page("chat.html")


@router.post("/chat/session")
def begin(settings: SettingsDep) -> dict[str, str]:
    """A token for a new conversation."""
    return {"token": webchat_token.issue(settings.secret_key)}


@router.post("/chat/messages", status_code=202)
def post_message(
    posted: Posted, citizen: CitizenDep, session: SessionDep, request: Request
) -> dict[str, bool]:
    """Store one utterance; 202 only after the commit. A repeated ``client_id`` changes nothing."""
    if not _CLIENT_ID.fullmatch(posted.client_id):
        raise BadInput("client_id は8〜64文字の英数字です。")
    if not posted.command and not posted.text.strip():
        raise BadInput("メッセージを入力してください。")
    events = [webchat.decode(citizen, posted.model_dump())]
    return {"new": intake.receive(session, "webchat", events, request.app.state.city.calendar) > 0}


@router.get("/chat/messages")
def history(
    request: Request, citizen: CitizenDep, session: ReaderDep, after: After = 0
) -> dict[str, list[dict[str, Any]]]:
    """The conversation after a sequence number, oldest first."""
    return {"messages": _messages(session, request.app.state.city, citizen, after)}


@router.get("/chat/events")
def events(request: Request, citizen: CitizenDep, after: After = 0) -> EventSourceResponse:
    """Live utterances as server-sent events; ``id`` is the sequence number to resume after."""
    state = request.app.state
    return EventSourceResponse(_stream(state.engine, state.city, citizen, after), ping=15)


async def _stream(engine: Engine, place: City, citizen: str, after: int) -> AsyncIterator[ServerSentEvent]:
    while True:
        for message in await run_in_threadpool(_read, engine, place, citizen, after):
            after = message["seq"]
            yield ServerSentEvent(json.dumps(message, ensure_ascii=False), event="message", id=str(after))
        await asyncio.sleep(POLL_SECONDS)


def _read(engine: Engine, place: City, citizen: str, after: int) -> list[dict[str, Any]]:
    with reading(engine) as session:
        return _messages(session, place, citizen, after)


def _messages(session: Session, place: City, citizen: str, after: int) -> list[dict[str, Any]]:
    query = (
        select(Message)
        .join(Conversation, col(Message.conversation_id) == col(Conversation.id))
        .where(Conversation.channel == "webchat", Conversation.channel_user == citizen, Message.seq > after)
        .order_by(col(Message.seq))
        .limit(500)
    )
    rows = session.exec(query).all()
    labels = {d.id: d.short for d in city.departments(session)} if rows else {}
    return [_as_json(row, place, labels) for row in rows]


def _as_json(row: Message, place: City, labels: dict[str, str]) -> dict[str, Any]:
    chosen = row.data.get("department", "") if row.kind == "button" else ""
    return {
        "id": str(row.id),
        "seq": row.seq,
        "from": "citizen" if row.direction == "in" else "city",
        "text": labels.get(chosen, row.text) if chosen else row.text,
        "ruby": ruby_of(row.text, place.seconds) if row.direction == "out" else [],
        "client_id": row.platform_id,
        "at": row.created_at.isoformat(),
        "buttons": [
            {"label": labels[d], "command": {"command": "choose_department", "department": d}}
            for d in row.data.get("buttons", [])
            if d in labels
        ],
    }
