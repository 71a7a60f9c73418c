"""A reply with a second text: made on a click, checked, approved and sent with the Japanese one."""

import json
import logging
import re
from dataclasses import replace
from html import unescape
from typing import Any

import pytest
from sqlmodel import col

from bot import drafting, second_text, sources
from bot.db import now, transaction
from bot.knowledge import import_articles
from bot.models import Approval, AuditEntry, Draft, Inquiry, OutboxMessage
from responders.knowledge import Article
from responders.llm import HASH_MARK, Llm
from responders.ruby import without_readings
from tests.city import DATA, OTHER, USER, City, Desk
from tests.responders.conftest import FakeEndpoint, given_sentences

ASK = "粗大ごみの出し方を教えてください"
ENGLISH = "How do I get rid of my bulky waste? 粗大ごみ"
FIELDS = re.compile(r'name="(second_kind|second_made_from)" value="([^"]*)"')
AREA = re.compile(r'<textarea id="second-text"[^>]*>(.*?)</textarea>', re.DOTALL)
KEY = re.compile(r'name="confirmed" value="([0-9a-f]+)"')
PASSAGE = re.compile(r'name="passage" value="([^"]+)"')
PLACE = re.compile(r'data-start="(\d+)" data-end="(\d+)" data-in="([^"]+)"')


@pytest.fixture
def model(model: FakeEndpoint) -> FakeEndpoint:
    """It translates."""
    model.reply = _translated
    return model


def _translated(body: Any) -> str:  # noqa: ANN401
    """What a good model might say: every number of the sentence, and a negation in case it has one."""
    sentence = body["messages"][-1]["content"].replace(",", "")
    numbers = re.findall(r"0\d{3}-\d{2}-\d{4}|\d+", sentence)
    return f"This is what the city hall would like you to know about it, and not more: {', '.join(numbers)}."


@pytest.fixture
def site_model(writing: City) -> City:
    """The city with a model of its own choice, which only the desk asks."""
    writing.writer = replace(writing.writer, llm=None)
    state = writing.client.app.state  # type: ignore[attr-defined]
    state.settings = state.settings.model_copy(update={"llm_model": "site"})
    return writing


def _asked(city: City, desk: Desk, ask: str = ASK) -> dict[str, Any]:
    city.line_says(ask)
    city.work()
    return desk.form(city.case())


def _with(city: City, desk: Desk, form: dict[str, Any], want: str) -> tuple[dict[str, Any], str]:
    """Press a button of the second text: the form as the screen then has it, and the screen."""
    html = desk.post(city.case(), "second", {**form, "want": want}).text
    area = AREA.search(html)
    second = {name: unescape(value) for name, value in FIELDS.findall(html)}
    return {**form, **second, "second_text": unescape(area[1]).removeprefix("\n") if area else ""}, html


def _without_last_sentence(text: str) -> str:
    return re.sub(r"\n[^\n]+\n\n(?=ご不明)", "\n\n", text.replace("\r\n", "\n"))


def _approve(city: City, desk: Desk, form: dict[str, Any], *, tick: bool = False) -> Any:  # noqa: ANN401
    answer = desk.post(city.case(), "approve", form)
    if tick and answer.status_code == 422:
        answer = desk.post(city.case(), "approve", {**form, "confirmed": KEY.findall(answer.text)})
    return answer


def test_easy_japanese_goes_below_the_reply_as_one_approved_text(city: City, desk: Desk) -> None:
    form, html = _with(city, desk, _asked(city, desk), "easy")
    assert "粗大（そだい）" in form["second_text"]
    assert not KEY.findall(html), "made by rule from the text on the screen: nothing to confirm"
    assert [d.second_kind for d in city.all(Draft)] == ["easy"]

    assert _approve(city, desk, form).status_code == 303
    city.deliver_all()
    [approval] = city.all(Approval)
    japanese, below = approval.text.split("\n\n──────────\n")
    assert japanese == form["text"].strip().replace("\r\n", "\n")
    assert below.startswith("やさしい 日本語\n\n")
    assert second_text.parts_of(approval.text, second_text.load_frames(DATA)) == (
        japanese,
        form["second_text"].strip().replace("\r\n", "\n"),
    )
    assert city.line.texts(USER)[-1] == approval.text
    [row] = city.all(OutboxMessage, col(OutboxMessage.approval_id).is_not(None))
    assert row.text == approval.text
    assert row.text_sha256 == approval.text_sha256


