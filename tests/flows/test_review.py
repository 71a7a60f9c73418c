"""The checks on the case's screen: each fault has its place, and each is mended or confirmed by itself."""

import re
from datetime import timedelta
from html import unescape

import pytest

from bot import auth
from bot.db import now, transaction
from bot.models import Approval, Department, Draft, InquiryStatus, Role
from tests.city import City, Desk

PLACE = re.compile(r'data-start="(\d+)" data-end="(\d+)"')
KEY = re.compile(r'name="confirmed" value="([0-9a-f]+)"')
LIE = "なお、9月末までに9,999円をお支払いください。"
LIE2 = "くわしくは0000-99-9999へお電話ください。"


def _with_lies(city: City, desk: Desk, *lies: str) -> dict[str, str]:
    city.line_says("粗大ごみの出し方を教えてください")
    city.work()
    form = desk.form(city.case())
    head, body, closing = form["text"].split("\n\n", 2)
    form["text"] = "\n\n".join([head, "\n".join([body, *lies]), closing])
    return form


def _utf16(text: str, start: int, end: int) -> str:
    return text.encode("utf-16-le")[2 * start : 2 * end].decode("utf-16-le")


def test_each_fault_shows_where_it_stands_also_behind_an_emoji(city: City, desk: Desk) -> None:
    form = _with_lies(city, desk, "🎍" + LIE)
    piece = unescape(desk.post(city.case(), "check", form).text)
    assert "根拠あり" in piece
    assert "根拠なし・要確認" in piece
    assert "9,999円" in {_utf16(form["text"], int(a), int(b)) for a, b in PLACE.findall(piece)}


def test_every_place_must_be_confirmed_by_itself(city: City, desk: Desk) -> None:
    form = _with_lies(city, desk, LIE, LIE2)
    refused = desk.post(city.case(), "approve", form)
    assert refused.status_code == 422
    assert "指摘された箇所" in refused.text
    keys = KEY.findall(refused.text)
    assert len(keys) >= 3

    all_but_one = desk.post(city.case(), "approve", {**form, "confirmed": keys[1:]})
    assert all_but_one.status_code == 422
    assert all_but_one.text.count(" checked") >= len(keys) - 1, "what was ticked stays ticked"
    assert not city.all(Approval)

    assert desk.post(city.case(), "approve", {**form, "confirmed": keys}).status_code == 303
    [approval] = city.all(Approval)
    assert {f["key"] for f in approval.confirmed} == set(keys)
    assert city.case().status == InquiryStatus.answered


OPEN = re.compile(r'name="keep_open" value="1"( checked)?>')


def test_a_refusal_leaves_ticked_whether_the_case_stays_open(city: City, desk: Desk) -> None:
    form = _with_lies(city, desk, LIE)
    assert OPEN.findall(desk.page(f"/desk/cases/{city.case().id}")) == ["", ""]
    assert OPEN.findall(desk.post(city.case(), "approve", form).text) == ["", ""]
    assert OPEN.findall(desk.post(city.case(), "approve", form | {"keep_open": "1"}).text) == [" checked", ""]
    by_hand = form | {"text": "必ず横浜市の窓口へどうぞ。", "keep_open": "1"}
    assert OPEN.findall(desk.post(city.case(), "write", by_hand).text) == ["", " checked"]


def test_a_refused_holding_reply_stays_as_the_person_ticked_it(city: City, desk: Desk) -> None:
    city.line_says("みみずのかたつむりのうたの歌詞")
    city.work()
    form = desk.form(city.case())
    assert OPEN.findall(desk.page(f"/desk/cases/{city.case().id}")) == [" checked", ""]
    assert OPEN.findall(desk.post(city.case(), "approve", form | {"text": LIE}).text) == ["", ""]


def test_a_confirmation_counts_for_its_words_only(city: City, desk: Desk) -> None:
    form = _with_lies(city, desk, LIE)
    keys = KEY.findall(desk.post(city.case(), "check", form).text)
    other = {**form, "text": form["text"].replace("9,999", "8,888"), "confirmed": keys}
    assert desk.post(city.case(), "approve", other).status_code == 422


def _with_address(form: dict[str, str], address: str) -> dict[str, str]:
    """The form with an address in the body's last sentence."""
    body, closing = form["text"].rsplit("。\n\nご不明", 1)
    return {**form, "text": f"{body}「{address}」。\n\nご不明{closing}"}


def test_the_cited_articles_own_page_may_be_named(city: City, desk: Desk) -> None:
    form = _with_lies(city, desk)
    page = unescape(desk.page(f"/desk/cases/{city.case().id}"))
    shown = re.search(r'href="(https://www\.city\.minato\.example/[^"]+)"[^>]*>市の該当ページ', page)
    assert shown
    named = _with_address(form, shown[1])
    piece = unescape(desk.post(city.case(), "check", named).text)
    assert f"URL「{shown[1]}」は市のものですが、根拠の記事にはありません。" in piece
    assert not KEY.findall(piece)

    for other in (f"{shown[1]}/2024", "https://www.city.minato.example/tax", "https://example.com/"):
        piece = unescape(desk.post(city.case(), "check", _with_address(form, other)).text)
        assert f"URL「{other}」が根拠の記事にありません。" in piece
        assert KEY.findall(piece)

    assert desk.post(city.case(), "approve", named).status_code == 303
    assert shown[1] in city.all(Approval)[0].text


