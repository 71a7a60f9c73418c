"""A draft may stand on past answers, canned answers and articles that a person looked up."""

import re
from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest
from sqlmodel import select

from bot import inquiries, organisation
from bot.article_index import Knowledge
from bot.articles import as_article, newest_version
from bot.db import now, transaction
from bot.knowledge import import_articles
from bot.models import (
    Approval,
    AuditEntry,
    Department,
    Draft,
    DraftStatus,
    Inquiry,
    InquiryStatus,
    KnowledgeArticle,
)
from responders.knowledge import Article
from responders.retrieve import Index
from tests.city import OTHER, City, Desk

ASK = "引っ越しのときに出る大きな食器棚を市に引き取ってほしい"
AGAIN = "大きな食器棚を引き取ってほしいのですが"
BY_HAND = "食器棚は、二人で運べる大きさであれば戸別収集で引き取ります。"
KEY = re.compile(r'name="confirmed" value="([0-9a-f]+)"')
PASSAGE = re.compile(r'name="passage" value="([^"]+)"')
TICKED = re.compile(r'name="passage" value="([^"]+)" checked')


def _answered_by_hand(city: City, desk: Desk, text: str, body: str, user: str = OTHER) -> str:
    """An answered case; its receipt number."""
    city.line_says(text, user=user)
    city.work()
    case = city.case(user)
    if case.department_id != "waste_environment":
        form = {**desk.form(case), "department": "waste_environment", "reason": "環境課の仕事"}
        assert desk.post(case, "transfer", form).status_code == 303
        city.work()
        case = city.case(user)
    form = {**desk.form(case), "text": f"お答えします。\n\n{body}"}
    keys = KEY.findall(desk.post(case, "write", form).text)
    if keys:
        assert desk.post(case, "write", {**form, "confirmed": keys}).status_code == 303
    assert city.case(user).status == InquiryStatus.answered
    return case.receipt_number


def _pending(city: City) -> Draft:
    draft: Draft
    case = city.case()
    [draft] = city.all(Draft, Draft.status == DraftStatus.pending, Draft.inquiry_id == case.id)
    return draft


def _asked_again(city: City, desk: Desk) -> None:
    city.line_says(AGAIN)
    city.work()
    case = city.case()
    if case.department_id != "waste_environment":
        form = {**desk.form(case), "department": "waste_environment", "reason": "環境課の仕事"}
        assert desk.post(case, "transfer", form).status_code == 303
        city.work()


def test_a_past_answer_is_offered_with_its_number_and_becomes_the_source(city: City, desk: Desk) -> None:
    number = _answered_by_hand(city, desk, ASK, BY_HAND)
    _asked_again(city, desk)
    page = desk.page(f"/desk/cases/{city.case().id}")
    assert f"過去の回答 {number}" in page
    assert "職員が書いた回答" in page
    ids = [one for one in PASSAGE.findall(page) if one.startswith(f"case:{number}#")]
    form = desk.form(city.case())
    assert desk.post(city.case(), "recompose", {**form, "passage": ids[-1:]}).status_code == 303
    draft = _pending(city)
    assert BY_HAND in draft.text
    assert draft.ready
    assert draft.passages[0]["article_title"] == f"過去の回答 {number}"
    form = desk.form(city.case())
    assert desk.post(city.case(), "approve", form).status_code == 303
    assert city.case().status == InquiryStatus.answered


def test_a_line_that_a_person_drew_cuts_nothing_from_a_past_answer(city: City, desk: Desk) -> None:
    more = "引き取りの日時は、後日お知らせします。"
    number = _answered_by_hand(city, desk, ASK, f"{BY_HAND}\n\n──────────\n\n{more}")
    _asked_again(city, desk)
    page = desk.page(f"/desk/cases/{city.case().id}")
    assert more in page
    assert len([one for one in PASSAGE.findall(page) if one.startswith(f"case:{number}#")]) == 3, "no line"


