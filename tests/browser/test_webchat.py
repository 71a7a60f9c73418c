"""A person types in a real browser, a caseworker approves at the desk, the answer appears."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn
from playwright.sync_api import Browser, FrameLocator, Page, expect, sync_playwright
from playwright.sync_api import Route as Call
from starlette.applications import Starlette
from starlette.responses import HTMLResponse
from starlette.routing import Route

from bot import auth, outbox
from bot.app import create_app
from bot.db import make_engine, transaction
from bot.models import Conversation, Role
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
def _serving(app: Starlette, port: int) -> Iterator[str]:
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
    with _serving(app, free_port()) as url:
        yield url


def _say(page: Page | FrameLocator, text: str) -> None:
    page.get_by_label("メッセージ").fill(text)
    page.get_by_role("button", name="送信").click()


def _ask(browser: Browser, site: str, width: int = 390) -> Page:
    """A citizen's page that has asked and been told its receipt number."""
    page = browser.new_context(viewport={"width": width, "height": 844}).new_page()
    page.goto(f"{site}/chat")
    _say(page, QUESTION)
    expect(page.get_by_text("受付番号は")).to_be_visible(timeout=30_000)
    return page


def _sign_in(desk: Page, site: str, login: str = "kankyo") -> None:
    desk.goto(f"{site}/desk/login")
    desk.get_by_label("職員ID").fill(login)
    desk.get_by_label("パスワード").fill("correct horse")
    desk.get_by_role("button", name="ログイン").click()


def test_a_person_types_a_caseworker_approves_the_answer_appears(browser: Browser, site: str) -> None:
    SHOTS.mkdir(parents=True, exist_ok=True)
    citizen = browser.new_context(viewport={"width": 390, "height": 844}).new_page()
    troubles: list[str] = []
    citizen.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
    citizen.on("pageerror", lambda error: troubles.append(str(error)))
    citizen.goto(f"{site}/chat")
    _say(citizen, QUESTION)
    expect(citizen.get_by_text("受付番号は")).to_be_visible(timeout=30_000)

    desk = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
    _sign_in(desk, site)
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
    assert troubles == []


def test_an_answer_written_by_hand_appears_live(browser: Browser, site: str) -> None:
    citizen = _ask(browser, site)
    desk = browser.new_context().new_page()
    _sign_in(desk, site)
    desk.locator("a.row").first.click()
    desk.get_by_text("自分で書いて送る").click()
    desk.get_by_label("文面", exact=True).fill("担当者が直接お答えします。")
    desk.get_by_role("button", name="この文面で送る").click()
    expect(citizen.get_by_text("担当者が直接お答えします。")).to_be_visible(timeout=30_000)


def test_the_check_warns_while_the_caseworker_types(browser: Browser, site: str) -> None:
    _ask(browser, site)
    desk = browser.new_context().new_page()
    _sign_in(desk, site)
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
        _say(frame, QUESTION)
        expect(frame.get_by_text("受付番号は")).to_be_visible(timeout=30_000)
        page.screenshot(path=SHOTS / "widget.png")

        opener = page.get_by_role("button", name="問い合わせ")
        expect(opener).to_have_attribute("aria-expanded", "true")
        frame.get_by_label("メッセージ").press("Escape")
        expect(page.locator("iframe")).to_be_hidden()
        expect(opener).to_be_focused()
        expect(opener).to_have_attribute("aria-expanded", "false")
        assert page.context.cookies() == []


def test_a_message_that_could_not_be_sent_waits_for_another_try(browser: Browser, site: str) -> None:
    page = browser.new_page()
    tried: list[str] = []

    def break_line(call: Call) -> None:
        if call.request.method == "POST":
            tried.append(json.loads(call.request.post_data or "{}")["client_id"])
            call.abort()
        else:
            call.continue_()

    page.route("**/chat/messages", break_line)
    page.goto(f"{site}/chat")
    _say(page, QUESTION)
    again = page.get_by_role("button", name="送信できませんでした。もう一度送る")
    expect(again).to_be_visible(timeout=30_000)
    expect(page.locator(".m.citizen")).to_contain_text(QUESTION)
    page.screenshot(path=SHOTS / "failed.png")
    assert len(tried) == 3
    assert len(set(tried)) == 1

    page.unroute("**/chat/messages")
    with page.expect_request("**/chat/messages") as sent:
        again.click()
    assert json.loads(sent.value.post_data or "{}")["client_id"] == tried[0]
    expect(page.get_by_text("受付番号は")).to_be_visible(timeout=30_000)
    expect(again).to_be_hidden()
    expect(page.locator(".m.citizen")).to_have_count(1)


