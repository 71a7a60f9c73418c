"""A real browser, the real pages, みなと市 at work behind them."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn
from playwright.sync_api import Browser, FrameLocator, Page, expect, sync_playwright
from starlette.applications import Starlette

from bot import auth
from bot.app import create_app
from bot.db import make_engine, transaction
from bot.models import Role
from tests.city import City, open_city, settings_for
from tests.conftest import free_port
from tests.platforms.line import Line

FLAGS = [  # without them Chromium looks for hosts outside
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# A page on a busy machine may take its time; a test asserts what appears, never how fast.
expect.set_options(timeout=40_000)
SHOTS = Path(__file__).resolve().parents[2] / "var" / "shots"
QUESTION = "粗大ごみの申し込み方法と料金を教えてください"


@pytest.fixture
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        yield chromium
        chromium.close()


@contextmanager
def serving(app: Starlette, port: int) -> Iterator[str]:
    server = uvicorn.Server(
        uvicorn.Config(app, "127.0.0.1", port, log_level="error", timeout_graceful_shutdown=1)
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def _working(city: City) -> Iterator[None]:
    stop = threading.Event()

    def loop() -> None:
        while not stop.wait(0.2):
            city.work()

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@pytest.fixture
def working_city(sqlite_url: str, line: Line, tmp_path: Path) -> Iterator[City]:
    engine = make_engine(sqlite_url)
    with open_city(engine, sqlite_url, line, tmp_path) as city:
        with transaction(engine) as session:
            auth.create_staff(
                session, login="kankyo", name="環境課 担当", role=Role.caseworker,
                department_id="waste_environment", password="correct horse", actor="test",
            )  # fmt: skip
        with _working(city):
            yield city
    engine.dispose()


@pytest.fixture
def app(working_city: City, sqlite_url: str, line: Line, tmp_path: Path) -> Starlette:
    settings = settings_for(sqlite_url, line, tmp_path, embed_origins="http://localhost:*")
    return create_app(settings, working_city.engine)


@pytest.fixture
def site(app: Starlette) -> Iterator[str]:
    with serving(app, free_port()) as url:
        yield url


def say(page: Page | FrameLocator, text: str) -> None:
    page.get_by_label("メッセージ").fill(text)
    page.get_by_role("button", name="送信").click()


def ask(browser: Browser, site: str, width: int = 390) -> Page:
    """A citizen's page that has asked and been told its receipt number."""
    page = browser.new_context(viewport={"width": width, "height": 844}).new_page()
    page.goto(f"{site}/chat")
    say(page, QUESTION)
    expect(page.get_by_text("受付番号は")).to_be_visible(timeout=30_000)
    return page


def sign_in(desk: Page, site: str, login: str = "kankyo") -> None:
    desk.goto(f"{site}/desk/login")
    desk.get_by_label("職員ID").fill(login)
    desk.get_by_label("パスワード").fill("correct horse")
    desk.get_by_role("button", name="ログイン").click()
