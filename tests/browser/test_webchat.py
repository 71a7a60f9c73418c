"""A person types in a real browser, a caseworker approves at the desk, the answer appears."""

import json

import pytest
import sqlalchemy as sa
from playwright.sync_api import Browser, expect
from playwright.sync_api import Route as Call
from sqlmodel import col
from starlette.applications import Starlette
from starlette.responses import HTMLResponse
from starlette.routing import Route

from bot import auth, outbox
from bot.db import now, transaction
from bot.models import Conversation, Inquiry, Role, StaffSession
from tests.browser.conftest import QUESTION, SHOTS, ask, say, serving, sign_in
from tests.city import City
from tests.conftest import free_port

pytestmark = pytest.mark.browser


def test_a_person_types_a_caseworker_approves_the_answer_appears(browser: Browser, site: str) -> None:
    SHOTS.mkdir(parents=True, exist_ok=True)
    citizen = browser.new_context(viewport={"width": 390, "height": 844}).new_page()
    troubles: list[str] = []
    citizen.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
    citizen.on("pageerror", lambda error: troubles.append(str(error)))
    citizen.goto(f"{site}/chat")
    say(citizen, QUESTION)
    expect(citizen.get_by_text("受付番号は")).to_be_visible(timeout=30_000)

    desk = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
    sign_in(desk, site)
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
    citizen = ask(browser, site)
    desk = browser.new_context().new_page()
    sign_in(desk, site)
    desk.locator("a.row").first.click()
    desk.get_by_text("自分で書いて送る", exact=True).click()
    desk.get_by_label("文面", exact=True).fill("担当者が直接お答えします。")
    desk.get_by_role("button", name="この文面で送る").click()
    expect(citizen.get_by_text("担当者が直接お答えします。")).to_be_visible(timeout=30_000)


def test_the_check_warns_while_the_caseworker_types(browser: Browser, site: str) -> None:
    ask(browser, site)
    desk = browser.new_context().new_page()
    sign_in(desk, site)
    desk.locator("a.row").first.click()
    box = desk.get_by_label("市民に送る文面(このまま送られます)")
    box.fill(box.input_value().replace("円", "円。なお9月末までに9,999円"))
    expect(desk.locator(".findings .hard").first).to_be_visible()
    desk.get_by_role("button", name="承認して送る").click()
    expect(desk.get_by_role("alert")).to_contain_text("確認が必要な箇所")
    assert "9,999円" in box.input_value()


def test_words_typed_before_the_script_is_there_are_checked(browser: Browser, site: str) -> None:
    ask(browser, site)
    desk = browser.new_context().new_page()
    sign_in(desk, site)
    held: list[Call] = []
    desk.route("**/console.js*", lambda route: held.append(route))
    desk.goto(site + str(desk.locator("a.row").first.get_attribute("href")), wait_until="commit")
    box = desk.get_by_label("市民に送る文面(このまま送られます)")
    box.fill(box.input_value().replace("円", "円。なお9月末までに9,999円"))
    expect(desk.locator(".findings .hard")).to_have_count(0)
    held[0].continue_()
    expect(desk.locator(".findings .hard").first).to_be_visible()


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


# What iOS 15 and the Chromium of 2021 do not have.
OLD_PHONE = """
    delete AbortSignal.timeout; delete AbortSignal.any; delete Crypto.prototype.randomUUID;
    delete window.CSSStyleSheet; delete ShadowRoot.prototype.adoptedStyleSheets;
"""


def test_an_old_phone_gets_through(browser: Browser, site: str) -> None:
    phone = browser.new_context(viewport={"width": 390, "height": 844})
    phone.add_init_script(OLD_PHONE)
    page = phone.new_page()
    page.goto(f"{site}/chat")
    say(page, QUESTION)
    expect(page.get_by_text("受付番号は")).to_be_visible(timeout=30_000)


