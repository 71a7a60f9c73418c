"""The main job: a citizen writes on LINE, a person approves, exactly that text goes out, once."""

import re
import shutil
from dataclasses import replace
from datetime import timedelta
from html import unescape
from pathlib import Path

import pytest
from sqlmodel import col

from bot import inquiries, reports, triage
from bot.db import now, transaction
from bot.drafting import load_frame
from bot.models import (
    Draft,
    DraftStatus,
    HandOffReason,
    Inquiry,
    InquiryStatus,
    Message,
    OutboxMessage,
    OutboxStatus,
    Role,
)
from channels.line import LineClient
from tests.city import DATA, OTHER, USER, City
from tests.conftest import free_port

QUESTION = "引っ越してきたので転入届を出したいです。何を持っていけばいいですか?"


def _approve(city: City, user: str = USER) -> Inquiry:
    case = city.case(user)
    desk = city.hire("uketsuke")
    answer = desk.post(case, "write", desk.form(case) | {"text": "窓口へ本人確認書類をお持ちください。"})
    assert answer.status_code == 303, answer.text
    return case


def test_a_question_becomes_a_case_and_the_approved_text_goes_out_once(city: City) -> None:
    city.line_says(QUESTION)
    city.work()
    case = city.case()
    assert case.department_id == "citizen_registry"
    assert case.receipt_number in city.line.texts(USER)[-1]
    before = len(city.line.delivered)

    _approve(city)
    city.deliver_all()

    sent = city.line.delivered[before:]
    assert [d["text"] for d in sent] == ["窓口へ本人確認書類をお持ちください。"]
    [row] = city.all(OutboxMessage, col(OutboxMessage.approval_id).is_not(None))
    assert (sent[0]["how"], sent[0]["key"]) == ("push", str(row.id))
    assert city.case().status == InquiryStatus.answered


def test_the_first_contact_notice_and_the_receipt_need_no_person(city: City) -> None:
    city.line_says("住民票の写しは何時まで取れますか")
    city.work()
    city.line_says("コンビニでも取れますか")
    city.work()
    texts = city.line.texts(USER)
    assert sum("119" in t for t in texts) == 1
    assert {d["how"] for d in city.line.delivered} <= {"reply", "push"}
    assert city.line.delivered[0]["how"] == "reply"


def test_a_redelivered_event_changes_nothing(city: City) -> None:
    event = city.line.text(USER, QUESTION)
    city.webhook(city.line.body(event))
    event["deliveryContext"] = {"isRedelivery": True}
    assert city.webhook(city.line.body(event)) == {"stored": 0}
    event["webhookEventId"] = "another id, the same message"
    city.webhook(city.line.body(event))
    city.work()
    assert len(city.all(Message, Message.direction == "in")) == 1
    assert len(city.all(Inquiry)) == 1


def test_one_broken_event_never_costs_its_neighbours(city: City) -> None:
    broken = city.line.text(USER, "x")
    broken["message"] = {"type": "text"}
    body = city.line.body(
        city.line.text(USER, QUESTION), broken, None, 7, city.line.text(OTHER, "水道の水が濁っています")
    )
    city.webhook(body)
    city.work()
    assert city.case(USER).department_id == "citizen_registry"
    assert city.case(OTHER).department_id == "water"
    assert len(city.all(Message, Message.direction == "in")) == 2


def test_two_people_at_once_the_second_is_told_and_nothing_goes_out_twice(city: City) -> None:
    city.line_says(QUESTION)
    city.work()
    case = city.case()
    first, second = city.hire("first"), city.hire("second")
    form_1, form_2 = first.form(case), second.form(case)
    assert first.post(case, "write", form_1 | {"text": "はい。"}).status_code == 303
    refused = second.post(case, "write", form_2 | {"text": "いいえ、違います。"})
    assert refused.status_code == 409
    assert "いいえ、違います。" in refused.text
    assert 'role="alert"' in refused.text
    city.deliver_all()
    assert city.line.texts(USER)[-1] == "はい。"
    assert "いいえ、違います。" not in city.line.texts(USER)


