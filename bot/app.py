"""The web process: one FastAPI application, built from settings and an engine."""

import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.exception_handlers import http_exception_handler
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bot import drafting, second_text
from bot.article_index import Knowledge
from bot.calendar import load_calendar
from bot.errors import BadInput, BotError, NotFound, NotSignedIn, StorageUnavailable, TooLarge
from bot.routes import api, desk, knowledge, line, record, supervise, webchat
from bot.routes import second_text as second_text_routes
from bot.routes.deps import City
from bot.settings import Settings
from bot.templating import page
from channels.errors import InvalidSignature
from responders.llm import Llm

MAX_BODY_BYTES = 4_000_000
"""Of any request: a webhook of LINE may hold many messages, and nothing else is as long."""

log = logging.getLogger(__name__)

_TYPED = ("text", "second_text", "body", "reason")
"""The fields of the console's forms in which a person writes sentences."""


def create_app(
    settings: Settings, engine: Engine, llm: Llm | None = None, articles: Knowledge | None = None
) -> FastAPI:
    """The application; the database must be migrated and the city's files loaded.

    Args:
        settings: Of this process.
        engine: The database.
        llm: Writes before a caseworker's eyes; None: those buttons are not shown.
        articles: What a caseworker searches; None: by words only.
    """
    app = FastAPI(
        title="Madoguchi", docs_url=None, redoc_url=None, form_limits={"max_part_size": MAX_BODY_BYTES}
    )
    app.state.settings, app.state.engine, app.state.llm = settings, engine, llm
    app.state.articles = articles or Knowledge(engine, None)
    app.state.city = City(
        load_calendar(settings.city_dir / "calendar.yaml"),
        drafting.load_frame(settings.city_dir),
        second_text.load_frames(settings.city_dir),
    )
    for routes in (line, webchat, desk, record, second_text_routes, knowledge, supervise, api):
        app.include_router(routes.router)
    app.mount("/static", StaticFiles(directory=Path(__file__).parent / "static"), name="static")
    app.add_exception_handler(BotError, _render_error)
    app.add_exception_handler(RequestValidationError, _render_malformed)
    app.add_exception_handler(HTTPException, _render_http_error)
    app.add_exception_handler(InvalidSignature, _refuse_signature)
    app.add_exception_handler(OperationalError, _render_no_storage)
    app.add_exception_handler(Exception, _render_unexpected)
    app.add_middleware(_BodyLimit)
    app.middleware("http")(_secure_headers)
    return app


class _BodyLimit:
    """Bodies are read before a route asks who sent them, so they are counted as they come.

    FastAPI's ``max_body_size`` would answer in English plain text, and without our headers.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        read = 0

        async def counted() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > MAX_BODY_BYTES:
                raise HTTPException(TooLarge.status)  # of any other kind FastAPI would make a 400
            return message

        await self._app(scope, counted, send)


async def _render_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, BotError)  # noqa: S101  (registered for BotError only)
    if not _wants_page(request):
        return JSONResponse({"error": type(error).__name__, "detail": error.message_ja}, error.status)
    typed = await _typed(request)
    if isinstance(error, NotSignedIn) and not typed:
        return RedirectResponse("/desk/login", 303)
    return HTMLResponse(
        page("error.html", title="エラー", message=error.message_ja, status=error.status, typed=typed),
        error.status,
    )


async def _typed(request: Request) -> list[str]:
    """What a person wrote into a form that is refused: a page without it would throw it away."""
    try:
        form = await request.form()
    except (HTTPException, MultiPartException, RuntimeError):
        return []  # a malformed form, or a body that a route has read by itself
    sent = [words for name in _TYPED for words in form.getlist(name)]
    return [words for words in sent if isinstance(words, str) and words.strip()]


async def _render_malformed(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101  (registered for it only)
    if _wants_page(request):
        return await _render_error(request, BadInput())
    # Without FastAPI's echo of what was sent: half a character breaks the answer.
    detail = [{key: one[key] for key in ("type", "loc", "msg")} for one in error.errors()]
    return JSONResponse({"detail": detail}, 422)


async def _render_http_error(request: Request, error: Exception) -> Response:
    """A body over the limit, or no page: also a button's address that somebody opens, as Enter there does."""
    assert isinstance(error, HTTPException)  # noqa: S101  (registered for it only)
    if error.status_code == TooLarge.status:
        return await _render_error(request, TooLarge())
    if not _wants_page(request) or error.status_code not in (404, 405):
        return await http_exception_handler(request, error)
    return await _render_error(request, NotFound("ページが見つかりません。一覧から開き直してください。"))


async def _render_no_storage(request: Request, error: Exception) -> Response:
    """A full disk or a database that is away: nothing was stored, so LINE must not get a 200."""
    log.critical("the database refuses: %s", type(getattr(error, "orig", error)).__name__)
    return await _render_error(request, StorageUnavailable())


async def _render_unexpected(request: Request, error: Exception) -> Response:
    log.error("unexpected %s at %s", type(error).__name__, request.url.path)
    message = (
        "システムの不具合で処理できませんでした。画面を開き直し、操作が反映されているかを確かめてください。"
        "続くときは、システム担当者に連絡してください。"
    )
    if _wants_page(request):
        return HTMLResponse(page("error.html", title="エラー", message=message, status=500), 500)
    return JSONResponse({"error": "Unexpected", "detail": message}, 500)


async def _refuse_signature(_request: Request, _error: Exception) -> Response:
    return JSONResponse({"error": "InvalidSignature", "detail": "signature does not fit"}, 401)


def _wants_page(request: Request) -> bool:
    asked_by_script = "application/json" in request.headers.get("Accept", "")
    return request.url.path.startswith(("/desk", "/supervise")) and not asked_by_script


async def _secure_headers(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    response = await call_next(request)
    ancestors = "'none'"
    if request.url.path.startswith("/chat"):
        ancestors = f"'self' {request.app.state.settings.embed_origins}".strip()
    headers = response.headers
    headers["Content-Security-Policy"] = (
        "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
        f"frame-ancestors {ancestors}"
    )
    headers["X-Content-Type-Options"] = "nosniff"
    headers["Referrer-Policy"] = "same-origin"
    if request.url.path.startswith(("/desk", "/supervise")):
        headers["Cache-Control"] = "no-store"
    return response