@pytest.mark.parametrize("missing", ["", OLD_PHONE])
def test_the_widget_opens_on_a_page_of_another_origin(browser: Browser, site: str, missing: str) -> None:
    script = f'<script src="{site}/static/widget.js" defer></script>'
    html = f'<!doctype html><html lang="ja"><body><h1>市のページ</h1>{script}'

    async def city_page(_request: object) -> HTMLResponse:
        return HTMLResponse(html)

    with serving(Starlette(routes=[Route("/", city_page)]), free_port()) as url:
        page = browser.new_page()
        page.add_init_script(missing)
        page.goto(url.replace("127.0.0.1", "localhost"))
        page.get_by_role("button", name="問い合わせ").click()
        frame = page.frame_locator("iframe")
        say(frame, QUESTION)
        expect(frame.get_by_text("受付番号は")).to_be_visible(timeout=30_000)
        page.screenshot(path=SHOTS / "widget.png")

        opener = page.get_by_role("button", name="問い合わせ")
        expect(opener).to_have_css("position", "fixed")
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
    say(page, QUESTION)
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
    say(page, QUESTION)
    expect(page.get_by_text("受付番号は")).to_be_visible(timeout=30_000)
    expect(page.locator(".sending")).to_have_count(0)
    expect(page.locator(".m.citizen")).to_have_count(1)
    expect(page.get_by_role("button", name="もう一度送る")).to_be_hidden()
    assert [m.text for m in working_city.thread() if m.direction == "in"] == [QUESTION]


def test_an_expired_token_begins_a_new_conversation_and_says_so(browser: Browser, site: str) -> None:
    page = browser.new_page()
    page.goto(f"{site}/chat")
    # The page fetches a token of its own first: set earlier, ours would be overwritten.
    page.wait_for_function("localStorage.getItem('madoguchi-chat')")
    page.evaluate("localStorage.setItem('madoguchi-chat', 'expired')")
    page.reload()
    expect(page.get_by_text("新しい会話を始めました。")).to_have_count(1)
    say(page, QUESTION)
    expect(page.get_by_text("受付番号は")).to_be_visible(timeout=30_000)
    expect(page.get_by_text("新しい会話を始めました。")).to_have_count(1)


def test_a_refusal_in_the_middle_moves_the_live_answers_to_the_new_conversation(
    browser: Browser, site: str
) -> None:
    page = browser.new_page()
    page.goto(f"{site}/chat")
    say(page, "こんにちは")
    expect(page.locator(".m.city").first).to_be_visible(timeout=30_000)
    refused = {"status": 401, "json": {"error": "NotSignedIn"}}
    page.route("**/chat/messages", lambda call: call.fulfill(**refused), times=1)
    say(page, QUESTION)
    expect(page.get_by_text("新しい会話を始めました。")).to_have_count(1)
    expect(page.get_by_text("受付番号は")).to_be_visible(timeout=30_000)


def test_who_shares_the_computer_ends_the_talk_on_it(browser: Browser, site: str, working_city: City) -> None:
    page = ask(browser, site)
    other_tab = page.context.new_page()
    other_tab.goto(f"{site}/chat")
    expect(other_tab.get_by_text("受付番号は")).to_be_visible()
    page.get_by_label("メッセージ").fill("書きかけの文")

    end = page.get_by_role("button", name="この端末での相談を終える")
    end.press("Enter")
    question = page.get_by_role("alertdialog", name="この端末での相談を終えますか")
    expect(question).to_contain_text("お電話(0000-12-3100)で、受付番号を")
    expect(question.get_by_role("button", name="相談を続ける")).to_be_focused()
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SHOTS / "end.png")
    page.keyboard.press("Escape")
    expect(question).to_be_hidden()
    expect(end).to_be_focused()
    expect(page.get_by_text("受付番号は")).to_be_visible()

    end.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    log = page.get_by_role("log")
    for one in (page, other_tab):
        expect(one.get_by_role("log")).to_contain_text("この端末での相談を終えました。")
        expect(one.locator(".m")).to_have_count(0)
        expect(one.get_by_label("メッセージ")).to_have_value("")
        expect(one.get_by_role("button", name="この端末での相談を終える")).to_be_hidden()
    page.screenshot(path=SHOTS / "ended.png")
    assert page.evaluate("localStorage.getItem('madoguchi-chat')") == other_tab.evaluate("token")
    page.reload()
    expect(log).not_to_contain_text("この端末での相談を終えました。")

    say(page, "転入届に必要なものを教えてください")
    expect(page.get_by_text("受付番号は")).to_have_count(1, timeout=30_000)
    expect(other_tab.get_by_text("受付番号は")).to_have_count(1)
    assert len(working_city.all(Conversation)) == len(working_city.all(Inquiry)) == 2