@pytest.mark.parametrize("fault", ["500_after", "hang_after", "garbage_after"])
def test_a_lost_answer_does_not_send_twice(city: City, fault: str) -> None:
    city.line_says(QUESTION)
    city.work()
    _approve(city)
    city.line.faults.extend([fault, "500_before"])
    city.deliver_all()
    assert city.line.texts(USER).count("窓口へ本人確認書類をお持ちください。") == 1
    [row] = city.all(OutboxMessage, col(OutboxMessage.approval_id).is_not(None))
    assert row.status == OutboxStatus.accepted
    assert [c["status"] for c in city.line.calls if c["key"] == str(row.id)][-1] == 409


@pytest.mark.parametrize("fault", ["rate", "quota", "401", "500_before"])
def test_a_passing_refusal_is_tried_again_and_shown_meanwhile(city: City, fault: str) -> None:
    city.line_says(QUESTION)
    city.work()
    _approve(city)
    city.line.faults.append(fault)
    city.deliver()
    assert "窓口へ本人確認書類をお持ちください。" not in city.line.texts(USER)
    assert "送信待ち" in city.hire("kakaricho", role=Role.supervisor).page("/supervise")
    city.deliver_all()
    assert city.line.texts(USER).count("窓口へ本人確認書類をお持ちください。") == 1


def test_a_refusal_for_good_is_shown_and_can_be_tried_again_by_hand(city: City) -> None:
    city.line_says(QUESTION)
    city.work()
    _approve(city)
    city.line.faults.append("400")
    city.deliver_all()
    [row] = city.all(OutboxMessage, OutboxMessage.status == OutboxStatus.failed)
    boss = city.hire("kakaricho", role=Role.supervisor)
    assert "送信できませんでした" in boss.page("/supervise")
    boss.client.post(f"/supervise/deliveries/{row.id}/retry", data={"csrf": boss.csrf})
    city.deliver_all()
    assert city.line.texts(USER).count("窓口へ本人確認書類をお持ちください。") == 1


def test_a_used_reply_token_falls_back_to_a_push(city: City) -> None:
    city.line.reply_token_seconds = 0.0
    city.line_says("住民票の写しは何時まで取れますか")
    city.work()
    city.deliver_all()
    assert {d["how"] for d in city.line.delivered} == {"push"}


def test_who_adds_the_account_is_greeted_with_the_reply_token(city: City) -> None:
    def follow(unblocked: bool) -> list[str]:
        before = len(city.line.delivered)
        event = city.line.event(USER, type="follow", follow={"isUnblocked": unblocked})
        for _ in range(2):  # delivered again, it changes nothing
            city.webhook(city.line.body(event))
        city.deliver_all()
        return [sent["how"] for sent in city.line.delivered[before:]]

    assert follow(False) == ["reply", "push"], "one token, one call: the notice, then the greeting"
    assert follow(True) == ["reply"]
    city.line.reply_token_seconds = 0.0
    assert follow(True) == ["push"]
    greeted = city.line.texts(USER)
    city.line.reply_token_seconds = 60.0
    city.line.faults.append("500_after")
    assert follow(True) == ["reply"]
    assert city.line.texts(USER) == [*greeted, greeted[-1]]


def test_the_desk_says_that_who_blocked_the_account_reads_no_reply(city: City) -> None:
    city.line_says(QUESTION)
    city.work()
    desk, case = city.hire("uketsuke"), city.case()
    assert "ブロック" not in desk.page(f"/desk/cases/{case.id}")
    city.webhook(city.line.body(city.line.event(USER, type="unfollow")))
    assert "「送信済み」と出ますが、届きません" in desk.page(f"/desk/cases/{case.id}")
    city.webhook(city.line.body(city.line.event(USER, type="follow", follow={"isUnblocked": True})))
    assert "ブロック" not in desk.page(f"/desk/cases/{case.id}")


