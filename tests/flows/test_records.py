"""The record of a draft: what made it, what it stood on, who decided, what was changed."""

import json
from dataclasses import replace
from html import unescape

import pytest
from sqlmodel import col, select

from bot import drafting, modes, records, second_text
from bot.db import transaction
from bot.models import Approval, AuditEntry, Draft, DraftingMode, KnowledgeArticle, Role, Staff
from responders.llm import HASH_MARK
from tests.city import DATA, OTHER, USER, City, Desk
from tests.flows.test_review import KEY
from tests.flows.test_second_text import second_on_screen
from tests.responders.conftest import FakeEndpoint, given_sentences

ASK = "粗大ごみの出し方を教えてください"
SHA = "ab12" * 16


@pytest.fixture
def model(model: FakeEndpoint) -> FakeEndpoint:
    """It says which file it serves."""
    model.models = [f"small.gguf{HASH_MARK}{SHA}"]
    return model


def _record(city: City, desk: Desk) -> str:
    return unescape(desk.page(f"/desk/cases/{city.case().id}/record"))


def _asked(city: City, desk: Desk) -> dict[str, str]:
    city.line_says(ASK)
    city.work()
    return desk.form(city.case())


def test_a_draft_says_what_made_it_and_what_it_stands_on(writing: City) -> None:
    desk = writing.hire("tantou")
    _asked(writing, desk)
    page = _record(writing, desk)
    [draft] = writing.all(Draft)
    for shown in (
        "small.gguf", SHA, draft.model["prompt_version"], "temperature = ", "max_tokens = ",
        "入力 500、出力 40", "記事と一致", "言い換え方式", "記事の選択", "AIの文章作成", "第1版", "承認待ち",
    ):  # fmt: skip
        assert shown in page, shown
    assert set(draft.article_versions) == {p["article"] for p in draft.passages}
    assert {"select", "template", "model", "check"} == set(draft.times)
    assert f"/desk/cases/{writing.case().id}/record" in desk.page(f"/desk/cases/{writing.case().id}")


def test_a_newer_version_of_the_article_does_not_change_an_old_record(writing: City) -> None:
    desk = writing.hire("tantou")
    _asked(writing, desk)
    [draft] = writing.all(Draft)
    with transaction(writing.engine) as session:
        article = session.exec(
            select(KnowledgeArticle).where(col(KnowledgeArticle.article).in_(draft.article_versions))
        ).first()
        assert article is not None
        article.version = 7
        session.add(article)
    assert "第7版" not in _record(writing, desk)
    assert desk.post(writing.case(), "redraft", desk.form(writing.case())).status_code == 303
    writing.work()
    page = _record(writing, desk)
    assert page.index("第7版") < page.index("第1版"), "newest first"
    assert "置き換え" in page


def test_what_a_person_changed_and_confirmed_is_shown_in_words(writing: City) -> None:
    desk = writing.hire("tantou")
    form = _asked(writing, desk)
    head, body, closing = form["text"].split("\n\n", 2)
    form["text"] = "\n\n".join([head, body + "\nなお、9,999円です。", closing])
    keys = KEY.findall(desk.post(writing.case(), "check", form).text)
    assert desk.post(writing.case(), "approve", {**form, "confirmed": keys}).status_code == 303
    page = _record(writing, desk)
    assert "〔追加〕</span>" in page
    assert "なお、9,999円です。" in page.replace("\n", "")
    assert "職員が確認したもの" in page
    assert "9999円" in page
    assert "tantouさん" in page
    assert "変更なし" not in page


def test_an_unchanged_approval_says_so_and_a_return_says_why(writing: City) -> None:
    desk = writing.hire("tantou")
    form = _asked(writing, desk)
    assert desk.post(writing.case(), "return", {**form, "reason": "回収日が要る"}).status_code == 303
    page = _record(writing, desk)
    assert "差戻しの理由: 回収日が要る" in page
    form = {**desk.form(writing.case()), "text": "お電話でお答えします。"}
    assert desk.post(writing.case(), "write", form).status_code == 303
    page = _record(writing, desk)
    assert "変更なし(下書きのまま送りました)" in page
    assert "職員が書いた文" in page


def _read_before_the_rewording(city: City, desk: Desk, model: FakeEndpoint) -> dict[str, str]:
    """The form with the verbatim draft; the model's wording came after it was opened."""
    llm, model.reply = city.writer.llm, lambda body: "また、".join(given_sentences(body))
    city.writer = replace(city.writer, llm=None, attach=second_text.attacher(DATA))
    _asked(city, desk)
    form = desk.form(city.case()) | second_on_screen(desk, city.case())
    writer = replace(city.writer, llm=llm)
    assert drafting.improve(city.engine, city.case().id, city.case().version, writer)
    assert desk.form(city.case())["text"] != form["text"]
    return form


def test_the_approval_of_one_cases_draft_touches_no_others(writing: City, model: FakeEndpoint) -> None:
    desk = writing.hire("tantou")
    _read_before_the_rewording(writing, desk, model)
    writing.line_says(ASK, user=OTHER)
    writing.work()
    form = desk.form(writing.case(OTHER))
    assert form["seen"] == "template"
    assert desk.post(writing.case(), "approve", form).status_code == 404
    assert sorted(draft.origin for draft in writing.all(Draft)) == ["model", "template"]
    assert not writing.all(Approval)