def test_personal_data_and_style_are_pointed_out(city: City, desk: Desk) -> None:
    form = _with_lies(city, desk, "連絡先はtaro@example.jpである。")
    piece = desk.post(city.case(), "check", form).text
    assert "メールアドレスと思われる" in piece
    assert "「です・ます」の形ではありません" in piece


def test_a_confirmed_address_confirms_no_other_and_each_has_its_place(city: City, desk: Desk) -> None:
    form = _with_lies(city, desk, "連絡先は🎍taro@example.jpです。", "または090-1234-5678です。")
    piece = unescape(desk.post(city.case(), "check", form).text)
    assert "taro@example.jp" in {_utf16(form["text"], int(a), int(b)) for a, b in PLACE.findall(piece)}
    keys = KEY.findall(piece)
    other = {**form, "text": form["text"].replace("です。\nまたは", "です。\njiro@example.jp、または")}
    refused = desk.post(city.case(), "approve", {**other, "confirmed": keys})
    assert refused.status_code == 422
    [finding] = re.findall(r"メールアドレスと思われる「jiro@example.jp」", unescape(refused.text))
    assert finding


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("🎍窓口で鈴原 花子がお待ちしています。", "鈴原 花子"),
        ("窓口で鈴原花子がお待ちしています。", "鈴原花子"),
        ("環境課の鈴原が担当します。", "鈴原"),
        ("鈴原川の清掃は管理者にお尋ねください。", ""),
    ],
)
def test_the_name_of_a_member_of_staff_is_pointed_out(city: City, desk: Desk, said: str, name: str) -> None:
    with transaction(city.engine) as session:
        for login, own in (("hanako", "鈴原　花子"), ("kanri", "管理者")):
            auth.create_staff(
                session,
                login=login,
                name=own,
                role=Role.caseworker,
                department_id="waste_environment",
                password="correct horse",
                actor="test",
            )
    form = _with_lies(city, desk, said)
    piece = unescape(desk.post(city.case(), "check", form).text)
    assert re.findall(r"職員の名前「([^」]+)」", piece) == ([name] if name else [])
    if name:
        assert name in {_utf16(form["text"], int(a), int(b)) for a, b in PLACE.findall(piece)}


def test_a_colleague_who_got_an_account_after_the_last_check_is_known_to_the_next(
    city: City, desk: Desk
) -> None:
    form = _with_lies(city, desk, "窓口で鈴原花子がお待ちしています。")
    assert "職員の名前" not in unescape(desk.post(city.case(), "check", form).text)
    with transaction(city.engine) as session:
        auth.create_staff(
            session, login="hanako", name="鈴原 花子", role=Role.caseworker,
            department_id="waste_environment", password="correct horse", actor="test",
        )  # fmt: skip
    assert "職員の名前「鈴原花子」" in unescape(desk.post(city.case(), "check", form).text)


def test_a_persons_own_words_are_checked_too_and_each_place_is_confirmed(city: City, desk: Desk) -> None:
    form = _with_lies(city, desk, LIE)
    own = "必ず横浜市の窓口へどうぞ。090-1234-5678かtaro@example.jpまで。くわしくは0000-12-3108へ。"
    form["text"] = form["text"].replace(LIE, own)
    refused = desk.post(city.case(), "write", form)
    assert refused.status_code == 422
    page = unescape(refused.text)
    assert own in page, "what was typed stays"
    assert "自分で書いた文面に、確認が必要な箇所があります" in page
    hand = _form_by_hand(page)
    assert {_utf16(form["text"], int(a), int(b)) for a, b in PLACE.findall(hand)} == {
        "必ず",
        "横浜市",
        "090-1234-5678",
        "taro@example.jp",
    }
    for words in ("必ず", "横浜市", "090-1234-5678", "taro@example.jp"):
        assert f"「{words}」" in hand
    assert "「0000-12-3108」" not in hand
    keys = KEY.findall(hand)
    assert len(keys) == 4
    one_less = desk.post(city.case(), "write", {**form, "confirmed": keys[1:]})
    assert one_less.status_code == 422
    assert _form_by_hand(one_less.text).count(" checked") == 3, "what was ticked stays ticked"
    assert not city.all(Approval)
    assert desk.post(city.case(), "write", {**form, "confirmed": keys}).status_code == 303
    [approval] = city.all(Approval)
    assert {f["key"] for f in approval.confirmed} == set(keys)
    record = desk.page(f"/desk/cases/{city.case().id}/record")
    assert "点検で指摘され、職員が確認したもの" in record


def _form_by_hand(page: str) -> str:
    return page.partition('<textarea id="hand"')[2].partition("</form>")[0]


def test_plain_words_of_a_person_need_no_confirmation(city: City, desk: Desk) -> None:
    form = _with_lies(city, desk)
    form["text"] = "お問い合わせの件は、職員が確認して9月1日に500円でお届けします。"
    assert desk.post(city.case(), "write", form).status_code == 303


