"""What routes ask for: a session that commits before the answer leaves, the raw body, the person."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Annotated

from fastapi import Cookie, Depends, Form, Request
from pydantic import AfterValidator
from sqlmodel import Session

from bot import auth
from bot.calendar import Calendar
from bot.db import now, reading, transaction
from bot.drafting import Frame, local_today
from bot.models import Staff, StaffSession
from bot.second_text import Frames, Second
from bot.settings import Settings
from channels.message import storable

COOKIE = "madoguchi_session"


@dataclass(frozen=True, slots=True)
class City:
    """The city's files that screens need."""

    calendar: Calendar
    frame: Frame
    seconds: Frames


def _session(request: Request) -> Iterator[Session]:
    with transaction(request.app.state.engine) as session:
        yield session


def _reader(request: Request) -> Iterator[Session]:
    with reading(request.app.state.engine) as session:
        yield session


# scope="function": the transaction ends before the response is sent. The default would acknowledge a webhook
# that is not committed yet.
SessionDep = Annotated[Session, Depends(_session, scope="function")]
ReaderDep = Annotated[Session, Depends(_reader, scope="function")]


async def _raw_body(request: Request) -> bytes:
    """The body as it came."""
    return await request.body()


def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


def city_date(request: Request) -> date:
    """Today, where the city is."""
    return local_today(request.app.state.city.calendar.zone, now())


def _without_nul(text: str) -> str:
    return text.replace("\0", "")


# Of what is looked up: PostgreSQL refuses a question with a NUL in it, and nobody means one.
LookedUp = Annotated[str, AfterValidator(_without_nul)]
RawBody = Annotated[bytes, Depends(_raw_body)]
SettingsDep = Annotated[Settings, Depends(_settings)]
TokenCookie = Annotated[str | None, Cookie(alias=COOKIE)]


def _signed_in(session: SessionDep, token: TokenCookie = None) -> tuple[Staff, StaffSession]:
    staff, row = auth.signed_in(session, token)
    auth.touch(session, row)
    return staff, row


SignedIn = Annotated[tuple[Staff, StaffSession], Depends(_signed_in, scope="function")]


def _known(request: Request, token: TokenCookie = None) -> Staff:
    """Who asks, outside the transaction: for what must be read or asked before it begins."""
    with reading(request.app.state.engine) as session:
        return auth.signed_in(session, token)[0]


Known = Annotated[Staff, Depends(_known)]


def _deciding(signed_in: SignedIn, csrf: Annotated[str, Form()] = "") -> Staff:
    """The person behind a form of our own page."""
    auth.check_csrf(signed_in[1], csrf)
    return signed_in[0]


def _typed_second(
    second_kind: Annotated[str, Form()] = "",
    second_text: Annotated[str, Form()] = "",
    second_made_from: Annotated[str, Form()] = "",
) -> Second | None:
    """The second text as it stands in the form."""
    return Second(second_kind, storable(second_text), second_made_from) if second_kind else None


TypedSecond = Annotated[Second | None, Depends(_typed_second)]
Deciding = Annotated[Staff, Depends(_deciding, scope="function")]