def test_without_scripts_a_second_text_leaves_what_was_ticked(city: City, desk: Desk) -> None:
    for user in (OTHER, USER):
        city.line_says(ASK, user=user)
        city.work()
    other = city.case(OTHER)
    ticks = {"also": f"{other.id}:{other.version}", "keep_open": "1"}
    html = desk.post(city.case(), "second", {**desk.form(city.case()), **ticks, "want": "easy"}).text
    assert f'name="also" value="{ticks["also"]}" checked' in html
    assert 'name="keep_open" value="1" checked' in html


def test_it_can_be_taken_away_again(city: City, desk: Desk) -> None:
    form, _ = _with(city, desk, _asked(city, desk), "easy")
    form, html = _with(city, desk, form, "")
    assert "やさしい日本語を付ける" in html
    assert [d.second_kind for d in city.all(Draft)] == [""]
    form.pop("second_kind")
    assert _approve(city, desk, form).status_code == 303
    assert "──" not in city.all(Approval)[0].text


def test_a_changed_japanese_text_must_be_made_again_or_confirmed(city: City, desk: Desk) -> None:
    form, _ = _with(city, desk, _asked(city, desk), "easy")
    form["text"] = _without_last_sentence(form["text"])
    refused = _approve(city, desk, form)
    assert refused.status_code == 422
    assert "日本語の文面が変わりました。作り直すか、確認してください。" in refused.text
    assert form["second_text"][:20] in unescape(refused.text), "what was typed is not lost"
    assert not city.all(Approval)

    again, _ = _with(city, desk, form, "easy")
    assert _approve(city, desk, again).status_code == 303


def test_a_confirmed_old_second_text_goes_with_the_new_japanese_one(city: City, desk: Desk) -> None:
    form, _ = _with(city, desk, _asked(city, desk), "easy")
    form["text"] = _without_last_sentence(form["text"])
    assert "やさしい日本語の文を直しました" not in _approve(city, desk, form).text
    keys = KEY.findall(_approve(city, desk, form).text)
    other = {**form, "second_text": form["second_text"] + "!", "confirmed": keys}
    assert _approve(city, desk, other).status_code == 422, "a confirmation counts for its words only"
    assert _approve(city, desk, {**form, "confirmed": keys}).status_code == 303
    kinds = {f["kind"] for f in city.all(Approval)[0].confirmed}
    assert "second_stale" in kinds
    assert kinds <= {"second_stale", "second_extra"}


def test_a_number_that_only_one_of_the_two_texts_has_is_a_fault(city: City, desk: Desk) -> None:
    form, _ = _with(city, desk, _asked(city, desk), "easy")
    form["second_text"] = form["second_text"].replace("0000-12-", "0000-99-")
    html = desk.post(city.case(), "second/check", form).text
    assert "日本語の文面にある「" in html
    assert "は、日本語の文面にありません" in html
    assert _approve(city, desk, form).status_code == 422


def test_what_a_person_wrote_into_easy_japanese_must_be_confirmed(city: City, desk: Desk) -> None:
    form, _ = _with(city, desk, _asked(city, desk), "easy")
    form["second_text"] = form["second_text"].replace("です。", "では ありません。", 1)
    assert "やさしい日本語の文を直しました" in desk.post(city.case(), "second/check", form).text
    refused = _approve(city, desk, form)
    assert refused.status_code == 422
    assert _approve(city, desk, {**form, "confirmed": KEY.findall(refused.text)}).status_code == 303
    assert [f["kind"] for f in city.all(Approval)[0].confirmed] == ["second_edited"]


def test_also_where_a_colleague_took_the_kept_one_away_meanwhile(city: City, desk: Desk) -> None:
    form, _ = _with(city, desk, _asked(city, desk), "easy")
    _with(city, desk, form, "")
    assert [d.second_kind for d in city.all(Draft)] == [""]
    form["second_text"] = form["second_text"].replace("です。", "では ありません。", 1)
    assert "やさしい日本語の文を直しました" in desk.post(city.case(), "second/check", form).text


def _drafted_always(city: City, desk: Desk) -> dict[str, Any]:
    """The form with the verbatim draft, in a city that wants やさしい日本語 on every reply."""
    city.writer = replace(city.writer, attach=second_text.attacher(DATA), llm=None)
    return _asked(city, desk) | second_on_screen(desk, city.case())


