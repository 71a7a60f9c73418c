"""Rubbish at the edges: a typed error or a stored, visible event; never a 500, never a lost message."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
import sqlalchemy as sa

from bot.db import make_engine
from bot.models import AuditEntry, EventStatus, HandOffReason, InboundEvent, Inquiry, Message, Role
from tests.city import USER, City, Desk, open_city
from tests.platforms.line import Line


def test_a_wrong_or_missing_signature_stores_nothing(city: City) -> None:
    body = city.line.body(city.line.text(USER, "こんにちは"))
    for headers in ({}, {"x-line-signature": "x"}, {"x-line-signature": "x" * 400}):
        assert city.client.post("/webhooks/line", content=body, headers=headers).status_code == 401
    assert (
        city.client.post("/webhooks/line", content=body + b" ", headers=city.line.headers(body)).status_code
        == 401
    )
    assert not city.all(InboundEvent)


def test_an_older_secret_still_counts_while_it_is_replaced(city: City) -> None:
    city.line.secret = "older-secret"
    city.line_says("こんにちは")
    assert len(city.all(InboundEvent)) == 1


def test_the_verify_button_of_line_gets_its_200(city: City) -> None:
    assert city.webhook(city.line.body()) == {"stored": 0}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'{"events": {}}',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"events":[' + b"1" * 1_000_000 + b"]}",
    ],
)
def test_a_body_that_is_no_webhook_is_kept_and_shown(city: City, body: bytes) -> None:
    city.webhook(body)
    [event] = city.all(InboundEvent)
    assert event.status == EventStatus.malformed
    assert "形式の誤り" in city.hire("kakaricho", role=Role.supervisor).page("/supervise")


def test_a_body_over_the_limit_is_refused_with_a_typed_error(city: City) -> None:
    body = b" " * 4_100_000
    answer = city.client.post("/webhooks/line", content=body, headers=city.line.headers(body))
    assert (answer.status_code, answer.json()["error"]) == (413, "TooLarge")


@pytest.mark.parametrize(
    ("path", "kind", "begins"),
    [
        ("/webhooks/line", "application/json", b"["),
        ("/chat/messages", "application/json", b'{"client_id": "'),
        ("/desk/login", "application/x-www-form-urlencoded", b"login="),
        (
            "/desk/login",
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="login"; filename="x"\r\n\r\n',
        ),
    ],
    ids=["line", "chat", "login", "login with a file"],
)
def test_a_body_without_an_end_is_refused_before_it_is_all_there(
    city: City, path: str, kind: str, begins: bytes
) -> None:
    sent = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal sent
        yield begins
        while sent < 20_000_000:
            sent += 100_000
            yield b"a" * 100_000

    async def post() -> httpx.Response:
        app = httpx.ASGITransport(city.client.app)
        async with httpx.AsyncClient(transport=app, base_url="http://city") as client:
            return await client.post(path, content=body(), headers={"Content-Type": kind})

    answer = asyncio.run(post())
    assert answer.status_code == 413
    assert "入力が大きすぎます" in answer.text
    assert answer.headers["Content-Type"].startswith("text/html" if "desk" in path else "application/json")
    assert sent < 5_000_000


def test_an_article_that_is_far_too_long_stays_on_the_screen(city: City) -> None:
    boss = city.hire("kakaricho", role=Role.supervisor)
    form = {"csrf": boss.csrf, "id": "long", "title": "長い記事", "department": "tax", "body": "税" * 120_000}
    answer = boss.client.post("/desk/knowledge/new", data=form)
    assert answer.status_code == 422
    assert "本文が長すぎます(360KB)" in answer.text
    assert form["body"] in answer.text


def test_unknown_events_are_kept_and_shown(city: City) -> None:
    city.webhook(city.line.body(city.line.event(USER, type="somethingNew", payload={"a": 1})))
    [event] = city.all(InboundEvent)
    assert event.status == EventStatus.unknown
    boss = city.hire("kakaricho", role=Role.supervisor)
    assert "未知の種類" in boss.page("/supervise")
    boss.client.post(f"/supervise/events/{event.id}/seen", data={"csrf": boss.csrf})
    assert "未知の種類" not in boss.page("/supervise")


@pytest.mark.parametrize("path", ["deliveries/{}/retry", "events/{}/seen"])
def test_what_is_not_there_on_the_overview_is_not_found(city: City, path: str) -> None:
    boss = city.hire("kakaricho", role=Role.supervisor)
    before = len(city.all(AuditEntry))
    answer = boss.client.post(f"/supervise/{path.format(uuid4())}", data={"csrf": boss.csrf})
    assert (answer.status_code, len(city.all(AuditEntry))) == (404, before)


@pytest.mark.parametrize(
    "text",
    [
        "\x00転入届の\x00こと",
        "転入届 \ud83d です",
        "あ" * 5001,
        "😀" * 2501,
        "😀😀😀",
        "   ",
        "https://example.com/x",
        "a" * 1_000_000,
    ],
    ids=["nul", "surrogate", "5001", "5002 units", "emoji", "blank", "url", "1 MB"],
)
def test_any_text_becomes_a_stored_message_and_ends_somewhere_a_person_sees(city: City, text: str) -> None:
    event = city.line.text(USER, "")
    event["message"]["text"] = text
    body = json.dumps({"events": [event]}).encode()
    city.webhook(body)
    city.work()
    [message] = city.all(Message, Message.direction == "in")
    assert message.triaged_at is not None
    assert "\x00" not in message.text
    boss = city.hire("kakaricho", role=Role.supervisor)
    assert city.all(Inquiry) or "案件になっていない発言" in boss.page("/supervise")


@pytest.mark.parametrize("char", ["😀", "𠮷"])
def test_a_case_of_five_long_messages_in_large_characters_opens(city: City, desk: Desk, char: str) -> None:
    city.line_says("転入届に必要なものを教えてください", *[char * 2_500] * 5)
    city.work()
    assert char * 2_500 in desk.page(f"/desk/cases/{city.case().id}")


def test_a_sticker_alone_gets_a_fixed_text_and_is_seen(city: City) -> None:
    sticker = {"id": "1", "type": "sticker", "packageId": "1", "stickerId": "2", "stickerResourceType": "NEW"}
    city.webhook(city.line.body(city.line.event(USER, sticker)))
    city.work()
    city.deliver_all()
    assert "文字で送って" in city.line.texts(USER)[-1]
    assert "〔スタンプ〕" in city.hire("kakaricho", role=Role.supervisor).page("/supervise")


@pytest.mark.parametrize("data", ["", "richmenu=2", "action=garbage&itemid=123", '{"action": "x"}'])
def test_a_tap_on_the_citys_rich_menu_is_no_inquiry(city: City, data: str) -> None:
    city.webhook(city.line.body(city.line.event(USER, type="postback", postback={"data": data})))
    city.work()
    city.deliver_all()
    assert not city.all(Inquiry)
    assert city.line.texts(USER) == []
    [event] = city.all(InboundEvent)
    assert event.status == EventStatus.ignored


def test_an_odd_timestamp_or_reply_token_costs_nothing(city: City) -> None:
    event = city.line.text(USER, "転入届に必要なものを教えてください") | {
        "timestamp": "soon",
        "replyToken": 7,
    }
    city.webhook(city.line.body(event))
    city.work()
    assert city.case().department_id == "citizen_registry"


def test_without_a_classifier_every_message_reaches_the_front_desk(city: City) -> None:
    city.without_classifier()
    city.line_says("転入届に必要なものを教えてください")
    city.work()
    assert (city.case().department_id, city.case().hand_off_reason) != ("citizen_registry", None)
    assert city.case().department_id == "front_desk"


def test_an_emergency_gets_the_notice_at_once_and_alarms_people(city: City) -> None:
    city.line_says("助けて、夫に殴られています")
    city.work()
    city.deliver_all()
    assert any("110" in t for t in city.line.texts(USER))
    assert city.case().hand_off_reason == HandOffReason.emergency
    boss = city.hire("kakaricho", role=Role.supervisor)
    assert 'class="alarm"' in boss.page("/desk")
    boss.post(city.case(), "acknowledge", {"csrf": boss.csrf})
    assert 'class="alarm"' not in boss.page("/desk")


def test_a_reply_that_is_too_long_or_empty_is_refused_and_kept_on_the_screen(city: City) -> None:
    city.line_says("転入届に必要なものを教えてください")
    city.work()
    desk, case = city.hire("uketsuke"), city.case()
    for text, why in (
        ("😀" * 2501, "長すぎます"),
        ("  ", "本文が空です"),
        ("番号は1234-5678-9018です", "マイナンバー"),
    ):
        refused = desk.post(case, "write", desk.form(case) | {"text": text})
        assert refused.status_code == 422
        assert why in refused.text
        assert text.strip() in refused.text


@pytest.mark.parametrize(
    ("path", "status", "why"),
    [
        ("/desk/cases/12345", 400, "入力の形式が正しくありません"),
        ("/desk/knowledge?start=x", 400, "入力の形式が正しくありません"),
        ("/desk/case", 404, "ページが見つかりません"),
        ("/supervise/mode", 404, "ページが見つかりません"),  # a button's address, opened
    ],
)
def test_a_wrong_address_is_told_in_japanese_with_a_way_back(
    city: City, path: str, status: int, why: str
) -> None:
    answer = city.hire("kakaricho", role=Role.supervisor).client.get(path)
    assert answer.status_code == status
    assert why in answer.text
    assert 'href="/desk"' in answer.text
    assert city.client.get("/chat/nowhere").json() == {"detail": "Not Found"}


def test_no_verb_finds_a_case_that_is_not_there(writing: City) -> None:
    desk = writing.hire("tantou")
    form = {"csrf": desk.csrf, "version": "1", "draft_id": str(uuid4()), "text": "x", "want": "easy"}
    verbs = ("approve", "leave", "write", "recompose", "return", "transfer", "close", "redraft", "reword")
    for verb in (*verbs, "acknowledge", "check", "second", "second/check"):
        answer = desk.client.post(f"/desk/cases/{uuid4()}/{verb}", data=form | {"reason": "x"})
        assert answer.status_code == 404, verb


def test_a_nul_in_what_is_looked_for_is_no_character(city: City, desk: Desk) -> None:
    city.line_says("粗大ごみの出し方を教えてください")
    city.work()
    case = f"/desk/cases/{city.case().id}"
    assert 'class="found"' in desk.page(f"{case}?words=粗大%00ごみ")
    assert 'type="checkbox" name="passage" value="waste-bulky#' in desk.page(f"{case}?article=waste-%00bulky")
    assert city.case().receipt_number in desk.page("/desk?department=waste_environment%00")
    assert "粗大ごみ" in desk.page("/desk/knowledge?department=%00&q=粗大%00ごみ")
    form = desk.form(city.case()) | {"reason": "確かめ", "department": "\0", "passage": "\0#1"}
    for verb in ("transfer", "recompose"):
        assert desk.post(city.case(), verb, form).status_code == 422
    signing_in = {"login": "tan\0tou", "password": "correct \0horse"}
    assert city.client.post("/desk/login", data=signing_in, follow_redirects=False).status_code in (303, 401)


def test_the_web_chat_refuses_forged_tokens_and_rubbish(city: City) -> None:
    token = city.client.post("/chat/session").json()["token"]
    good = {"Authorization": f"Bearer {token}"}
    said = {"client_id": "0123456789", "text": "転入届のことです"}
    assert city.client.post("/chat/messages", json=said).status_code == 401
    forged = {"Authorization": f"Bearer {token[:-2]}xx"}
    assert city.client.post("/chat/messages", json=said, headers=forged).status_code == 401
    for body in ({}, {"client_id": "x", "text": "a"}, {**said, "text": " "}, {**said, "text": "a" * 5001}):
        assert city.client.post("/chat/messages", json=body, headers=good).status_code in (400, 422)
    ours = {"command": "choose_department", "department": "tax"}
    for forged in (
        {"x": "y"},
        {"command": "approve"},
        ours | {"command": "x"},
        ours | {"department": "a" * 9999},
    ):
        pressed = {"client_id": "9876543210", "command": forged}
        assert city.client.post("/chat/messages", json=pressed, headers=good).status_code == 422
    assert not city.all(Message)
    assert city.client.post("/chat/messages", json=said, headers=good).json() == {"new": True}
    assert city.client.post("/chat/messages", json=said, headers=good).json() == {"new": False}
    city.work()
    shown = city.client.get("/chat/messages", headers=good).json()["messages"]
    assert [m["from"] for m in shown].count("citizen") == 1
    assert any("受け付けました" in m["text"] for m in shown)


def test_half_a_character_in_the_web_chat_is_stored_as_on_line_and_breaks_no_refusal(city: City) -> None:
    headers = {
        "Authorization": f"Bearer {city.client.post('/chat/session').json()['token']}",
        "Content-Type": "application/json",
    }
    # As JavaScript writes it: httpx would refuse to encode the half itself.
    good = r'{"client_id": "0123456789", "text": "転入届 \ud83d です"}'.encode()
    assert city.client.post("/chat/messages", content=good, headers=headers).json() == {"new": True}
    assert [m.text for m in city.all(Message)] == ["転入届 \ufffd です"]
    for bad in (
        rb'{"client_id": "\ud83d", "text": "a"}',
        rb'{"client_id": "0123456780", "command": {"command": "\ud83d", "department": "tax"}}',
        rb'{"client_id": "0123456780", "text": ["\ud83d"]}',
    ):
        answer = city.client.post("/chat/messages", content=bad, headers=headers)
        assert answer.status_code in (400, 422)
    assert len(city.all(Message)) == 1


@pytest.mark.parametrize("after", [2**31, 2**63, 10**400, -1], ids=["32 bits", "64 bits", "long", "minus"])
def test_a_sequence_number_that_cannot_be_is_refused(city: City, after: int) -> None:
    headers = {"Authorization": f"Bearer {city.client.post('/chat/session').json()['token']}"}
    for path in ("messages", "events"):
        assert city.client.get(f"/chat/{path}?after={after}", headers=headers).status_code == 422
    assert city.client.get(f"/chat/messages?after={2**31 - 1}", headers=headers).json() == {"messages": []}


@pytest.mark.parametrize("before", [2**31, 2**63, 10**400, -1], ids=["32 bits", "64 bits", "long", "minus"])
def test_an_older_page_of_the_log_that_cannot_be_is_refused(city: City, before: int) -> None:
    boss = city.hire("kansa", role=Role.auditor)
    answer = boss.client.get(f"/supervise/audit?before={before}")
    assert answer.status_code == 400
    assert "入力の形式が正しくありません" in answer.text
    assert "kansa" in boss.page(f"/supervise/audit?before={2**31 - 1}")


def test_a_full_disk_makes_line_send_again_and_is_said_at_the_desk(
    sqlite_url: str, line: Line, tmp_path: Path
) -> None:
    full = False

    def limit(connection: Any, _record: object, _proxy: object) -> None:  # noqa: ANN401
        pages = connection.execute("PRAGMA page_count").fetchone()[0] if full else 1 << 30
        connection.execute(f"PRAGMA max_page_count={pages}")

    engine = make_engine(sqlite_url)
    sa.event.listen(engine, "checkout", limit)
    with open_city(engine, sqlite_url, line, tmp_path) as city:
        city.line_says("粗大ごみの出し方を教えてください")
        city.work()
        desk, case = city.hire("kankyo"), city.case()
        reply = desk.form(case) | {"text": "窓口へお越しください。" * 300}
        body = line.body(line.text(USER, "ごみの日はいつですか" * 400))
        full = True
        answer = city.client.post("/webhooks/line", content=body, headers=line.headers(body))
        refused = desk.post(case, "write", reply)
        full = False
        assert (answer.status_code, answer.json()["error"]) == (503, "StorageUnavailable")
        assert refused.status_code == 503
        assert "容量不足" in refused.text
        assert len([m for m in city.all(Message) if m.direction == "in"]) == 1
        assert desk.post(case, "write", reply).status_code == 303
        city.webhook(body)
        assert "ごみの日はいつですか" * 400 in [m.text for m in city.all(Message)]
    engine.dispose()
