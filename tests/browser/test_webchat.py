"""A person types in a real browser, a caseworker approves at the desk, the answer appears."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn
from playwright.sync_api import Browser, Page, expect, sync_playwright
from starlette.applications import Starlette
from starlette.responses import HTMLResponse
from starlette.routing import Route

from bot import auth
from bot.app import create_app
from bot.db import make_engine, transaction
from bot.models import Role
from tests.city import City, open_city, settings_for
from tests.conftest import free_port
from tests.platforms.line import Line

pytestmark = pytest.mark.browser
FLAGS = [  # without them Chromium looks for hosts outside
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SHOTS = Path(__file__).resolve().parents[2] / "var" / "shots"
QUESTION = "粗大ごみの申し込み方法と料金を教えてください"


@pytest.fixture
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        yield chromium
        chromium.close()


@contextmanager
def _serving(app: Starlette, port: int) -> Iterator[str]:
    server = uvicorn.Server(
        uvicorn.Config(app, "127.0.0.1", port, log_level="error", timeout_graceful_shutdown=1)
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield f"http://127.0.0.1:{port}"
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
def site(sqlite_url: str, line: Line, tmp_path: Path) -> Iterator[str]:
    engine = make_engine(sqlite_url)
    with open_city(engine, sqlite_url, line, tmp_path) as city:
        with transaction(engine) as session:
            auth.create_staff(
                session, login="kankyo", name="環境課 担当", role=Role.caseworker,
                department_id="waste_environment", password="correct horse", actor="test",
            )  # fmt: skip
        settings = settings_for(sqlite_url, line, tmp_path, embed_origins="http://localhost:*")
        with _serving(create_app(settings, engine), free_port()) as url, _working(city):
            yield url
    engine.dispose()


def _say(page: Page, text: str) -> None:
    page.get_by_label("メッセージ").fill(text)
    page.get_by_role("button", name="送信").click()


def test_a_person_types_a_caseworker_approves_the_answer_appears(browser: Browser, site: str) -> None:
    SHOTS.mkdir(parents=True, exist_ok=True)
    citizen = browser.new_context(viewport={"width": 390, "height": 844}).new_page()
    citizen.goto(f"{site}/chat")
    _say(citizen, QUESTION)
    expect(citizen.get_by_text("受付番号は")).to_be_visible(timeout=30_000)

    desk = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
    desk.goto(f"{site}/desk")
    desk.get_by_label("職員ID").fill("kankyo")
    desk.get_by_label("パスワード").fill("correct horse")
    desk.get_by_role("button", name="ログイン").click()
    expect(desk.get_by_text("承認待ち", exact=True)).to_be_visible()
    desk.screenshot(path=SHOTS / "queue.png")
    desk.locator("a.row").first.click()
    draft = desk.get_by_label("市民に送る文面(このまま送られます)").input_value()
    assert "粗大ごみ" in draft
    desk.screenshot(path=SHOTS / "case.png", full_page=True)
    desk.get_by_role("button", name="承認して送る").click()
    expect(desk.get_by_text("回答済み", exact=True)).to_be_visible()

    expect(citizen.get_by_text("環境課です。")).to_be_visible(timeout=30_000)
    citizen.screenshot(path=SHOTS / "chat.png")
    citizen.reload()
    expect(citizen.get_by_text("環境課です。")).to_be_visible()
    assert citizen.locator(".m.citizen").count() == 1


def test_the_check_warns_while_the_caseworker_types(browser: Browser, site: str) -> None:
    citizen = browser.new_page()
    citizen.goto(f"{site}/chat")
    _say(citizen, QUESTION)
    expect(citizen.get_by_text("受付番号は")).to_be_visible(timeout=30_000)
    desk = browser.new_context().new_page()
    desk.goto(f"{site}/desk")
    desk.get_by_label("職員ID").fill("kankyo")
    desk.get_by_label("パスワード").fill("correct horse")
    desk.get_by_role("button", name="ログイン").click()
    desk.locator("a.row").first.click()
    box = desk.get_by_label("市民に送る文面(このまま送られます)")
    box.fill(box.input_value().replace("円", "円。なお9月末までに9,999円"))
    expect(desk.locator(".findings .hard").first).to_be_visible()
    desk.get_by_role("button", name="承認して送る").click()
    expect(desk.get_by_role("alert")).to_contain_text("根拠のない記述")
    assert "9,999円" in box.input_value()


def test_enter_that_confirms_a_conversion_does_not_send(browser: Browser, site: str) -> None:
    page = browser.new_page()
    page.goto(f"{site}/chat")
    box = page.get_by_label("メッセージ")
    box.fill("てんにゅう")
    for event in ("{isComposing: true, keyCode: 229}", "{keyCode: 229}"):
        page.evaluate(
            "document.getElementById('text').dispatchEvent(new KeyboardEvent('keydown', "
            f"{{key: 'Enter', bubbles: true, cancelable: true, ...{event}}}))"
        )
    assert box.input_value() == "てんにゅう"
    box.press("Enter")
    expect(page.locator(".m.citizen")).to_have_count(1)


def test_the_widget_opens_on_a_page_of_another_origin(browser: Browser, site: str) -> None:
    script = f'<script src="{site}/static/widget.js" defer></script>'
    html = f'<!doctype html><html lang="ja"><body><h1>市のページ</h1>{script}'

    async def city_page(_request: object) -> HTMLResponse:
        return HTMLResponse(html)

    with _serving(Starlette(routes=[Route("/", city_page)]), free_port()) as url:
        page = browser.new_page()
        page.goto(url.replace("127.0.0.1", "localhost"))
        page.get_by_role("button", name="問い合わせ").click()
        frame = page.frame_locator("iframe")
        frame.get_by_label("メッセージ").fill(QUESTION)
        frame.get_by_role("button", name="送信").click()
        expect(frame.get_by_text("受付番号は")).to_be_visible(timeout=30_000)