def test_the_talk_is_ended_in_the_widget_too_and_without_a_line(browser: Browser, site: str) -> None:
    html = f'<!doctype html><html lang="ja"><body><script src="{site}/static/widget.js" defer></script>'

    async def city_page(_request: object) -> HTMLResponse:
        return HTMLResponse(html)

    with serving(Starlette(routes=[Route("/", city_page)]), free_port()) as url:
        page = browser.new_page()
        page.goto(url.replace("127.0.0.1", "localhost"))
        page.get_by_role("button", name="問い合わせ").click()
        frame = page.frame_locator("iframe")
        say(frame, QUESTION)
        expect(frame.get_by_text("受付番号は")).to_be_visible(timeout=30_000)
        page.route("**/chat/*", lambda call: call.abort())
        frame.get_by_role("button", name="この端末での相談を終える").click()
        page.keyboard.press("Escape")
        expect(page.locator("iframe")).to_be_visible()
        frame.get_by_role("button", name="この端末での相談を終える").click()
        frame.get_by_role("button", name="相談を終える", exact=True).click()
        expect(frame.locator(".m")).to_have_count(0)
        expect(frame.locator("#state")).to_contain_text("接続できません")
        page.unroute("**/chat/*")
        expect(frame.get_by_text("この端末での相談を終えました。")).to_be_visible()


def test_a_broken_line_is_told_and_the_talk_goes_on_after_it(browser: Browser, app: Starlette) -> None:
    port = free_port()
    page = browser.new_page()
    state = page.locator("#state")
    with serving(app, port) as url:
        page.goto(f"{url}/chat")
        say(page, QUESTION)
        expect(page.get_by_text("受付番号は")).to_be_visible(timeout=30_000)
        expect(state).to_be_hidden()
    expect(state).to_contain_text("接続が切れました")
    with serving(app, port):
        expect(state).to_be_hidden(timeout=30_000)
        say(page, "粗大ごみは何点まで出せますか")
        expect(page.locator(".m.city")).to_have_count(2)
    assert page.locator(".m.citizen").count() == 2


def test_buttons_under_the_last_message_answer_for_the_citizen(
    browser: Browser, site: str, working_city: City
) -> None:
    page = browser.new_context(viewport={"width": 390, "height": 844}).new_page()
    page.goto(f"{site}/chat")
    say(page, QUESTION)
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
    say(page, "あ" * 5003)
    expect(page.locator("#length")).to_have_text(
        "一度に送れるのは5,000文字までです。あと3文字減らしてください。"
    )
    assert len(page.get_by_label("メッセージ").input_value()) == 5003
    assert page.locator(".m.citizen").count() == 0


@pytest.mark.parametrize("size", [(195, 422), (640, 360), (320, 256)])
def test_zoomed_pages_need_no_sideways_scrolling(browser: Browser, site: str, size: tuple[int, int]) -> None:
    page = browser.new_context(viewport={"width": size[0], "height": size[1]}).new_page()
    page.goto(f"{site}/chat")
    say(page, QUESTION)
    expect(page.get_by_text("受付番号は")).to_be_visible(timeout=30_000)
    page.screenshot(path=SHOTS / f"zoom-{size[0]}.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    for box in page.locator("button, textarea").all():
        bounds = box.bounding_box()
        assert bounds is not None
        assert min(bounds["height"], bounds["width"]) >= 44


def test_ticking_sentences_makes_a_draft_of_exactly_these(browser: Browser, site: str) -> None:
    ask(browser, site)
    # Without JavaScript, which would submit each tick (tests/browser/test_desk.py), the button does it.
    context = browser.new_context(viewport={"width": 1440, "height": 900}, java_script_enabled=False)
    desk = context.new_page()
    sign_in(desk, site)
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
    ask(browser, site)
    desk = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
    troubles: list[str] = []
    desk.on("pageerror", lambda error: troubles.append(str(error)))
    desk.goto(f"{site}/desk/login")
    desk.screenshot(path=SHOTS / "login.png")
    sign_in(desk, site, "kakaricho")
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
    say(alarmed, "家が燃えています、助けて")
    expect(desk.locator(".alarm")).to_contain_text("緊急の可能性", timeout=40_000)
    assert desk.title().startswith("【緊急1件】")
    with transaction(working_city.engine) as session:
        urgent = sa.update(Inquiry).where(col(Inquiry.emergency).is_(True))
        session.execute(urgent.values(alarm_escalated_at=now()))
    expect(desk.locator(".alarm .escalated")).to_have_text("まだ誰も確認していません", timeout=40_000)
    desk.screenshot(path=SHOTS / "alarm.png")
    with transaction(working_city.engine) as session:
        session.execute(sa.delete(StaffSession))
    expect(desk.locator("#signed-out")).to_contain_text("ログインの有効時間が切れました", timeout=40_000)
    desk.screenshot(path=SHOTS / "signed-out.png")
    assert troubles == []