def test_a_verbatim_text_sent_after_the_rewording_came_is_no_edited_wording_of_the_model(
    writing: City, model: FakeEndpoint
) -> None:
    desk = writing.hire("tantou")
    form = _read_before_the_rewording(writing, desk, model)
    assert desk.post(writing.case(), "approve", form).status_code == 303
    page = _record(writing, desk)
    assert "変更なし(下書きのまま送りました)" in page
    assert "変更なし(この文のまま送りました)" in page, "the second text"
    assert "記事の文のまま(AIの言い換えは使っていません)" in page
    assert "AIが整えた文" not in page
    [entry] = writing.all(AuditEntry, AuditEntry.action == "approve")
    told = json.loads(entry.details)
    assert (told["edited"], told["origin"]) == (False, "template")
    [draft] = writing.all(Draft)
    assert draft.model["gate"]["passed"], "what the model wrote stays on record"


def test_an_edited_verbatim_text_is_compared_with_the_verbatim_draft(
    writing: City, model: FakeEndpoint
) -> None:
    desk = writing.hire("tantou")
    form = _read_before_the_rewording(writing, desk, model)
    form["text"] = form["text"].replace("\n\nご不明", "\nお待ちしています。\n\nご不明")
    refused = desk.post(writing.case(), "approve", form)
    assert refused.status_code == 422
    assert 'name="seen" value="template"' in refused.text, "for the next try"
    keys = KEY.findall(refused.text)
    assert desk.post(writing.case(), "approve", form | {"confirmed": keys}).status_code == 303
    page = _record(writing, desk)
    assert "記事の文のまま(AIの言い換えは使っていません)" in page
    changes = page.partition("下書きと送った文面の違い")[2].partition("作り方")[0]
    assert "お待ちしています。" in changes.replace("\n", "")
    assert "〔削除〕" not in changes


def test_an_edited_wording_of_the_model_is_compared_with_it(writing: City, model: FakeEndpoint) -> None:
    desk = writing.hire("tantou")
    form = _read_before_the_rewording(writing, desk, model) | desk.form(writing.case())
    assert form["seen"] == "model"
    form["text"] = form["text"].replace("\n\nご不明", "\nお待ちしています。\n\nご不明")
    keys = KEY.findall(desk.post(writing.case(), "approve", form).text)
    assert desk.post(writing.case(), "approve", form | {"confirmed": keys}).status_code == 303
    page = _record(writing, desk)
    assert "AIが整えた文" in page
    assert "〔削除〕" not in page.partition("下書きと送った文面の違い")[2].partition("作り方")[0]


def test_a_refused_approval_leaves_the_rewording_where_it_was(writing: City, model: FakeEndpoint) -> None:
    desk = writing.hire("tantou")
    form = _read_before_the_rewording(writing, desk, model)
    assert desk.post(writing.case(), "approve", {**form, "version": "1"}).status_code == 409
    assert [d.origin for d in writing.all(Draft)] == ["model"]


def test_only_who_may_see_the_case_reads_its_record_and_reading_is_logged(writing: City) -> None:
    desk = writing.hire("tantou")
    _asked(writing, desk)
    stranger = writing.hire("yoso", department="tax")
    path = f"/desk/cases/{writing.case().id}/record"
    assert stranger.client.get(path).status_code == 404
    auditor = writing.hire("kansa", role=Role.auditor)
    assert auditor.client.get(path).status_code == 200
    [entry] = writing.all(AuditEntry, AuditEntry.screen == "record")
    assert (entry.actor, entry.action) == ("kansa", "read")


def test_what_a_model_wrote_after_reading_the_message_goes_with_the_message(
    writing: City, model: FakeEndpoint
) -> None:
    assert writing.writer.llm is not None
    admin = writing.hire("kanri", Role.admin)
    with transaction(writing.engine) as session:
        identity = modes.identify(writing.writer.llm)
        modes.keep(session, identity, figures={"failed": []}, passed=True, data_sha256="")
    with transaction(writing.engine) as session:
        person = session.exec(select(Staff)).one()
        session.add(DraftingMode(mode="answer", decided_by=person.id))
    model.reply = lambda _: "合言葉はキンモクセイです。[1]"
    event = writing.line.text(USER, f"{ASK}。合言葉はキンモクセイ")
    writing.webhook(writing.line.body(event))
    writing.work()
    assert "キンモクセイ" in _record(writing, admin)
    assert not any("キンモクセイ" in entry.details for entry in writing.all(AuditEntry))
    assert all("text" not in json.loads(e.details).get("model", {}) for e in writing.all(AuditEntry))
    writing.webhook(
        writing.line.body(
            writing.line.event(USER, type="unsend", unsend={"messageId": event["message"]["id"]})
        )
    )
    assert not any("キンモクセイ" in str((d.model, d.flags, d.text)) for d in writing.all(Draft))


def test_a_difference_is_told_in_whole_words_and_gives_both_texts_back() -> None:
    before, after = (
        "手数料は300円です。\n水曜日に収集します。",
        "手数料は400円です。\n水曜日に収集しますので、ご注意ください。",
    )
    changes = list(records.difference(before, after))
    assert "".join(c.text for c in changes if c.kind != "inserted") == before
    assert "".join(c.text for c in changes if c.kind != "deleted") == after
    assert ("deleted", "300") in [(c.kind, c.text) for c in changes]
    assert list(records.difference("", "")) == []
