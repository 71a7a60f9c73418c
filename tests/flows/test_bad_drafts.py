"""A model that fails, empty knowledge, a huge article or question: what a caseworker sees, and it goes on."""

from dataclasses import replace

import pytest

from bot.knowledge import import_articles
from bot.models import Draft, DraftStatus, InquiryStatus, OutboxMessage
from responders.knowledge import read_folder
from tests.city import DATA, City, Desk
from tests.responders.conftest import FakeEndpoint

ASK = "粗大ごみの出し方を教えてください"


def _pending(city: City) -> Draft:
    draft: Draft
    [draft] = city.all(Draft, Draft.status == DraftStatus.pending)
    return draft


def _assert_can_be_sent(city: City, desk: Desk) -> None:
    """Somebody approves what is on the screen, and exactly that leaves the house."""
    case, form = city.case(), desk.form(city.case())
    assert desk.post(case, "approve", form).status_code == 303
    city.deliver_all()
    assert form["text"] in [row.text for row in city.all(OutboxMessage)]
    assert city.case().status == InquiryStatus.answered


@pytest.mark.parametrize(
    ("mode", "reply", "said"),
    [
        ("answer", "你好，请问您需要什么帮助？", "記事と一致しなかったため、記事の文のままです"),
        ("answer", "はい。" * 300, "記事と一致しなかったため、記事の文のままです"),
        ("answer", " \n　", "AIの応答が正しくなかったため、記事の文のままです"),
        ("length", "粗大ごみは、", "AIの文章が途中で切れたため、記事の文のままです"),
        ("garbage", "", "AIの応答が正しくなかったため、記事の文のままです"),
        ("half", "", "AIの応答が正しくなかったため、記事の文のままです"),
        ("endless", "", "AIの応答が正しくなかったため、記事の文のままです"),
        ("400", "", "AIの応答が正しくなかったため、記事の文のままです"),
        ("500", "", "AIに接続できなかったため、記事の文のままです"),
    ],
    ids=["chinese", "loop", "blank", "cut", "garbage", "half", "endless", "context_overflow", "broken"],
)
def test_whatever_the_model_does_the_case_shows_the_reason_and_is_answered(
    writing: City, model: FakeEndpoint, mode: str, reply: str, said: str
) -> None:
    writing.writer = replace(writing.writer, patience_seconds=0.0)
    model.mode, model.reply = mode, lambda _: reply
    writing.line_says(ASK)
    writing.work()
    draft, desk = _pending(writing), writing.hire("uketsuke")
    assert draft.origin == "template"
    assert model.requests
    assert said in desk.page(f"/desk/cases/{writing.case().id}")
    _assert_can_be_sent(writing, desk)


def test_with_an_empty_knowledge_base_the_holding_text_waits_for_a_person(city: City) -> None:
    import_articles(city.engine, [], actor="test", embed=None)
    city.line_says(ASK)
    city.work()
    desk = city.hire("uketsuke")
    page = desk.page(f"/desk/cases/{city.case().id}")
    assert "根拠となる記事が見つからないため、事実を含まない仮の返事です" in page
    assert "十分に合う記事がありませんでした" in page
    assert _pending(city).origin == "holding"


def test_an_article_of_a_megabyte_answers_and_disturbs_no_other(city: City) -> None:
    articles = read_folder(DATA / "knowledge")
    huge = replace(articles[0], id="huge", text="石碑の由来は諸説あります。" * 40_000)
    import_articles(city.engine, [*articles, huge], actor="test", embed=None)
    assert len(huge.text) > 500_000
    city.line_says(ASK)
    city.work()
    assert {p["article"] for p in _pending(city).passages} == {"waste-bulky"}
    _assert_can_be_sent(city, city.hire("uketsuke"))


END = "粗大ごみの話の終わりです。"


def test_a_question_of_twenty_thousand_characters_says_that_it_was_cut(city: City) -> None:
    # Each says what it is about: a cry of a few words, a thousand times over, may sound like an emergency.
    for part in ("収集日と持ち込みのことです。", "粗大ごみの話の続きです。", "粗大ごみの続きです。", END):
        city.line_says(f"{ASK}。{part * 600}"[:5000])
    city.work()
    desk = city.hire("uketsuke")
    assert "長い発言のため、先頭だけで記事を探しました" in desk.page(f"/desk/cases/{city.case().id}")
    assert END * 2 in desk.page(f"/desk/cases/{city.case().id}")
    _assert_can_be_sent(city, desk)