def test_a_message_whose_answer_is_lost_is_shown_and_stored_once(
    browser: Browser, site: str, working_city: City
) -> None:
    page = browser.new_page()

    def lose_answer(call: Call) -> None:
        if call.request.method == "POST":
            call.fetch()
            call.abort()
        else:
            call.continue_()

    page.route("**/chat/messages", lose_answer)
    page.goto(f"{site}/chat")
    _say(page, QUESTION)
    expect(page.get_by_text("受付番号は")).to_be_visible(timeout=30_000)
    expect(page.locator(".sending")).to_have_count(0)
    expect(page.locator(".m.citizen")).to_have_count(1)
    expect(page.get_by_role("button", name="もう一度送る")).to_be_hidden()
    assert [m.text for m in working_city.thread() if m.direction == "in"] == [QUESTION]


def test_an_expired_token_begins_a_new_conversation_and_says_so(browser: Browser, site: str) -> None:
    page = browser.new_page()
    page.goto(f"{site}/chat")
    page.evaluate("localStorage.setItem('madoguchi-chat', 'expired')")
    page.reload()
    expect(page.get_by_text("新しい会話を始めました。")).to_have_count(1)
    _say(page, QUESTION)
    expect(page.get_by_text("受付番号は")).to_be_visible(timeout=30_000)
    expect(page.get_by_text("新しい会話を始めました。")).to_have_count(1)


def test_a_refusal_in_the_middle_moves_the_live_answers_to_the_new_conversation(
    browser: Browser, site: str
) -> None:
    page = browser.new_page()
    page.goto(f"{site}/chat")
    _say(page, "こんにちは")
    expect(page.locator(".m.city").first).to_be_visible(timeout=30_000)
    refused = {"status": 401, "json": {"error": "NotSignedIn"}}
    page.route("**/chat/messages", lambda call: call.fulfill(**refused), times=1)
    _say(page, QUESTION)
    expect(page.get_by_text("新しい会話を始めました。")).to_have_count(1)
    expect(page.get_by_text("受付番号は")).to_be_visible(timeout=30_000)


def test_a_broken_line_is_told_and_the_talk_goes_on_after_it(browser: Browser, app: Starlette) -> None:
    port = free_port()
    page = browser.new_page()
    state = page.locator("#state")
    with _serving(app, port) as url:
        page.goto(f"{url}/chat")
        _say(page, QUESTION)
        expect(page.get_by_text("受付番号は")).to_be_visible(timeout=30_000)
        expect(state).to_be_hidden()
    expect(state).to_contain_text("接続が切れました")
    with _serving(app, port):
        expect(state).to_be_hidden(timeout=30_000)
        _say(page, "粗大ごみは何点まで出せますか")
        expect(page.locator(".m.city")).to_have_count(2)
    assert page.locator(".m.citizen").count() == 2


def test_buttons_under_the_last_message_answer_for_the_citizen(
    browser: Browser, site: str, working_city: City
) -> None:
    page = browser.new_context(viewport={"width": 390, "height": 844}).new_page()
    page.goto(f"{site}/chat")
    _say(page, QUESTION)
    expect(page.get_by_text("受付番号は")).to_be_visible(timeout=30_000)
    with transaction(working_city.engine) as session:
        conversation = session.get_one(Conversation, working_city.all(Conversation)[0].id)
        choices = ("waste_environment", "water")
        outbox.send_fixed(session, "clarify_department", conversation, cause="test", buttons=choices)
    group = page.get_by_role("group", name="選択肢")
    expect(group.get_by_role("button")).to_have_count(2)
    page.screenshot(path=SHOTS / "buttons.png")
    pressed = group.get_by_role("button").last
    label = pressed.inner_text()
    pressed.click()
    expect(page.locator(".m.citizen").last).to_contain_text(label)
    expect(group).to_be_hidden()
    page.reload()
    expect(page.locator(".m.citizen").last).to_contain_text(label)


