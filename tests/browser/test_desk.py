"""The case's screen in a real browser: places of faults, wishes, a rewording that can be stopped."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Dialog, Locator, Page, Route, expect
from sqlmodel import select
from starlette.applications import Starlette

from bot.app import create_app
from bot.db import transaction
from bot.models import Approval, Draft, DraftStatus, Inquiry
from responders.llm import Llm
from tests.browser.conftest import SHOTS, ask, sign_in
from tests.city import City, settings_for
from tests.platforms.line import Line
from tests.responders.conftest import FakeEndpoint, given_sentences

pytestmark = pytest.mark.browser
BOX = "市民に送る文面(このまま送られます)"


@pytest.fixture
def model() -> Iterator[FakeEndpoint]:
    endpoint = FakeEndpoint()
    endpoint.reply = lambda body: "".join(given_sentences(body))
    yield endpoint
    endpoint.close()


@pytest.fixture
def app(working_city: City, model: FakeEndpoint, line: Line) -> Iterator[Starlette]:
    """The desk with a model; the worker has none, so that drafts begin verbatim."""
    llm = Llm(model.url, "stand-in", "", timeout_seconds=30.0)
    settings = settings_for(working_city.url, line, working_city.settings.data_dir)
    yield create_app(settings, working_city.engine, llm)
    llm.close()


def _open_case(browser: Browser, site: str) -> Page:
    ask(browser, site)
    desk = browser.new_context(viewport={"width": 1440, "height": 1000}).new_page()
    sign_in(desk, site)
    desk.locator("a.row").first.click()
    expect(desk.locator("html.js")).to_be_visible()
    expect(desk.get_by_label(BOX)).to_be_visible()
    return desk


def test_a_place_is_found_and_confirmed_by_keyboard(browser: Browser, site: str) -> None:
    desk = _open_case(browser, site)
    box = desk.get_by_label(BOX)
    box.fill(box.input_value().replace("\n\nご不明", "\n🎍なお、9,999円が必要です。\n\nご不明"))
    desk.get_by_role("button", name="箇所へ移動").first.press("Enter")
    marked = box.evaluate("e => e.value.slice(e.selectionStart, e.selectionEnd)")
    assert "9,999円" in marked
    SHOTS.mkdir(parents=True, exist_ok=True)
    desk.screenshot(path=SHOTS / "review.png", full_page=True)
    for checkbox in desk.locator("#review input[name=confirmed]").all():
        checkbox.press("Space")
    desk.get_by_role("button", name="承認して送る").click()
    expect(desk.get_by_text("回答済み", exact=True)).to_be_visible()
    desk.get_by_role("link", name="下書きと承認の詳しい記録").click()
    expect(desk.locator(".diff ins").first).to_contain_text("9,999円")
    desk.screenshot(path=SHOTS / "record.png", full_page=True)


def test_a_place_in_a_persons_own_words_is_found(browser: Browser, site: str) -> None:
    desk = _open_case(browser, site)
    desk.get_by_text("自分で書いて送る", exact=True).click()
    desk.get_by_label("文面", exact=True).fill("お答えします🎍。\n必ず横浜市の窓口へどうぞ。")
    desk.get_by_role("button", name="この文面で送る").click()
    box = desk.get_by_label("文面", exact=True)
    marked = set()
    for button in desk.locator("form:has(#hand)").get_by_role("button", name="箇所へ移動").all():
        button.press("Enter")
        expect(box).to_be_focused()
        marked.add(box.evaluate("e => e.value.slice(e.selectionStart, e.selectionEnd)"))
    assert marked == {"必ず", "横浜市"}


def test_a_rewording_runs_into_the_editor_and_can_be_stopped(
    browser: Browser, site: str, model: FakeEndpoint, working_city: City
) -> None:
    desk = _open_case(browser, site)
    box = desk.get_by_label(BOX)
    before = box.input_value()
    model.seconds_between = 0.05
    desk.get_by_role("button", name="AIで言い換える").click()
    expect(desk.get_by_role("button", name="止める")).to_be_visible()
    expect(desk.get_by_role("button", name="承認して送る")).to_be_disabled()
    desk.screenshot(path=SHOTS / "streaming.png", full_page=True)
    desk.get_by_role("button", name="止める").click()
    expect(desk.get_by_text("止めました")).to_be_visible()
    assert box.input_value() == before
    expect(desk.get_by_role("button", name="承認して送る")).to_be_enabled()

    model.seconds_between = 0.0
    desk.get_by_role("button", name="AIで言い換える").click()
    expect(desk.get_by_text("言い換えました")).to_be_visible()
    assert [draft.origin for draft in working_city.all(Draft)] == ["model"]
    desk.get_by_role("button", name="承認して送る").click()
    expect(desk.get_by_text("回答済み", exact=True)).to_be_visible()


def test_what_a_person_typed_is_not_reworded_away_unasked(browser: Browser, site: str) -> None:
    desk = _open_case(browser, site)
    box = desk.get_by_label(BOX)
    typed = box.input_value().replace("\n\nご不明", "\n担当は山本です。\n\nご不明")
    box.fill(typed)
    desk.once("dialog", lambda dialog: dialog.dismiss())
    desk.get_by_role("button", name="AIで言い換える").click()
    assert box.input_value() == typed
    desk.once("dialog", lambda dialog: dialog.accept())
    desk.get_by_role("button", name="AIで言い換える").click()
    expect(desk.get_by_text("言い換えました")).to_be_visible()
    desk.get_by_role("button", name="AIで言い換える").click()  # nothing typed since: no question
    expect(desk.get_by_role("button", name="AIで言い換える")).to_be_visible()
    assert "山本" not in box.input_value()


def test_ctrl_enter_sends_nothing_while_the_model_writes(
    browser: Browser, site: str, model: FakeEndpoint, working_city: City
) -> None:
    desk = _open_case(browser, site)
    box = desk.get_by_label(BOX)
    model.seconds_between = 0.05
    desk.get_by_role("button", name="AIで言い換える").click()
    expect(desk.get_by_role("button", name="止める")).to_be_visible()
    box.press("Control+Enter")
    desk.get_by_role("button", name="止める").click()
    expect(desk.get_by_text("止めました")).to_be_visible()
    assert not working_city.all(Approval)

    box.press("Control+Enter")
    expect(desk.get_by_text("回答済み", exact=True)).to_be_visible()
    assert len(working_city.all(Approval)) == 1


def test_a_new_draft_appears_without_a_reload(browser: Browser, site: str) -> None:
    desk = _open_case(browser, site)
    desk.get_by_text("下書きを作り直す", exact=True).click()
    desk.get_by_label("文の調子").select_option("list")
    desk.get_by_role("button", name="作り直す", exact=True).click()
    expect(desk.get_by_label(BOX)).to_be_visible()
    assert "\n・" in desk.get_by_label(BOX).input_value()


def _leaves(page: Page, press: Locator, answer: str) -> None:
    """Press something that leaves the page; the browser asks, and the person answers."""
    page.once("dialog", lambda dialog: getattr(dialog, answer)())
    with page.expect_event("dialog") as asked:
        press.click(no_wait_after=True)
    assert asked.value.type == "beforeunload"


def test_leaving_the_page_asks_before_typed_words_are_lost(
    browser: Browser, site: str, working_city: City
) -> None:
    desk = _open_case(browser, site)
    box, back = desk.get_by_label(BOX), desk.get_by_role("link", name="一覧へ")
    typed = f"{box.input_value()}\n追伸"
    box.fill(typed)
    _leaves(desk, back, "dismiss")
    assert box.input_value() == typed

    desk.get_by_text("下書きを作り直す", exact=True).click()
    anew = desk.get_by_role("button", name="作り直す", exact=True)
    for answer in ("dismiss", "accept"):  # who stayed may press again
        assert box.input_value() == typed
        _leaves(desk, anew, answer)
    expect(box).not_to_have_value(typed)
    expect(box).to_be_visible()

    asked: list[Dialog] = []
    box.fill(box.input_value().replace("ご不明", "ご不明 "))
    desk.on("dialog", lambda dialog: asked.append(dialog))
    desk.get_by_role("button", name="承認して送る").click()  # the text goes along
    expect(desk.get_by_role("alert").or_(desk.get_by_text("回答済み", exact=True)).first).to_be_visible()
    assert not asked


def test_a_draft_that_comes_does_not_take_the_place_of_typed_words(
    browser: Browser, site: str, working_city: City, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = _open_case(browser, site)
    monkeypatch.setattr(working_city, "work", lambda: None)  # the worker is busy elsewhere
    desk.get_by_text("下書きを作り直す", exact=True).click()
    desk.get_by_role("button", name="作り直す", exact=True).click()
    expect(desk.get_by_text("下書きを作成しています")).to_be_visible()
    desk.get_by_text("自分で書いて送る", exact=True).click()
    desk.get_by_label("文面", exact=True).fill("手書きの途中")
    monkeypatch.undo()
    expect(desk.get_by_text("下書きができました")).to_be_visible()
    assert desk.get_by_label("文面", exact=True).input_value() == "手書きの途中"


def test_a_tick_makes_the_draft_anew_and_asks_before_typed_words_are_lost(
    browser: Browser, site: str, working_city: City
) -> None:
    desk = _open_case(browser, site)
    box = desk.get_by_label(BOX)
    other = desk.locator("#choices input[name=passage]:not(:checked)").first
    added = other.get_attribute("value")
    other.click()
    expect(desk.locator(f'#choices input[value="{added}"]')).to_be_checked()
    expect(desk.locator("#choices")).to_be_visible()
    expect(desk).to_have_url(re.compile("done=1"))
    before = box.input_value()
    [draft] = working_city.all(Draft)
    assert added in [f"{p['article']}#{p['ordinal']}" for p in draft.passages]

    box.fill(f"{before}\n追伸")
    desk.once("dialog", lambda dialog: dialog.dismiss())
    desk.locator(f'#choices input[value="{added}"]').click()
    expect(desk.locator(f'#choices input[value="{added}"]')).to_be_checked()
    assert box.input_value() == f"{before}\n追伸"
    desk.once("dialog", lambda dialog: dialog.accept())
    desk.locator(f'#choices input[value="{added}"]').click()
    expect(desk.locator(f'#choices input[value="{added}"]')).not_to_be_checked()
    expect(box).not_to_have_value(f"{before}\n追伸")


def test_who_ticks_by_keyboard_goes_on_where_they_were(
    browser: Browser, site: str, working_city: City
) -> None:
    desk = _open_case(browser, site)
    added = desk.locator("#choices input[name=passage]:not(:checked)").first.get_attribute("value")
    tick = desk.locator(f'#choices input[value="{added}"]')
    tick.press("Space")
    expect(desk).to_have_url(re.compile("done=1"))
    expect(tick).to_be_checked()
    expect(tick).to_be_focused()

    desk.reload()
    expect(desk.locator("html.js")).to_be_visible()
    expect(tick).not_to_be_focused()
    with transaction(working_city.engine) as session:
        for case in session.exec(select(Inquiry)):
            case.version += 1
    tick.press("Space")
    expect(desk.locator("p.error")).to_be_focused()
    expect(tick).not_to_be_checked()


def test_looking_for_articles_leaves_what_was_typed(browser: Browser, site: str, working_city: City) -> None:
    desk = _open_case(browser, site)
    box = desk.get_by_label(BOX)
    typed = f"{box.input_value()}\n追伸"
    box.fill(typed)
    desk.get_by_text("自分で書いて送る", exact=True).click()
    desk.get_by_label("文面", exact=True).fill("手書きの途中")
    for words, shown in (("みみずのかたつむり", "見つかりませんでした"), ("印鑑登録", "印鑑登録証明書")):
        desk.get_by_label("ほかの記事を根拠に加える").fill(words)
        desk.get_by_role("button", name="探す").press("Enter")
        expect(desk.locator("#sources form.inline")).to_contain_text(shown)
    found = desk.locator("#sources a.found").filter(has_text="印鑑登録証明書").first
    expect(desk.locator("#sources a.found").first).to_be_focused()
    found.press("Enter")
    expect(desk.locator("#choices legend").filter(has_text="印鑑登録証明書").first).to_be_visible()
    expect(desk).to_have_url(re.compile("article="))
    assert box.input_value() == typed
    assert desk.get_by_label("文面", exact=True).input_value() == "手書きの途中"
    desk.screenshot(path=SHOTS / "looked_up.png", full_page=True)

    with transaction(working_city.engine) as session:
        for case in session.exec(select(Inquiry)):
            case.version += 1
    for answer in ("dismiss", "accept"):
        assert box.input_value() == typed
        with desk.expect_event("dialog") as asked:
            desk.get_by_role("button", name="探す").press("Enter")
        getattr(asked.value, answer)()
    expect(box).not_to_have_value(typed)


def test_one_incident_is_answered_from_one_screen(browser: Browser, site: str, working_city: City) -> None:
    for _ in range(2):
        ask(browser, site)
    desk = browser.new_context(viewport={"width": 1440, "height": 1000}).new_page()
    sign_in(desk, site)
    expect(desk.get_by_text("同じ出来事").first).to_be_visible()
    desk.locator("a.row").first.click()
    other = desk.locator("input[name=also]")
    expect(other).to_have_count(1)
    expect(other).not_to_be_checked()
    other.check()
    desk.screenshot(path=SHOTS / "incident.png", full_page=True)
    desk.get_by_role("button", name="承認して送る").click()
    expect(desk.get_by_text("回答済み", exact=True)).to_be_visible()
    assert len(working_city.all(Approval)) == 2


def test_enter_on_a_box_to_tick_sends_nothing(browser: Browser, site: str, working_city: City) -> None:
    desk = _open_case(browser, site)
    desk.locator("#approve input[name=keep_open]").press("Enter")
    desk.get_by_text("自分で書いて送る", exact=True).click()
    own = desk.get_by_label("文面", exact=True)
    own.fill("職員が確認しました。")
    keep_open = desk.locator("form:has(#hand) input[name=keep_open]")
    keep_open.press("Enter")
    keep_open.press("Space")
    expect(keep_open).to_be_checked()
    expect(own).to_have_value("職員が確認しました。")
    assert not working_city.all(Approval)
    desk.get_by_role("button", name="この文面で送る").press("Enter")
    expect(desk.get_by_text("職員対応", exact=True).first).to_be_visible()
    assert [approval.text for approval in working_city.all(Approval)] == ["職員が確認しました。"]
    assert {draft.second_kind for draft in working_city.all(Draft)} == {""}


def test_a_check_that_comes_late_leaves_the_ticks_and_the_keyboard_where_they_are(
    browser: Browser, site: str
) -> None:
    desk = _open_case(browser, site)
    box, tick = desk.get_by_label(BOX), desk.locator("#review input[name=confirmed]").first
    held: list[Route] = []
    desk.route("**/check", lambda route: held.append(route))

    def types(text: str) -> None:
        box.fill(text)
        for _ in range(800):
            if held:
                return
            desk.wait_for_timeout(50)

    types(box.input_value().replace("\n\nご不明", "\nなお、9,999円が必要です。\n\nご不明"))
    held.pop().continue_()
    expect(tick).to_be_visible()
    types(box.input_value().replace("\n\nご不明", "\n以上です。\n\nご不明"))
    tick.press("Space")
    with desk.expect_response("**/check"):
        held.pop().continue_()
    expect(desk.locator("#review")).to_contain_text("以上です。")
    expect(tick).to_be_checked()
    expect(tick).to_be_focused()


def test_easy_japanese_goes_with_a_rewording_that_a_person_takes(
    browser: Browser, site: str, model: FakeEndpoint
) -> None:
    desk = _open_case(browser, site)
    desk.get_by_role("button", name="やさしい日本語を付ける").click()
    second = desk.get_by_label("いっしょに送る文(やさしい日本語)")
    expect(second).to_be_visible()
    before = second.input_value()
    model.reply = lambda body: "また、".join(given_sentences(body))
    reword = desk.get_by_role("button", name="AIで言い換える")
    reword.press("Enter")
    expect(desk.get_by_text("言い換えました")).to_be_visible()
    expect(second).not_to_have_value(before)
    expect(second).not_to_be_focused()
    expect(desk.locator("#second-findings")).not_to_contain_text("日本語の文面が変わりました")

    typed = f"{second.input_value()}\nまって います。"
    second.fill(typed)
    asked: list[str] = []
    desk.on("request", lambda request: asked.append(request.url))
    with desk.expect_response("**/reword"):
        reword.press("Enter")
    expect(desk.get_by_text("言い換えました")).to_be_visible()
    expect(second).to_have_value(typed)
    assert not [url for url in asked if url.endswith("/second")]


def test_ticks_stay_while_a_person_looks_for_more_articles(
    browser: Browser, site: str, working_city: City
) -> None:
    desk = _open_case(browser, site)
    desk.get_by_text("下書きを差し戻す", exact=True).click()
    desk.locator("#why-return").fill("別の記事も要る")
    desk.get_by_role("button", name="差し戻す", exact=True).click()
    expect(desk.get_by_text("下書きはありません。記事を探して")).to_be_visible()
    ticked = []
    for words in ("粗大ごみ", "印鑑登録"):
        desk.get_by_label("根拠にする記事を探す").fill(words)
        desk.get_by_role("button", name="探す").press("Enter")
        desk.locator("#sources a.found").filter(has_text=words).first.press("Enter")
        group = desk.locator("#choices fieldset").filter(has=desk.locator("legend", has_text=words))
        tick = group.locator("input[name=passage]").first
        tick.press("Space")
        ticked.append(str(tick.get_attribute("value")))
    for value in ticked:
        expect(desk.locator(f'#choices input[value="{value}"]')).to_be_checked()
    desk.get_by_role("button", name="選んだ文で下書きを作る").press("Enter")
    expect(desk.get_by_label(BOX)).to_be_visible()
    [draft] = working_city.all(Draft, Draft.status == DraftStatus.pending)
    assert sorted(f"{p['article']}#{p['ordinal']}" for p in draft.passages) == sorted(ticked)
