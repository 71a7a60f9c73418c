"""やさしい日本語 in real browsers: a caseworker attaches and checks it, the citizen reads it with ruby."""

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.conftest import SHOTS, ask, sign_in

pytestmark = pytest.mark.browser
BOX = "市民に送る文面(このまま送られます)"
SECOND = "いっしょに送る文(やさしい日本語)"
STALE = "日本語の文面が変わりました。作り直すか、確認してください。"


def test_easy_japanese_is_attached_checked_sent_and_read_with_ruby(browser: Browser, site: str) -> None:
    citizen = ask(browser, site)
    desk = browser.new_context(viewport={"width": 1440, "height": 1000}).new_page()
    sign_in(desk, site)
    desk.locator("a.row").first.click()
    box = desk.get_by_label(BOX)
    expect(box).to_be_visible()
    before = box.input_value()
    box.fill(before.replace("粗大ごみ", "大きな粗大ごみ", 1))
    desk.get_by_role("button", name="やさしい日本語を付ける").click()
    second = desk.get_by_label(SECOND)
    expect(second).to_be_focused()
    assert "（そだい）" in second.input_value()
    assert "大きな粗大ごみ" in box.input_value(), "the page was not loaded anew"

    desk.locator("#second-findings").get_by_role("button", name="箇所へ移動").first.press("Enter")
    expect(second).to_be_focused()
    assert second.evaluate("e => e.selectionEnd > e.selectionStart")

    box.fill(before)
    expect(desk.get_by_text(STALE)).to_be_visible()
    desk.get_by_role("button", name="承認して送る").click()
    expect(desk.get_by_role("alert")).to_be_visible()
    expect(desk.get_by_text(STALE)).to_be_visible()
    desk.get_by_role("button", name="この文を作り直す").click()
    expect(desk.get_by_text(STALE)).to_have_count(0)
    desk.get_by_text("市民に見える形(ふりがな付き)").click()
    expect(desk.locator("#second ruby").first).to_be_visible()
    SHOTS.mkdir(parents=True, exist_ok=True)
    desk.screenshot(path=SHOTS / "second-text.png", full_page=True)
    second.press("Control+Enter")
    expect(desk.get_by_text("回答済み", exact=True)).to_be_visible()

    reading = citizen.locator(".m ruby", has_text="粗大").locator("rt").first
    expect(reading).to_have_text("そだい")
    expect(reading).to_be_visible()
    expect(citizen.locator(".m", has=citizen.locator("ruby"))).not_to_contain_text("（そだい）")
    citizen.locator(".m ruby").first.scroll_into_view_if_needed()
    citizen.screenshot(path=SHOTS / "chat-ruby.png")