def second_on_screen(desk: Desk, case: Inquiry) -> dict[str, str]:
    """The fields of the second text as the case's screen has them."""
    html = desk.page(f"/desk/cases/{case.id}")
    area = AREA.search(html)
    assert area
    second = {name: unescape(value) for name, value in FIELDS.findall(html)}
    return {**second, "second_text": unescape(area[1]).removeprefix("\n")}


def _reworded(city: City, model: FakeEndpoint) -> None:
    """The model's wording of the same sentences arrives."""
    model.reply = lambda body: "また、".join(given_sentences(body))
    writer = replace(city.writer, llm=Llm(model.url, "site-model", "", timeout_seconds=20.0))
    assert drafting.improve(city.engine, city.case().id, city.case().version, writer)


def test_what_a_person_took_away_does_not_come_back_with_the_models_wording(
    writing: City, model: FakeEndpoint
) -> None:
    desk = writing.hire("tantou")
    form = _drafted_always(writing, desk)
    assert [d.second_kind for d in writing.all(Draft)] == ["easy"]
    _with(writing, desk, form, "")
    _reworded(writing, model)
    assert [(d.origin, d.second_kind) for d in writing.all(Draft)] == [("model", "")]


def test_what_a_person_took_away_stays_away_where_the_model_has_nothing_to_word(
    writing: City, model: FakeEndpoint
) -> None:
    only = Article("bulky", ASK, "waste_environment", "粗大ごみは、電話で申し込んで出してください。")
    import_articles(writing.engine, [only], actor="test", embed=None)
    desk = writing.hire("tantou")
    form = _drafted_always(writing, desk)
    _with(writing, desk, form, "")
    _reworded(writing, model)
    assert [(d.origin, d.second_kind) for d in writing.all(Draft)] == [("template", "")]
    assert model.requests == [], "a single sentence has no other to be joined with"


def test_who_read_both_texts_may_send_them_though_the_models_wording_came(
    writing: City, model: FakeEndpoint
) -> None:
    desk = writing.hire("tantou")
    form = _drafted_always(writing, desk)
    _reworded(writing, model)
    [draft] = writing.all(Draft)
    assert draft.second_text != form["second_text"], "made anew of the model's wording"
    assert not KEY.findall(desk.post(writing.case(), "second/check", form).text)
    assert _approve(writing, desk, form).status_code == 303
    [approval] = writing.all(Approval)
    assert approval.text.endswith(form["second_text"].replace("\r\n", "\n").strip())
    assert approval.confirmed == []


def test_what_a_person_wrote_must_be_confirmed_also_when_the_models_wording_came(
    writing: City, model: FakeEndpoint
) -> None:
    desk = writing.hire("tantou")
    form = _drafted_always(writing, desk)
    _reworded(writing, model)
    form["second_text"] = form["second_text"].replace("です。", "では ありません。", 1)
    refused = _approve(writing, desk, form)
    assert refused.status_code == 422
    assert "やさしい日本語の文を直しました" in refused.text


def test_both_texts_share_the_limit_of_one_message(city: City, desk: Desk) -> None:
    form, _ = _with(city, desk, _asked(city, desk), "easy")
    form["second_text"] += "\n" + "あ" * 4_800
    refused = _approve(city, desk, form)
    assert refused.status_code == 422
    assert "日本語の文面と「やさしい日本語」の文を合わせて長すぎます" in refused.text
    form["second_text"] = " "
    assert "いっしょに送る文が空です" in _approve(city, desk, form).text
    assert not city.all(Approval)


def test_a_second_text_far_beyond_the_limit_is_not_compared(city: City, desk: Desk) -> None:
    form, _ = _with(city, desk, _asked(city, desk), "easy")
    form["second_text"] += "".join(f"{n}円、" for n in range(2_000))
    html = unescape(desk.post(city.case(), "second/check", form).text)
    assert "長すぎるため、点検していません" in html
    assert "円」は、日本語の文面にありません" not in html
    assert "長すぎます" in _approve(city, desk, form, tick=True).text


def test_always_means_on_every_draft_without_a_click(city: City, desk: Desk) -> None:
    city.writer = replace(city.writer, attach=second_text.attacher(DATA))
    _asked(city, desk)
    [draft] = city.all(Draft)
    assert draft.second_kind == "easy"
    html = desk.page(f"/desk/cases/{city.case().id}")
    assert AREA.search(html)
    assert "作り直すか、確認してください" not in html