def test_another_citizens_data_does_not_come_back_through_a_past_answer(city: City, desk: Desk) -> None:
    personal = "食器棚の件は、環境課(0000-12-3108)から090-1234-5678かtaro@example.jpへご連絡します。"
    number = _answered_by_hand(city, desk, ASK, f"{BY_HAND}\n{personal}")
    _asked_again(city, desk)
    page = desk.page(f"/desk/cases/{city.case().id}")
    ids = [one for one in PASSAGE.findall(page) if one.startswith(f"case:{number}#")]
    form = desk.form(city.case())
    assert desk.post(city.case(), "recompose", {**form, "passage": ids}).status_code == 303
    draft = _pending(city)
    assert "090-1234-5678" not in draft.text
    assert "taro@example.jp" not in draft.text
    assert "環境課(0000-12-3108)から〔電話番号〕か〔メールアドレス〕へ" in draft.text
    unread = desk.post(city.case(), "approve", desk.form(city.case()))
    assert unread.status_code == 422
    assert "〔電話番号〕" in unread.text
    typed = {**desk.form(city.case()), "text": draft.text.replace("〔メールアドレス〕", "taro@example.jp")}
    assert "メールアドレスと思われる「taro@example.jp」" in desk.post(city.case(), "check", typed).text


def test_a_past_answer_is_offered_without_the_frame_of_a_department_before(city: City, desk: Desk) -> None:
    city.line_says(ASK, user=OTHER)
    city.work()
    number = city.case(OTHER).receipt_number
    with transaction(city.engine) as session:
        before = session.get_one(Department, "water")
        text = city.writer.frame.around(BY_HAND, before, number)
    form = {**desk.form(city.case(OTHER)), "text": text}
    keys = KEY.findall(desk.post(city.case(OTHER), "write", form).text)
    desk.post(city.case(OTHER), "write", {**form, "confirmed": keys})
    assert city.case(OTHER).status == InquiryStatus.answered
    _asked_again(city, desk)
    page = desk.page(f"/desk/cases/{city.case().id}")
    assert [one for one in PASSAGE.findall(page) if one.startswith("case:")] == [f"case:{number}#1"]


def test_another_departments_answer_is_not_offered_nor_taken(city: City, desk: Desk) -> None:
    number = _answered_by_hand(city, desk, ASK, BY_HAND)
    _asked_again(city, desk)
    form = {**desk.form(city.case()), "department": "water", "reason": "試し"}
    assert desk.post(city.case(), "transfer", form).status_code == 303
    city.work()
    assert f"過去の回答 {number}" not in desk.page(f"/desk/cases/{city.case().id}")
    again = {**desk.form(city.case()), "passage": [f"case:{number}#1"]}
    assert desk.post(city.case(), "recompose", again).status_code == 422
    assert BY_HAND not in _pending(city).text


def test_the_answers_of_a_department_that_ended_are_offered_to_who_took_it_over(
    city: City, desk: Desk
) -> None:
    number = _answered_by_hand(city, desk, ASK, BY_HAND)
    _asked_again(city, desk)
    with transaction(city.engine) as session:
        ended = session.get_one(Department, "waste_environment")
        ended.valid_to, ended.successor_id = now().date() - timedelta(days=2), "general_affairs"
        session.flush()
        organisation.reroute(session, now().date(), drafting=True)
    city.work()
    assert city.case().department_id == "general_affairs"
    assert city.case(OTHER).department_id == "waste_environment"
    assert f"過去の回答 {number}" in desk.page(f"/desk/cases/{city.case().id}")
    again = {**desk.form(city.case()), "passage": [f"case:{number}#2"]}
    assert desk.post(city.case(), "recompose", again).status_code == 303
    assert BY_HAND in _pending(city).text


