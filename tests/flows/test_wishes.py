"""A caseworker shapes the draft: with a hint, shorter, in another tone, reworded before their eyes."""

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
import sqlalchemy as sa
from httpx import Response
from sqlmodel import col

from bot import drafting
from bot.db import transaction
from bot.knowledge import import_articles
from bot.models import (
    AuditEntry,
    Department,
    Draft,
    DraftStatus,
    HandOffReason,
    Inquiry,
    InquiryStatus,
    Message,
)
from responders.knowledge import read_folder
from responders.llm import Llm
from tests.city import DATA, City, Desk
from tests.responders.conftest import FakeEndpoint, given_sentences

ASK = "粗大ごみの出し方を教えてください"


@pytest.fixture
def writing(writing: City) -> City:
    """Only the desk has the model, so that drafts begin verbatim."""
    writing.writer = replace(writing.writer, llm=None)
    return writing


def _pending(city: City) -> Draft:
    draft: Draft
    [draft] = city.all(Draft, Draft.status == DraftStatus.pending)
    return draft


def _asked(city: City, desk: Desk) -> dict[str, str]:
    city.line_says(ASK)
    city.work()
    return desk.form(city.case())


def _pieces(answer: Response) -> list[dict[str, str]]:
    return [json.loads(line) for line in answer.text.splitlines()]


def test_a_hint_a_length_and_a_tone_make_another_draft(city: City, desk: Desk) -> None:
    form = _asked(city, desk)
    before = _pending(city)
    wish = {"hint": "電話番号を書いて 090-1234-5678", "length": "short", "tone": "gentle"}
    assert desk.post(city.case(), "redraft", {**form, **wish}).status_code == 303
    assert city.case().status == InquiryStatus.drafting
    city.work()
    after = _pending(city)
    assert after.id != before.id
    assert "くださいますようお願いいたします。" in after.text
    assert "090-1234-5678" not in after.text
    assert city.case().wish["hint"] == "電話番号を書いて 〔電話番号〕"
    page = desk.page(f"/desk/cases/{city.case().id}")
    assert '<option value="gentle" selected>' in page
    [entry] = city.all(AuditEntry, AuditEntry.action == "redraft")
    assert json.loads(entry.details)["wish"]["length"] == "short"


def test_a_wish_stands_when_the_article_changes(city: City, desk: Desk) -> None:
    form = _asked(city, desk)
    assert desk.post(city.case(), "redraft", {**form, "tone": "gentle"}).status_code == 303
    city.work()
    cited = _pending(city).passages[0]["article"]
    [article] = [a for a in read_folder(DATA / "knowledge") if a.id == cited]
    changed = replace(article, text=article.text + "\n\n受付は市役所でも行います。")
    import_articles(city.engine, [changed], actor="test", embed=None, retire_missing=False)
    assert city.case().status == InquiryStatus.drafting
    city.work()
    assert "くださいますようお願いいたします。" in _pending(city).text


def test_an_unknown_wish_changes_nothing(city: City, desk: Desk) -> None:
    form = _asked(city, desk)
    assert desk.post(city.case(), "redraft", {**form, "tone": "rude"}).status_code == 400
    assert city.case().status == InquiryStatus.awaiting


def test_the_next_draft_forgets_the_wish(city: City, desk: Desk) -> None:
    form = _asked(city, desk)
    desk.post(city.case(), "redraft", {**form, "tone": "list"})
    city.work()
    city.line_says("手数料はいくらですか")
    city.work()
    assert city.case().wish["tone"] == "standard"


def test_a_rewording_is_streamed_and_becomes_the_draft(writing: City) -> None:
    desk = writing.hire("tantou")
    form = _asked(writing, desk)
    answer = desk.post(writing.case(), "reword", form)
    pieces = _pieces(answer)
    assert [p["state"] for p in pieces[:2]] == ["begin", "writing"]
    assert pieces[-1]["state"] == "accepted"
    assert _pending(writing).text == pieces[-1]["text"]
    assert _pending(writing).origin == "model"
    assert pieces[-1]["text"].startswith(pieces[0]["text"])
    assert desk.post(writing.case(), "approve", {**form, "text": pieces[-1]["text"]}).status_code == 303


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda model: setattr(model, "mode", "500"), "AIに接続できなかった"),
        (lambda model: setattr(model, "mode", "cut"), "AIの応答が正しくなかった"),
        (lambda model: setattr(model, "mode", "length"), "途中で切れた"),
        (lambda model: setattr(model, "reply", lambda _: "無料です。"), "記事と一致しなかった"),
    ],
    ids=["away", "cut", "length", "invents"],
)
def test_what_the_gate_or_the_model_refuses_leaves_the_verbatim_draft(
    writing: City, model: FakeEndpoint, spoil: Callable[[FakeEndpoint], None], words: str
) -> None:
    desk = writing.hire("tantou")
    form = _asked(writing, desk)
    before = _pending(writing)
    spoil(model)
    last = _pieces(desk.post(writing.case(), "reword", form))[-1]
    assert last["state"] == "refused"
    assert words in last["reason"]
    after = _pending(writing)
    assert (after.id, after.text, after.origin) == (before.id, before.text, "template")


def test_a_draft_decided_meanwhile_is_not_touched(writing: City, model: FakeEndpoint) -> None:
    desk = writing.hire("tantou")
    form = _asked(writing, desk)

    def decide(body: dict[str, object]) -> str:
        if writing.case().status != InquiryStatus.answered:
            assert desk.post(writing.case(), "approve", form).status_code == 303
        return "".join(given_sentences(body))

    model.reply = decide
    last = _pieces(desk.post(writing.case(), "reword", form))[-1]
    assert (last["state"], writing.case().status) == ("refused", InquiryStatus.answered)
    assert "反映しませんでした" in last["reason"]
    assert writing.all(Draft)[0].origin == "template"