def _other_sentences(city: City, desk: Desk, **settings: str) -> Draft:
    """A person ticks another sentence than the draft quotes; the draft that comes of it."""
    state = city.client.app.state  # type: ignore[attr-defined]
    state.settings = state.settings.model_copy(update=settings)
    [before] = city.all(Draft)
    quoted = {f"{p['article']}#{p['ordinal']}" for p in before.passages}
    offered = PASSAGE.findall(desk.page(f"/desk/cases/{city.case().id}"))
    form = {**desk.form(city.case()), "passage": [one for one in offered if one not in quoted][:1]}
    assert desk.post(city.case(), "recompose", form).status_code == 303
    draft: Draft
    [draft] = city.all(Draft)
    assert draft.text != before.text
    return draft


def test_always_means_on_other_sentences_too(city: City, desk: Desk) -> None:
    _drafted_always(city, desk)
    draft = _other_sentences(city, desk, easy_japanese="always")
    assert draft.second_made_from == second_text.digest(draft.text)
    form = desk.form(city.case()) | second_on_screen(desk, city.case())
    assert _approve(city, desk, form).status_code == 303
    assert city.all(Approval)[0].confirmed == []


@pytest.mark.parametrize("other", ["", "en"])
def test_what_a_person_put_in_place_of_always_stays_when_they_tick_others(
    city: City, desk: Desk, other: str
) -> None:
    _with(city, desk, _drafted_always(city, desk), other)
    assert _other_sentences(city, desk, easy_japanese="always").second_kind == other


def test_with_one_click_it_is_made_anew_when_a_person_asks(city: City, desk: Desk) -> None:
    _with(city, desk, _asked(city, desk), "easy")
    draft = _other_sentences(city, desk, easy_japanese="click")
    page = desk.page(f"/desk/cases/{city.case().id}")
    assert "日本語の文面が変わりました。作り直すか、確認してください。" in page
    assert 'name="want" value="easy">この文を作り直す' in page
    form, html = _with(city, desk, desk.form(city.case()), "easy")
    assert not KEY.findall(html)
    assert form["second_made_from"] == second_text.digest(draft.text)