def test_an_answer_whose_article_changed_is_not_offered(city: City, desk: Desk) -> None:
    city.line_says("粗大ごみの戸別収集の手数料はいくらですか", user=OTHER)
    city.work()
    case = city.case(OTHER)
    assert desk.post(case, "approve", desk.form(case)).status_code == 303
    cited = city.all(Draft, Draft.inquiry_id == case.id)[0].passages[0]
    city.line_says("粗大ごみの戸別収集の手数料を知りたい")
    city.work()
    assert f"過去の回答 {case.receipt_number}" in desk.page(f"/desk/cases/{city.case().id}")
    page = desk.page(f"/desk/knowledge/article?id={quote(cited['article'])}")
    version = re.search(r'name="version" value="(\d+)"', page)
    assert version
    retire = {"csrf": desk.csrf, "id": cited["article"], "version": version.group(1)}
    assert desk.client.post("/desk/knowledge/retire", data=retire, follow_redirects=False).status_code == 303
    city.work()
    assert f"過去の回答 {case.receipt_number}" not in desk.page(f"/desk/cases/{city.case().id}")


def test_a_canned_answer_is_chosen_by_hand_and_never_found_by_the_search(city: City, desk: Desk) -> None:
    text = "ただいま申込みが大変混み合っています。\nご予約から収集まで、三週間ほどお待ちいただいています。"
    own = Article("canned-busy", "混み合っているとき", "waste_environment", text, data_class="canned")
    other = Article(
        "canned-water", "断水のとき", "water", "復旧まで節水をお願いします。", data_class="canned"
    )
    import_articles(city.engine, [own, other], actor="test", embed=None, retire_missing=False)
    city.line_says("粗大ごみの申込みが混み合っていて三週間待ちと聞きました。収集はいつですか")
    city.work()
    assert "canned-busy" not in {p["article"] for p in _pending(city).passages}
    page = desk.page(f"/desk/cases/{city.case().id}")
    assert "混み合っているとき" in page
    assert "断水のとき" not in page
    listed = PASSAGE.findall(desk.page(f"/desk/cases/{city.case().id}?article=canned-busy"))
    ids = [one for one in listed if one.startswith("canned-busy#")]
    assert len(ids) == 2
    form = {**desk.form(city.case()), "passage": [*ids, "canned-water#1"]}
    assert desk.post(city.case(), "recompose", form).status_code == 303
    assert "三週間ほど" in _pending(city).text
    assert "節水" not in _pending(city).text


def test_however_many_canned_answers_there_are_another_departments_is_not_taken(
    city: City, desk: Desk
) -> None:
    def canned(number: int) -> Article:
        text = f"断水{number}の間は、節水をお願いします。"
        return Article(f"canned-{number}", f"断水{number:03}", "water", text, data_class="canned")

    many = [canned(number) for number in range(60)]
    import_articles(city.engine, many, actor="test", embed=None, retire_missing=False)
    city.line_says("粗大ごみの戸別収集の手数料はいくらですか")
    city.work()
    for number in (0, 59):
        form = {**desk.form(city.case()), "passage": [f"canned-{number}#1"]}
        assert desk.post(city.case(), "recompose", form).status_code == 422


def test_a_doubtful_article_is_shown_and_nothing_of_it_is_in_the_draft(city: City, desk: Desk) -> None:
    city.line_says("粗大ごみをトラックで運んでくれる業者の評判を知りたい")
    city.work()
    draft = _pending(city)
    assert (draft.origin, draft.passages) == ("holding", [])
    page = desk.page(f"/desk/cases/{city.case().id}")
    assert "近い記事があります" in page
    offered = [one for one in PASSAGE.findall(page) if one.startswith("waste-bulky#")]
    colleague = desk.form(city.case())
    assert city.case().receipt_number in desk.page("/desk/knowledge/gaps")
    form = {**desk.form(city.case()), "passage": offered[3:4]}
    assert desk.post(city.case(), "recompose", form).status_code == 303
    assert _pending(city).origin == "template"
    assert (city.case().status, city.case().hand_off_reason) == (InquiryStatus.awaiting, None)
    assert "根拠となる記事なし" not in desk.page("/desk")
    assert city.case().receipt_number not in desk.page("/desk/knowledge/gaps")
    assert desk.post(city.case(), "approve", colleague).status_code == 409, "it shows another text"