def test_two_equal_faults_have_two_places_and_are_confirmed_one_by_one(city: City, desk: Desk) -> None:
    form = _with_lies(city, desk, "費用は、19,999円と9,999円と9,999円です。")
    piece = unescape(desk.post(city.case(), "check", form).text)
    places = [(int(a), int(b)) for a, b in PLACE.findall(piece)]
    assert sum(_utf16(form["text"], *place) == "9,999円" for place in set(places)) == 2
    keys = KEY.findall(piece)
    assert len(set(keys)) == len(keys)


def test_two_equal_sentences_have_two_places_and_are_confirmed_one_by_one(city: City, desk: Desk) -> None:
    form = _with_lies(city, desk, LIE, LIE)
    piece = unescape(desk.post(city.case(), "check", form).text)
    keys = KEY.findall(piece)
    assert len(set(keys)) == len(keys)
    places = [place for place in PLACE.findall(piece) if "9,999円" in _utf16(form["text"], *map(int, place))]
    assert len(set(places)) >= 2
    refused = desk.post(city.case(), "approve", {**form, "confirmed": keys[: len(keys) // 2]})
    assert refused.status_code == 422


def test_one_address_in_two_places_is_confirmed_twice(city: City, desk: Desk) -> None:
    form = _with_lies(city, desk, "控えは、taro@example.jpです。", "窓口は、taro@example.jpです。")
    piece = unescape(desk.post(city.case(), "check", form).text)
    keys = KEY.findall(piece)
    assert piece.count("メールアドレスと思われる「taro@example.jp」") == 2
    assert len(set(keys)) == len(keys)
    once = [key for key in dict.fromkeys(keys) if key != keys[-1]]
    assert desk.post(city.case(), "approve", {**form, "confirmed": once}).status_code == 422
    assert desk.post(city.case(), "approve", {**form, "confirmed": keys}).status_code == 303


def test_a_text_far_beyond_what_line_takes_is_not_checked(city: City, desk: Desk) -> None:
    form = _with_lies(city, desk, *[f"{n}円以内なら{n + 1}円まで。" for n in range(2_000)])
    piece = unescape(desk.post(city.case(), "check", form).text)
    assert "長すぎるため、点検していません" in piece
    assert "根拠" not in piece
    refused = desk.post(city.case(), "approve", form | {"confirmed": KEY.findall(piece)})
    assert "長すぎます" in unescape(refused.text)


def test_a_verbatim_draft_needs_no_confirmation(city: City, desk: Desk) -> None:
    form = _with_lies(city, desk)
    assert not KEY.findall(desk.post(city.case(), "check", form).text)
    assert desk.post(city.case(), "approve", form).status_code == 303
    assert city.all(Draft)[0].status == "approved"


def test_the_phone_of_a_section_that_ended_must_be_confirmed(city: City, desk: Desk) -> None:
    form = _with_lies(city, desk, "くわしくは総務課(0000-12-3116)へお電話ください。")
    before = KEY.findall(unescape(desk.post(city.case(), "check", form).text))
    with transaction(city.engine) as session:
        ended = session.get_one(Department, "general_affairs")
        ended.valid_to, ended.successor_id = now().date() - timedelta(days=2), "tax"
    after = KEY.findall(unescape(desk.post(city.case(), "check", form).text))
    assert len(after) > len(before)


def test_words_that_no_case_knows_yet_stop_the_reply(city: City, desk: Desk) -> None:
    city.line_says("粗大ごみの出し方を教えてください")
    city.work()
    form = desk.form(city.case())
    city.line_says("すみません、やっぱり自分で運びます")

    for verb, text in (("approve", form["text"]), ("write", "粗大ごみは電話で申し込めます。")):
        refused = desk.post(city.case(), verb, form | {"text": text})
        assert refused.status_code == 409
        assert "新しい発言が届き" in refused.text
        assert text.split("\n")[0] in unescape(refused.text), "what was typed stands there still"
    assert not city.all(Approval)

    city.work()
    renewed = desk.form(city.case())
    assert "やっぱり自分で運びます" in desk.page(f"/desk/cases/{city.case().id}")
    assert desk.post(city.case(), "approve", renewed).status_code == 303


def test_a_page_that_refuses_a_person_gives_back_what_they_typed(city: City, desk: Desk) -> None:
    form = _with_lies(city, desk, LIE)
    forged = desk.post(city.case(), "approve", form | {"csrf": "of another sign-in", "second_text": "<b>"})
    assert forged.status_code == 403
    assert f"{LIE}\n" in unescape(forged.text)
    assert "<b>" not in forged.text

    desk.client.cookies.clear()
    ended = desk.post(city.case(), "approve", form)
    assert ended.status_code == 401
    assert f"{LIE}\n" in unescape(ended.text)
    nothing = desk.post(city.case(), "acknowledge", {"csrf": form["csrf"], "version": form["version"]})
    assert nothing.headers["location"] == "/desk/login"
    assert not city.all(Approval)