def test_a_translation_is_offered_in_the_citizens_language_and_must_be_read(
    site_model: City, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    city, desk = site_model, site_model.hire("tantou")
    form = _asked(city, desk, ENGLISH)
    page = desk.page(f"/desk/cases/{city.case().id}")
    assert "相手の言語(英語)の文を付ける" in page
    form, html = _with(city, desk, form, "en")
    assert "This is what the city hall would like you to know" in form["second_text"]
    assert "読める人が日本語の文面と比べて確かめましたか" in html
    assert _approve(city, desk, form).status_code == 422
    assert _approve(city, desk, form, tick=True).status_code == 303
    city.deliver_all()
    assert city.line.texts(USER)[-1].split("──────────\n")[1].startswith("English\n\nThank you")
    told = "".join(entry.details for entry in city.all(AuditEntry)) + caplog.text
    assert "city hall would like" not in told
    assert "bulky waste" not in told


def test_the_record_says_what_made_the_second_text_and_what_its_check_said(
    site_model: City, model: FakeEndpoint
) -> None:
    city, desk = site_model, site_model.hire("tantou")
    model.models = [f"translator.gguf{HASH_MARK}{'ab12' * 16}"]
    form, _ = _with(city, desk, _asked(city, desk, ENGLISH), "en")
    [draft] = city.all(Draft)
    kept = draft.second_model
    assert (kept["mode"], kept["sha256"], kept["gate"]["passed"]) == ("translate", "ab12" * 16, True)
    assert kept["completion_tokens"] == 40 * len(model.requests)
    assert [f["kind"] for f in draft.second_findings] == ["second_unread"]
    [entry] = city.all(AuditEntry, AuditEntry.action == "second_text")
    told = json.loads(entry.details)["model"]
    assert (told["prompt_version"], told["passed"]) == (kept["prompt_version"], True)
    assert "text" not in told
    page = unescape(desk.page(f"/desk/cases/{city.case().id}/record"))
    for shown in (
        "いっしょに送る文(英語)", "translator.gguf", "ab12" * 16, kept["prompt_version"], "max_tokens = ",
        f"出力 {kept['completion_tokens']}", "点検を通過", "翻訳(市の文面を一文ずつ)",
        "読める人が日本語の文面と比べて",
    ):  # fmt: skip
        assert shown in page, shown
    form["second_text"] += "\nWe wait for you."
    assert _approve(city, desk, form, tick=True).status_code == 303
    page = desk.page(f"/desk/cases/{city.case().id}/record")
    assert "〔追加〕</span>\nWe wait for you." in page
    assert "変更なし(下書きのまま送りました)" in page, "the Japanese text"


def test_a_refused_translation_keeps_its_reason_and_goes_with_the_text(
    site_model: City, model: FakeEndpoint
) -> None:
    city, desk = site_model, site_model.hire("tantou")
    form = _asked(city, desk)
    model.reply = lambda _body: "The fee is 9,999 yen and you must pay it to us at once, please do not wait."
    form, _ = _with(city, desk, form, "en")
    [draft] = city.all(Draft)
    assert draft.second_model["gate"]["reason"].startswith("1文目: ")
    assert "second_missing" in {f["kind"] for f in draft.second_findings}
    assert "不採用(1文目: " in desk.page(f"/desk/cases/{city.case().id}/record")
    _with(city, desk, form, "easy")
    assert [(d.second_model, d.second_kind) for d in city.all(Draft)] == [({}, "easy")]
    _with(city, desk, form, "")
    assert [(d.second_model, d.second_findings) for d in city.all(Draft)] == [({}, [])]


def test_each_finding_has_its_place_in_one_of_the_two_texts(city: City, desk: Desk) -> None:
    form, _ = _with(city, desk, _asked(city, desk), "easy")
    form["second_text"] = "🎍\n" + form["second_text"].replace("0000-12-", "0000-99-")
    html = unescape(desk.post(city.case(), "second/check", form).text)
    places = {
        (where, form["text" if where == "text" else "second_text"].replace("\r\n", "\n")
        .encode("utf-16-le")[2 * int(start) : 2 * int(end)].decode("utf-16-le"))
        for start, end, where in PLACE.findall(html)
    }  # fmt: skip
    assert any(where == "text" and "0000-12-" in words for where, words in places)
    assert any(where == "second-text" and "0000-99-" in words for where, words in places)
    assert all(words for _, words in places)
    assert html.count("<li") == len(PLACE.findall(html))


def test_what_the_gate_refuses_is_never_shown(site_model: City, model: FakeEndpoint) -> None:
    city, desk = site_model, site_model.hire("tantou")
    form = _asked(city, desk)
    model.reply = lambda _body: "The fee is 9,999 yen and you must pay it to us at once, please do not wait."
    form, html = _with(city, desk, form, "en")
    assert "9,999" not in html
    assert "1文目の訳が点検を通りませんでした" in html
    assert form["second_text"].startswith("Thank you"), "the fixed words are there for a person to go on"
    assert "日本語の文面にある「" in html, "the middle is missing, and that is said"


def test_a_model_that_is_away_is_said_so(site_model: City, model: FakeEndpoint) -> None:
    city, desk = site_model, site_model.hire("tantou")
    form = _asked(city, desk)
    model.mode = "503"
    assert "言語モデルが応答しませんでした" in _with(city, desk, form, "ko")[1]


def test_the_bundled_model_is_not_asked_for_what_it_cannot_do(city: City, desk: Desk) -> None:
    form = _asked(city, desk, ENGLISH)
    page = desk.page(f"/desk/cases/{city.case().id}")
    assert "英語の訳は、今の言語モデルでは作れません" in page
    form, html = _with(city, desk, form, "en")
    assert "この言語の訳は、今は機械で作れません" in html
    by_hand = "Please call us (粗大ごみ)."
    form["second_text"] = form["second_text"].replace("\n\n\n\n", f"\n\n{by_hand}\n\n")
    assert _approve(city, desk, form, tick=True).status_code == 303
    assert by_hand in city.all(Approval)[0].text


def test_the_kill_switch_stops_translations_and_leaves_the_rules(
    site_model: City, model: FakeEndpoint
) -> None:
    city, desk = site_model, site_model.hire("tantou")
    form = _asked(city, desk)
    state = city.client.app.state  # type: ignore[attr-defined]
    state.settings = state.settings.model_copy(update={"drafting_enabled": False})
    assert "今は機械で作れません" in _with(city, desk, form, "en")[1]
    assert not model.requests
    assert "（そだい）" in _with(city, desk, form, "easy")[0]["second_text"]


def test_only_who_may_decide_may_attach(city: City, desk: Desk) -> None:
    form = _asked(city, desk)
    stranger = city.hire("zeimu", department="tax")
    answer = stranger.post(city.case(), "second", {**form, "csrf": stranger.csrf, "want": "easy"})
    assert answer.status_code == 404
    assert desk.post(city.case(), "second", {**form, "csrf": "x", "want": "easy"}).status_code == 403
    assert desk.post(city.case(), "second", {**form, "want": "klingon"}).status_code == 400
    assert [d.second_kind for d in city.all(Draft)] == [""]


def _asked_by_web_chat(city: City) -> tuple[Inquiry, dict[str, str]]:
    """The case, and the citizen's headers."""
    token = city.client.post("/chat/session").json()["token"]
    headers = {"Authorization": f"Bearer {token}"}
    city.client.post("/chat/messages", json={"client_id": "0123456789", "text": ASK}, headers=headers)
    city.work()
    [case] = city.all(Inquiry)
    return case, headers


def test_the_web_chat_shows_what_stands_below_a_drawn_line_as_it_was_approved(city: City, desk: Desk) -> None:
    case, headers = _asked_by_web_chat(city)
    text = "粗大ごみは、電話で申し込んでください。\n\n──────────\n\n窓口は、木槌（きづち）の看板が目印です。"
    assert desk.post(case, "write", {**desk.form(case), "text": text}).status_code == 303
    city.deliver_all()
    shown = city.client.get("/chat/messages", headers=headers).json()["messages"]
    assert [m["ruby"] for m in shown if m["text"] == text] == [[]]


def test_the_web_chat_gets_readings_as_pieces(city: City, desk: Desk) -> None:
    case, headers = _asked_by_web_chat(city)
    form = desk.form(case)
    html = desk.post(case, "second", {**form, "want": "easy"}).text
    second = dict(FIELDS.findall(html)) | {"second_text": unescape((AREA.search(html) or [""] * 2)[1])}
    assert desk.post(case, "approve", {**form, **second}).status_code == 303
    city.deliver_all()
    shown = city.client.get("/chat/messages", headers=headers).json()["messages"]
    reply = next(m for m in shown if "──" in m["text"])
    assert ["粗大", "そだい"] in reply["ruby"]
    assert "".join(surface for surface, _ in reply["ruby"]) == without_readings(reply["text"])
    assert all(m["ruby"] == [] for m in shown if m is not reply)


def test_a_second_text_is_no_part_of_a_later_source_nor_a_change_of_the_draft(city: City, desk: Desk) -> None:
    city.line_says(ASK, user=OTHER)
    city.work()
    answered = city.case(OTHER)
    html = desk.post(answered, "second", {**desk.form(answered), "want": "easy"}).text
    second = dict(FIELDS.findall(html)) | {"second_text": unescape((AREA.search(html) or [""] * 2)[1])}
    assert desk.post(answered, "approve", {**desk.form(answered), **second}).status_code == 303
    assert "変更なし" in desk.page(f"/desk/cases/{answered.id}/record")

    _asked(city, desk)
    with transaction(city.engine) as session:
        place = city.client.app.state.city  # type: ignore[attr-defined]
        offered = sources.past_answers(session, city.case(), place.frame, place.seconds, now().date())
    assert offered
    said = "".join(passage.text for answer in offered for passage in answer.passages)
    assert "粗大ごみ" in said
    assert "（" not in said


@pytest.mark.parametrize("with_second", [False, True])
def test_the_record_takes_a_line_that_a_person_drew_for_no_second_text(
    city: City, desk: Desk, with_second: bool
) -> None:
    form = _asked(city, desk)
    drawn = "\n\n──────────\n\n収集の日は、交通規制にご注意ください。\n\nご不明"
    form["text"] = form["text"].replace("\n\nご不明", drawn)
    if with_second:
        form, _ = _with(city, desk, form, "easy")
    assert _approve(city, desk, form, tick=True).status_code == 303
    page = unescape(desk.page(f"/desk/cases/{city.case().id}/record"))
    changes = page.partition("下書きと送った文面の違い")[2].partition("作り方")[0]
    assert "交通規制にご注意ください。" in re.sub(r"<[^>]*>|〔[^〕]*〕", "", changes)
    assert ("変更なし(この文のまま送りました)" in page) == with_second