def test_a_case_without_a_source_can_take_an_article_that_a_person_looks_up(city: City, desk: Desk) -> None:
    city.line_says("水道の水で熱帯魚は飼えますか")
    city.work()
    assert _pending(city).origin == "holding"
    page = desk.page(f"/desk/cases/{city.case().id}?words={quote('粗大ごみ 手数料')}")
    [link] = re.findall(r"\?article=(waste-bulky)", page)[:1]
    listed = PASSAGE.findall(desk.page(f"/desk/cases/{city.case().id}?article={link}"))
    form = {**desk.form(city.case()), "passage": listed[:2]}
    assert desk.post(city.case(), "recompose", form).status_code == 303
    assert _pending(city).origin == "template"
    assert "見つかりませんでした" in desk.page(f"/desk/cases/{city.case().id}?words={quote('ぽぽぽ')}")


def _without_a_draft(city: City, desk: Desk) -> None:
    """The pending draft was sent back: a person goes on, without one."""
    city.line_says("引っ越しで要らなくなった大きなたんすはどう捨てますか")
    city.work()
    form = {**desk.form(city.case()), "reason": "記事が違う"}
    assert desk.post(city.case(), "return", form).status_code == 303
    assert city.case().status == InquiryStatus.with_person
    assert city.case().department_id == "waste_environment"


def test_a_case_without_a_draft_gets_one_from_an_article_that_a_person_looks_up(
    city: City, desk: Desk
) -> None:
    _without_a_draft(city, desk)
    colleague = desk.form(city.case())
    assert "draft_id" not in colleague
    page = desk.page(f"/desk/cases/{city.case().id}?words={quote('要らない大型の家具を運んでもらう値段')}")
    assert "article=waste-bulky" in page, "found as drafting finds: no article holds these words"
    listed = PASSAGE.findall(desk.page(f"/desk/cases/{city.case().id}?article=waste-bulky"))
    form = {**desk.form(city.case()), "passage": listed[:2]}
    assert desk.post(city.case(), "recompose", {**form, "passage": []}).status_code == 422
    assert desk.post(city.case(), "recompose", form).status_code == 303
    draft = _pending(city)
    assert (draft.origin, draft.ready, len(draft.passages)) == ("template", True, 2)
    assert city.case().status == InquiryStatus.awaiting
    assert desk.post(city.case(), "recompose", {**colleague, "passage": listed[:1]}).status_code == 409
    assert desk.post(city.case(), "approve", desk.form(city.case())).status_code == 303
    assert city.case().status == InquiryStatus.answered


def test_a_refused_choice_keeps_its_ticks(city: City, desk: Desk) -> None:
    city.line_says("粗大ごみの戸別収集の手数料はいくらですか")
    city.work()
    path = f"/desk/cases/{city.case().id}"
    quoted = set(TICKED.findall(desk.page(path)))
    looked_up = PASSAGE.findall(desk.page(f"{path}?article=abandoned-bicycle"))
    chosen = [one for one in looked_up if one.startswith("abandoned-bicycle#")][:1] + [*quoted][:1]
    form = {**desk.form(city.case()), "passage": chosen}
    refused = desk.post(city.case(), "recompose", {**form, "version": "1"})
    assert refused.status_code == 409
    assert set(TICKED.findall(refused.text)) == set(chosen) != quoted
    assert "印の付いた文では、まだ下書きを作っていません" in refused.text
    assert "印の付いた文では、まだ下書きを作っていません" not in desk.page(path)
    assert desk.post(city.case(), "recompose", form).status_code == 303
    assert set(TICKED.findall(desk.page(path))) == set(chosen)