def test_too_long_a_text_is_kept_and_not_sent(browser: Browser, site: str) -> None:
    page = browser.new_page()
    page.goto(f"{site}/chat")
    _say(page, "あ" * 5003)
    expect(page.locator("#length")).to_have_text(
        "一度に送れるのは5,000文字までです。あと3文字減らしてください。"
    )
    assert len(page.get_by_label("メッセージ").input_value()) == 5003
    assert page.locator(".m.citizen").count() == 0


@pytest.mark.parametrize("size", [(195, 422), (640, 360), (320, 256)])
def test_zoomed_pages_need_no_sideways_scrolling(browser: Browser, site: str, size: tuple[int, int]) -> None:
    page = browser.new_context(viewport={"width": size[0], "height": size[1]}).new_page()
    page.goto(f"{site}/chat")
    _say(page, QUESTION)
    expect(page.get_by_text("受付番号は")).to_be_visible(timeout=30_000)
    page.screenshot(path=SHOTS / f"zoom-{size[0]}.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    for box in page.locator("button, textarea").all():
        bounds = box.bounding_box()
        assert bounds is not None
        assert min(bounds["height"], bounds["width"]) >= 44


def test_ticking_sentences_makes_a_draft_of_exactly_these(browser: Browser, site: str) -> None:
    _ask(browser, site)
    desk = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
    _sign_in(desk, site)
    desk.locator("a.row").first.click()
    boxes = desk.locator("#choices input[name=passage]")
    for box in boxes.all():
        box.uncheck()
    boxes.first.check()
    sentence = desk.locator("#choices label").first.inner_text().strip()
    desk.get_by_role("button", name="選んだ文で下書きを作り直す").click()
    expect(desk.locator("#choices input:checked")).to_have_count(1)
    assert sentence in desk.get_by_label("市民に送る文面(このまま送られます)").input_value()
    desk.screenshot(path=SHOTS / "ticked.png", full_page=True)


def test_the_supervisors_pages_open_and_an_alarm_reaches_an_open_page(
    browser: Browser, site: str, working_city: City
) -> None:
    SHOTS.mkdir(parents=True, exist_ok=True)
    with transaction(working_city.engine) as session:
        auth.create_staff(
            session, login="kakaricho", name="統括 係長", role=Role.supervisor,
            department_id="front_desk", password="correct horse", actor="test",
        )  # fmt: skip
    _ask(browser, site)
    desk = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
    troubles: list[str] = []
    desk.on("pageerror", lambda error: troubles.append(str(error)))
    desk.goto(f"{site}/desk/login")
    desk.screenshot(path=SHOTS / "login.png")
    _sign_in(desk, site, "kakaricho")
    pages = {
        "/supervise": "全体の状況",
        "/supervise/routing": "振り分けの状況",
        "/supervise/audit": "操作の記録",
        "/desk/knowledge": "記事",
        "/desk/knowledge/gaps": "記事が足りない質問",
        "/desk/knowledge/new": "新しい記事",
    }
    for path, heading in pages.items():
        desk.goto(f"{site}{path}")
        expect(desk.get_by_role("heading", level=1)).to_contain_text(heading)
        assert desk.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
        desk.screenshot(path=SHOTS / f"{path.strip('/').replace('/', '-')}.png", full_page=True)
    alarmed = browser.new_page()
    alarmed.goto(f"{site}/chat")
    _say(alarmed, "家が燃えています、助けて")
    expect(desk.locator(".alarm")).to_contain_text("緊急の可能性", timeout=40_000)
    assert desk.title().startswith("【緊急1件】")
    desk.screenshot(path=SHOTS / "alarm.png")
    assert troubles == []