def test_an_uncertain_reply_is_never_repeated(city: City) -> None:
    city.line.faults.append("500_after")
    city.line_says("住民票の写しは何時まで取れますか")
    city.work()
    city.deliver_all()
    texts = city.line.texts(USER)
    assert len(texts) == len(set(texts)) == 2
    [row] = city.all(OutboxMessage, OutboxMessage.status == OutboxStatus.uncertain)
    assert row.reply_token


def test_what_was_written_while_line_could_not_be_reached_goes_out_later(
    city: City, caplog: pytest.LogCaptureFixture
) -> None:
    reachable = city.senders["line"]
    city.senders["line"] = LineClient(f"http://127.0.0.1:{free_port()}", city.line.token, timeout_seconds=2.0)
    city.line_says("住民票の写しは何時まで取れますか")
    city.work()
    city.deliver_all()
    assert {row.status for row in city.all(OutboxMessage)} == {OutboxStatus.queued}
    assert "Retrying" not in caplog.text, "a call takes its time once"
    city.senders["line"] = reachable
    city.deliver_all()
    assert {row.status for row in city.all(OutboxMessage)} == {OutboxStatus.accepted}
    assert len(city.line.texts(USER)) == 2


def test_a_reply_whose_answer_never_came_is_not_repeated(city: City) -> None:
    city.line.faults.append("hang_after")
    city.line_says("住民票の写しは何時まで取れますか")
    city.work()
    city.deliver_all()
    assert len(city.line.texts(USER)) == 2
    [row] = city.all(OutboxMessage, OutboxMessage.status == OutboxStatus.uncertain)
    assert row.reply_token


def test_a_new_message_supersedes_the_draft(city: City) -> None:
    city.line_says(QUESTION)
    city.work()
    case = city.case()
    desk = city.hire("uketsuke")
    form = desk.form(case)
    city.line_says("書き忘れました。子どもも一緒に転入します。")
    city.work()
    assert len(city.all(Inquiry)) == 1
    assert desk.post(case, "approve", form).status_code == 409
    assert len(city.all(Draft, Draft.status == DraftStatus.pending)) <= 1


def test_no_case_is_out_of_reach_behind_the_first_page(city: City, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "QUEUE_PAGE", 1)
    for user in (USER, OTHER):
        city.line_says(QUESTION, user=user)
        city.work()
    desk, older, newer = city.hire("uketsuke"), city.case(USER), city.case(OTHER)

    def shown(path: str) -> tuple[str, list[str]]:
        html = desk.page(path)
        return html, [case.receipt_number for case in (older, newer) if f">{case.receipt_number}</a>" in html]

    def follow(html: str, label: str) -> str:
        [link] = re.findall(rf'href="([^"]+)">{label}</a>', html)
        return unescape(link)

    html, numbers = shown("/desk")
    assert numbers == [older.receipt_number]
    html, numbers = shown(follow(html, "次の1件"))
    assert numbers == [newer.receipt_number]
    assert "2件目から2件目まで" in html
    assert shown(follow(html, "前の1件"))[1] == [older.receipt_number]
    for case in (older, newer):
        form = desk.form(case) | {"reason": "済み"}
        assert desk.post(case, "close", form).status_code == 303
    html, numbers = shown(follow(html, "前の1件"))
    assert "お疲れさまです" in html
    html, numbers = shown("/desk?done=1")
    assert numbers == [newer.receipt_number]
    assert shown(follow(html, "次の1件"))[1] == [older.receipt_number]
    assert "一覧の先頭へ" in desk.page("/desk?done=1&start=9")