def test_the_search_of_a_case_is_its_departments_and_todays(city: City, desk: Desk) -> None:
    _without_a_draft(city, desk)
    text = "大型の家具は、運んでもらう値段を前払いしてください。"
    ended = Article(
        "furniture", "大型の家具", "waste_environment", text, valid_to=now().date() - timedelta(days=2)
    )
    other = Article("removal", "大型の家具", "water", text)
    import_articles(city.engine, [ended, other], actor="test", embed=None, retire_missing=False)
    path = f"/desk/cases/{city.case().id}?words="
    page = desk.page(path + quote("要らない大型の家具を運んでもらう値段"))
    assert "article=waste-bulky" in page
    assert "article=furniture" not in page
    assert "article=removal" not in page
    by_word = desk.page(path + quote("大型の家具"))
    assert "article=removal" in by_word, "whoever knows the words finds another department's article"
    assert re.search(r"article=furniture[^>]*>大型の家具</a>\s*<span[^>]*>期間外</span>", by_word)


def _ends_yesterday(city: City, article: str) -> None:
    """The days go by, for rows and search: the article's last one is over."""
    last = now().date() - timedelta(days=2)  # whatever the zone
    with transaction(city.engine) as session:
        for row in session.exec(select(KnowledgeArticle).where(KnowledgeArticle.article == article)):
            row.valid_to = last
            session.add(row)
        for draft in session.exec(select(Draft)):
            draft.passages = [
                {**p, "valid_to": last.isoformat()} if p["article"] == article else p for p in draft.passages
            ]
            session.add(draft)
    city.writer = replace(city.writer, knowledge=Knowledge(city.engine, None))


def test_sentences_out_of_force_are_shown_as_such_and_cannot_be_ticked(city: City, desk: Desk) -> None:
    coming = now().date() + timedelta(days=30)
    text = "来月からは、食器棚も引き取ります。"
    future = Article("shelf", "食器棚の収集", "waste_environment", text, valid_from=coming)
    canned = Article("busy", "混雑", "waste_environment", text, valid_from=coming, data_class="canned")
    import_articles(city.engine, [future, canned], actor="test", embed=None, retire_missing=False)
    city.line_says("粗大ごみの戸別収集の手数料はいくらですか")
    city.work()
    path = f"/desk/cases/{city.case().id}"
    found = desk.page(f"{path}?words={quote('食器棚 引き取り')}")
    assert re.search(r"食器棚の収集</a>\s*<span[^>]*>期間外</span>", found)
    assert re.search(r"混雑</a>\s*<span[^>]*>期間外</span>", found)
    page = desk.page(f"{path}?article=shelf")
    assert "期間外" in page
    [box] = re.findall(r'<input type="checkbox" name="passage" value="shelf#1"[^>]*>', page)
    assert "disabled" in box
    [own] = re.findall(r'<input type="checkbox" name="passage" value="waste-bulky#1"[^>]*>', page)
    assert "disabled" not in own


def _answered_before(city: City, desk: Desk) -> tuple[Inquiry, list[str]]:
    """Somebody's answered case, and its sentences as the next one's screen offers them."""
    city.line_says("粗大ごみの戸別収集の手数料はいくらですか", user=OTHER)
    city.work()
    case = city.case(OTHER)
    assert desk.post(case, "approve", desk.form(case)).status_code == 303
    city.line_says("粗大ごみの戸別収集の手数料を知りたい")
    city.work()
    page = desk.page(f"/desk/cases/{city.case().id}")
    old = [one for one in PASSAGE.findall(page) if one.startswith(f"case:{case.receipt_number}#")]
    return case, old


def test_an_answer_whose_article_has_ended_is_not_offered_nor_taken(city: City, desk: Desk) -> None:
    case, old = _answered_before(city, desk)
    assert old
    _ends_yesterday(city, city.all(Draft, Draft.inquiry_id == case.id)[0].passages[0]["article"])
    assert f"過去の回答 {case.receipt_number}" not in desk.page(f"/desk/cases/{city.case().id}")
    form = {**desk.form(city.case()), "passage": old}
    assert desk.post(city.case(), "recompose", form).status_code == 422