def test_a_wording_that_was_accepted_stays_when_the_next_one_is_refused(
    writing: City, model: FakeEndpoint
) -> None:
    desk = writing.hire("tantou")
    form = _asked(writing, desk)
    assert _pieces(desk.post(writing.case(), "reword", form))[-1]["state"] == "accepted"
    accepted = _pending(writing)
    assert accepted.origin == "model"
    model.reply = lambda body: "市役所の屋上で花火を上げます。"
    assert _pieces(desk.post(writing.case(), "reword", form))[-1]["state"] == "refused"
    assert (_pending(writing).origin, _pending(writing).text) == ("model", accepted.text)


@pytest.mark.parametrize("reply", ["", "市役所の屋上で花火を上げます。"], ids=["good", "refused"])
def test_the_workers_late_wording_does_not_replace_what_a_person_had_reworded(
    writing: City, model: FakeEndpoint, reply: str
) -> None:
    """The person asks while the worker's own request still runs."""
    desk = writing.hire("tantou")
    form = _asked(writing, desk)
    honest, case = model.reply, writing.case()

    def first_the_person(body: dict[str, object]) -> str:
        model.reply = honest
        assert _pieces(desk.post(case, "reword", form))[-1]["state"] == "accepted"
        return reply or honest(body)

    model.reply = first_the_person
    llm = Llm(model.url, "another", "", timeout_seconds=20.0)
    writer = replace(writing.writer, llm=llm)
    assert not drafting.improve(writing.engine, case.id, case.version, writer)
    assert (_pending(writing).origin, _pending(writing).model["name"]) == ("model", "site-model")


def test_a_stranger_and_an_auditor_stream_nothing(writing: City) -> None:
    from bot.models import Role

    form = _asked(writing, writing.hire("tantou"))
    case = writing.case()
    for desk in (
        writing.hire("other", department="health"),
        writing.hire("audit", role=Role.auditor),
    ):
        own = {**form, "csrf": desk.csrf}
        assert desk.post(case, "reword", own).status_code in {403, 404}
    assert desk.client.post(f"/desk/cases/{case.id}/reword", data={**form, "csrf": "x"}).status_code == 403


def test_a_department_that_is_switched_off_while_a_job_waits_gets_no_draft(
    writing: City, model: FakeEndpoint
) -> None:
    _asked(writing, writing.hire("tantou"))
    case, before = writing.case(), _pending(writing).text
    writing.writer = replace(writing.writer, llm=Llm(model.url, "site-model", "", timeout_seconds=5.0))
    with transaction(writing.engine) as session:
        session.get_one(Department, case.department_id).drafting_enabled = False
    assert not drafting.improve(writing.engine, case.id, case.version, writing.writer)
    assert (_pending(writing).text, model.requests) == (before, [])


def test_the_kill_switches_stop_every_way_to_a_draft(writing: City, model: FakeEndpoint) -> None:
    desk = writing.hire("tantou")
    form = _asked(writing, desk)
    [department] = writing.all(Department, Department.id == writing.case().department_id)
    with transaction(writing.engine) as session:
        row = session.get_one(Department, department.id)
        row.drafting_enabled = False
        session.add(row)
    assert "AIで言い換える" not in desk.page(f"/desk/cases/{writing.case().id}")
    for verb in ("reword", "redraft"):
        refused = desk.post(writing.case(), verb, form)
        assert refused.status_code == 422
        assert "停止中" in refused.text
    writing.line_says("手数料はいくらですか")
    writing.work()
    assert writing.case().status == InquiryStatus.with_person
    assert not writing.all(Draft, col(Draft.status) == DraftStatus.pending)
    assert model.requests == []


@pytest.mark.parametrize("switch", ["department", "city"])
def test_no_new_draft_is_offered_while_a_kill_switch_is_off(city: City, desk: Desk, switch: str) -> None:
    city.line_says(ASK)
    city.work()
    path = f"/desk/cases/{city.case().id}"
    assert f'action="{path}/redraft"' in desk.page(path)
    if switch == "city":
        state = city.client.app.state  # type: ignore[attr-defined]
        state.settings = state.settings.model_copy(update={"drafting_enabled": False})
    else:
        with transaction(city.engine) as session:
            session.get_one(Department, city.case().department_id).drafting_enabled = False
    page = desk.page(path)
    assert f'action="{path}/redraft"' not in page
    assert "下書き機能は停止中のため" in page
    assert "「下書きを作り直す」を使ってください" not in page


def test_the_global_switch_holds_in_the_worker_too(city: City) -> None:
    city.writer = replace(city.writer, drafting_enabled=False)
    city.line_says(ASK)
    city.work()
    case: Inquiry = city.case()
    assert (case.status, case.hand_off_reason) == (InquiryStatus.with_person, HandOffReason.drafting_off)
    assert not city.all(Draft)


def test_a_message_without_words_says_so_and_not_that_an_article_is_missing(city: City, desk: Desk) -> None:
    city.line_says("粗大ごみの手数料はいくらですか")
    city.work()
    with transaction(city.engine) as session:
        session.execute(sa.update(Message).where(col(Message.direction) == "in").values(text="\u3000\u3000"))
    assert desk.post(city.case(), "redraft", desk.form(city.case())).status_code == 303
    city.work()
    assert city.case().hand_off_reason == HandOffReason.no_words
    page = desk.page(f"/desk/cases/{city.case().id}")
    assert "発言に文字がない" in page
    assert "根拠となる記事なし" not in page