def test_a_case_is_found_by_the_number_that_a_citizen_says_on_the_telephone(city: City) -> None:
    city.line_says(QUESTION)
    city.work()
    desk, case = city.hire("uketsuke"), city.case()
    year, serial = case.receipt_number.split("-")
    wide = str.maketrans("0123456789-", "０１２３４５６７８９ー")
    typed = (
        case.receipt_number,
        f" {year} {serial} ",
        f"{year}{serial}",
        case.receipt_number.translate(wide),
        f"受付番号 {year} – {serial}",
    )
    for number in typed:
        answer = desk.client.get("/desk", params={"number": number}, follow_redirects=False)
        assert answer.headers.get("location") == f"/desk/cases/{case.id}", number
    assert desk.post(case, "close", desk.form(case) | {"reason": "済み"}).status_code == 303
    answer = desk.client.get("/desk", params={"number": case.receipt_number}, follow_redirects=False)
    assert answer.headers["location"] == f"/desk/cases/{case.id}"


def test_who_may_not_see_a_case_is_not_told_that_its_number_exists(city: City) -> None:
    city.line_says(QUESTION)
    city.work()
    stranger, case = city.hire("yoso", department="tax"), city.case()
    there, nowhere = case.receipt_number, f"{case.receipt_number[:4]}-99999"
    pages = [stranger.page(f"/desk?number={number}").replace(number, "") for number in (there, nowhere)]
    assert pages[0] == pages[1]
    assert "表示できる案件の中にありません" in pages[0]
    assert "対応する案件はありません" in pages[0]
    for number in ("", "%20", "2026", "%00", "<b>", "-"):
        assert stranger.client.get(f"/desk?number={number}").status_code == 200


def test_what_a_person_wrote_is_kept_when_their_draft_is_gone(city: City) -> None:
    city.line_says(QUESTION)
    city.work()
    desk, case = city.hire("uketsuke"), city.case()
    form = desk.form(case) | {"text": "長い時間をかけて直した文面です。"}
    second = {"second_kind": "en", "second_text": "Written with care.", "second_made_from": ""}
    city.line_says("書き忘れました。子どもも一緒に転入します。")
    triage.triage_conversation(city.engine, case.conversation_id, city.brain)
    assert city.case().status == InquiryStatus.drafting
    refused = desk.post(case, "approve", form | second)
    assert refused.status_code == 409
    assert "長い時間をかけて直した文面です。" in refused.text
    assert "Written with care." in refused.text
    assert "控え" not in desk.page(f"/desk/cases/{case.id}")


@pytest.mark.parametrize(
    ("verb", "typed", "shown"),
    [
        (
            "return",
            {"reason": '宛先が"違う"'},
            ['name="reason" required maxlength="500" value="宛先が&#34;違う&#34;"'],
        ),
        (
            "transfer",
            {"reason": "税の話", "department": "tax"},
            ['value="税の話"', '<option value="tax" selected>'],
        ),
        (
            "close",
            {"reason": "雑談", "belongs_to": "small_talk"},
            ['value="雑談"', '<option value="small_talk" selected>'],
        ),
        (
            "redraft",
            {"hint": "手数料も", "length": "short", "tone": "list"},
            ['value="手数料も"', '<option value="short" selected>', '<option value="list" selected>'],
        ),
    ],
)
def test_what_was_typed_into_a_refused_form_stands_in_it_again(
    city: City, verb: str, typed: dict[str, str], shown: list[str]
) -> None:
    city.line_says(QUESTION)
    city.work()
    desk, case = city.hire("uketsuke"), city.case()
    refused = desk.post(case, verb, desk.form(case) | {"version": "0"} | typed)
    assert refused.status_code == 409
    for part in shown:
        assert refused.text.count(part) == 1, part
    assert refused.text.count("<details open>") == 1
    assert "控え" not in refused.text

    form = desk.form(case) | typed
    assert desk.post(case, "close", desk.form(case) | {"reason": "済み"}).status_code == 303
    refused = desk.post(case, verb, form)
    assert refused.status_code == 409
    assert f'/{verb}"' not in refused.text
    assert next(iter(typed.values())) in unescape(refused.text)