def test_a_draft_on_a_past_answer_ends_with_the_article_behind_it(city: City, desk: Desk) -> None:
    last = now().date() + timedelta(days=30)
    with transaction(city.engine) as session:
        for row in session.exec(select(KnowledgeArticle).where(KnowledgeArticle.article == "waste-bulky")):
            row.valid_to = last
            session.add(row)
    city.writer = replace(city.writer, knowledge=Knowledge(city.engine, None))
    case, old = _answered_before(city, desk)
    form = {**desk.form(city.case()), "passage": old}
    assert desk.post(city.case(), "recompose", form).status_code == 303
    draft = _pending(city)
    assert inquiries.ended_sources(draft, last) == set()
    assert inquiries.ended_sources(draft, last + timedelta(days=1)) == {f"case:{case.receipt_number}"}


def test_a_draft_on_a_past_answer_is_made_anew_when_the_article_behind_it_changes(
    city: City, desk: Desk
) -> None:
    case, old = _answered_before(city, desk)
    form = {**desk.form(city.case()), "passage": old}
    assert desk.post(city.case(), "recompose", form).status_code == 303
    before = _pending(city)
    cited = city.all(Draft, Draft.inquiry_id == case.id)[0].passages[0]["article"]
    assert cited in before.article_versions
    _edited(city, cited, text="粗大ごみの戸別収集の手数料は、1点600円です。")
    assert city.all(Draft, Draft.id == before.id)[0].status == DraftStatus.superseded
    city.work()
    assert "600円" in _pending(city).text


LAST_DAY = now().date() + timedelta(days=30)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"text": "粗大ごみの戸別収集の手数料は、1点600円です。"}, "600円"),
        ({"valid_to": LAST_DAY}, LAST_DAY.isoformat()),
        ({"title": "大型ごみ"}, "大型ごみ"),
        ({"data_class": "canned"}, ""),
        ({"data_class": "confidential"}, ""),
    ],
    ids=["text", "last day", "title", "canned", "confidential"],
)
def test_an_article_that_changed_while_its_draft_was_made_is_not_quoted_as_it_was(
    city: City, change: dict[str, Any], told: str
) -> None:
    index = city.writer.knowledge.index()

    class Slow(Knowledge):
        """What was read is old by the time the draft is there."""

        def index(self) -> Index:
            _edited(city, "waste-bulky", **change)
            city.writer = replace(city.writer, knowledge=Knowledge(city.engine, None))
            return index

    city.writer = replace(city.writer, knowledge=Slow(city.engine, None))
    city.line_says("粗大ごみの戸別収集の手数料はいくらですか")
    city.work()
    assert (city.all(Draft), city.case().status) == ([], InquiryStatus.drafting)
    city.work()
    quoted = _pending(city).passages
    assert told in str(quoted)
    assert told or "waste-bulky" not in {p["article"] for p in quoted}


def _edited(city: City, article: str, **change: Any) -> None:  # noqa: ANN401
    with transaction(city.engine) as session:
        row = newest_version(session, article)
        assert row is not None
    changed = replace(as_article(row), **change)
    import_articles(city.engine, [changed], actor="test", embed=None, retire_missing=False)


def test_a_draft_whose_article_ended_meanwhile_is_not_sent_but_made_anew(city: City, desk: Desk) -> None:
    city.line_says("粗大ごみの戸別収集の手数料はいくらですか")
    city.work()
    old = _pending(city)
    cited = {p["article"] for p in old.passages}
    for article in cited:
        _ends_yesterday(city, article)
    assert "期間外" in desk.page(f"/desk/cases/{city.case().id}")
    refused = desk.post(city.case(), "approve", desk.form(city.case()))
    assert refused.status_code == 409
    assert "有効期間が終わった" in refused.text
    assert not city.all(Approval)
    assert [d.status for d in city.all(Draft, Draft.id == old.id)] == [DraftStatus.superseded]
    assert city.case().status == InquiryStatus.drafting
    assert city.all(AuditEntry, AuditEntry.action == "source_ended")
    city.work()
    assert not cited & {p["article"] for p in _pending(city).passages}