def test_a_case_that_the_citizen_took_back_is_not_offered_to_be_ended(city: City) -> None:
    city.line_says(QUESTION)
    city.work()
    [message] = city.all(Message, Message.direction == "in")
    city.webhook(
        city.line.body(city.line.event(USER, type="unsend", unsend={"messageId": message.platform_id}))
    )
    city.work()
    desk, case = city.hire("uketsuke"), city.case()
    assert case.status == InquiryStatus.withdrawn
    shown = desk.page(f"/desk/cases/{case.id}")
    for verb in ("close", "transfer", "return", "redraft"):
        assert f'/{verb}"' not in shown
    assert desk.post(case, "close", desk.form(case) | {"reason": "済み"}).status_code == 409


def test_nothing_written_before_the_citizens_last_words_goes_out(city: City) -> None:
    city.line_says("粗大ごみの出し方を教えてください")
    city.work()
    desk, case = city.hire("uketsuke"), city.case()
    with transaction(city.engine) as session:  # as the dialogue does when the citizen wants a person
        inquiries.hand_off(session, session.get_one(Inquiry, case.id), HandOffReason.asked_for_person)
    seen = desk.form(case) | {"text": "明日うかがいます。"}
    city.line_says("粗大ごみはやっぱり自分で運びました。収集に来なくて大丈夫です")
    city.work()
    assert desk.post(case, "write", seen).status_code == 409
    assert "明日うかがいます" not in [row.text for row in city.all(OutboxMessage)]


def test_a_second_matter_hears_what_the_citizen_adds_to_the_first(city: City) -> None:
    city.line_says("引っ越すので水道を止めたいです。それと、粗大ごみの回収も予約したいです。")
    city.work()
    [second] = city.all(Inquiry, col(Inquiry.linked_to).is_not(None))
    desk = city.hire("uketsuke")
    seen = desk.form(second)
    city.line_says("粗大ごみの回収の予約は要らなくなりました")
    city.work()
    assert desk.post(second, "approve", seen).status_code == 409
    assert "予約は要らなくなりました" in desk.page(f"/desk/cases/{second.id}")


def test_unsend_hides_the_words_everywhere(city: City) -> None:
    event = city.line.text(USER, "住所は秘密町1-2-3です。転入届について教えてください")
    city.webhook(city.line.body(event))
    city.work()
    unsend = city.line.event(USER, type="unsend", unsend={"messageId": event["message"]["id"]})
    city.webhook(city.line.body(unsend))
    _is_nowhere(city, "秘密町")
    city.webhook(city.line.body(event | {"webhookEventId": "01HREDELIVEREDUNDERANOTHERID"}))
    _is_nowhere(city, "秘密町")


def _is_nowhere(city: City, words: str) -> None:
    with city.engine.connect() as connection:
        for table in ("message", "inboundevent", "draft", "auditentry", "inquiry"):
            rows = connection.exec_driver_sql(f"SELECT * FROM {table}").fetchall()
            assert words not in str(rows), table
            escaped = words.encode("unicode_escape").decode()
            assert escaped not in str(rows).replace("\\\\", "\\"), table


def test_an_unsend_that_overtakes_its_message_still_hides_it(city: City) -> None:
    event = city.line.text(USER, "秘密町")
    unsend = city.line.event(USER, type="unsend", unsend={"messageId": event["message"]["id"]})
    city.webhook(city.line.body(unsend))
    city.webhook(city.line.body(event))
    _is_nowhere(city, "秘密町")
    city.work()
    assert not city.all(Inquiry)
    assert all(m.text == "" for m in city.all(Message, Message.direction == "in"))


def test_what_waited_for_a_missing_setting_goes_out_however_late_it_is_set(city: City) -> None:
    city.line_says(QUESTION)
    city.work()
    senders, city.senders = city.senders, {"webchat": city.senders["webchat"]}
    city.line_says("ほかに持ち物はありますか")
    city.work()
    _approve(city)
    city.deliver()
    failed = city.all(OutboxMessage, OutboxMessage.status == OutboxStatus.failed)
    assert any(row.reply_token for row in failed)
    assert any(row.approval_id for row in failed)
    days_later = now() - timedelta(days=3)
    with transaction(city.engine) as session:
        for row in failed:
            moved = session.get_one(OutboxMessage, row.id)
            moved.first_tried_at = moved.first_tried_at and days_later
            moved.reply_until = moved.reply_until and days_later
    city.senders = senders
    boss = city.hire("kakaricho", role=Role.supervisor)
    for row in failed:
        boss.client.post(f"/supervise/deliveries/{row.id}/retry", data={"csrf": boss.csrf})
    city.deliver_all()
    assert {row.status for row in city.all(OutboxMessage)} == {OutboxStatus.accepted}


def test_a_caseworker_ticks_other_sentences_and_gets_a_draft_of_exactly_these(city: City) -> None:
    city.line_says("粗大ごみの手数料はいくらですか")
    city.work()
    case, desk = city.case(), city.hire("uketsuke")
    form = desk.form(case)
    article = city.all(Draft)[0].passages[0]["article"]
    page = desk.page(f"/desk/cases/{case.id}")
    assert page.count('name="passage"') > page.count("checked")

    answer = desk.post(case, "recompose", form | {"passage": f"{article}#1"})
    assert answer.status_code == 303
    [draft] = city.all(Draft)
    assert [f"{p['article']}#{p['ordinal']}" for p in draft.passages] == [f"{article}#1"]
    assert draft.passages[0]["text"] in draft.text
    assert (draft.origin, draft.ready) == ("template", True)
    assert desk.post(case, "recompose", form).status_code == 422
    assert desk.post(case, "recompose", form | {"passage": "no-such#1"}).status_code == 422

    boss = city.hire("kansa", role=Role.auditor)
    assert boss.post(case, "recompose", boss.form(case) | {"passage": f"{article}#1"}).status_code == 403
    desk.post(case, "approve", desk.form(case))
    city.deliver_all()
    assert city.line.texts(USER)[-1] == draft.text


def test_a_supervisor_stops_the_drafts_of_a_department_and_work_goes_on(city: City) -> None:
    boss, desk = city.hire("kakaricho", role=Role.supervisor), city.hire("uketsuke")
    stop = {"department": "waste_environment", "on": "0"}
    assert desk.client.post("/supervise/drafting", data=stop | {"csrf": desk.csrf}).status_code == 403
    assert boss.client.post("/supervise/drafting", data=stop | {"csrf": boss.csrf}).status_code == 200
    assert "停止中" in boss.page("/supervise")
    city.line_says("粗大ごみの手数料はいくらですか")
    city.work()
    assert (city.case().status, city.case().hand_off_reason) == (InquiryStatus.with_person, "drafting_off")
    assert city.all(Draft) == []
    assert city.case().receipt_number in city.line.texts(USER)[-1]

    every = {"department": "all", "on": "1", "csrf": boss.csrf}
    assert boss.client.post("/supervise/drafting", data=every).status_code == 200
    assert "停止中" not in boss.page("/supervise")
    assert boss.client.post("/supervise/drafting", data=every | {"department": "x"}).status_code == 404


def test_a_department_may_have_a_frame_of_its_own(city: City, tmp_path: Path) -> None:
    folder = shutil.copytree(DATA, tmp_path / "data")
    path = folder / "departments.yaml"
    own = "phone: 0000-12-3108, frame: {closing: '{department}は土曜日も開いています。'},"
    path.write_text(path.read_text(encoding="utf-8").replace("phone: 0000-12-3108,", own), encoding="utf-8")
    city.writer = replace(city.writer, frame=load_frame(folder))
    city.line_says("粗大ごみの出し方を教えてください")
    city.line_says("住民票の写しがほしい", user=OTHER)
    city.work()
    texts = {city.case().id: "", city.case(OTHER).id: ""} | {d.inquiry_id: d.text for d in city.all(Draft)}
    mine, others = texts[city.case().id], texts[city.case(OTHER).id]
    assert mine.startswith("お問い合わせいただき、ありがとうございます。みなと市環境課です。")
    assert mine.endswith("環境課は土曜日も開いています。")
    assert "平日8時30分" not in mine
    assert others.endswith(city.case(OTHER).receipt_number)
