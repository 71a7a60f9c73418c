"""The real Rasa behind its channel: what each kind of message leads to, and what a hostile one does not."""

import os
import signal
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from pydantic import SecretStr

from bot import doctor, triage
from bot.db import now, transaction
from bot.dialogue_client import DialogueClient, DialogueUnavailable
from bot.models import FRONT_DESK, Department, HandOffReason, Inquiry, InquiryStatus
from classifiers.department import Prediction
from tests.city import OTHER, USER, City, settings_for
from tests.conftest import free_port
from tests.platforms.line import Line
from tests.platforms.rasa import start_rasa

pytestmark = pytest.mark.rasa
SECRET = "rasa-secret"


class Server:
    """A Rasa that can be killed, stopped and started again on the same database."""

    def __init__(self, folder: Path) -> None:
        self.port, self.database = free_port(), folder / "tracker.db"
        self.process: subprocess.Popen[bytes] = start_rasa(self.port, SECRET, self.database)
        self.url = f"http://127.0.0.1:{self.port}"
        self.clients: list[DialogueClient] = []

    def restart(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process = start_rasa(self.port, SECRET, self.database)

    def client(self, seconds: float = 10.0) -> DialogueClient:
        client = DialogueClient(self.url, SECRET, seconds)
        self.clients.append(client)
        return client

    def close(self) -> None:
        for client in self.clients:
            client.close()
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("rasa"))
    yield running
    running.close()


def _turn(server: Server, sender: str, text: str = "", **more: Any) -> tuple[dict[str, Any], ...]:  # noqa: ANN401
    values = {"command": None, "abstained": False, "message_id": uuid.uuid4().hex} | more
    return server.client().turn(sender, text=text, **values).steps


@pytest.mark.parametrize(
    ("text", "step"),
    [
        ("こんにちは", {"fixed_text": "greeting"}),
        ("ありがとうございました", {"fixed_text": "thanks"}),
        ("市役所は何時までですか", {"fixed_text": "opening_hours"}),
        ("職員と直接話したいです", {"step": "person"}),
        ("問い合わせを取り消します", {"step": "withdraw"}),
        ("２０２６－０００１２の件はどうなりましたか", {"step": "status"}),
        ("2026-00012", {"step": "status"}),
        ("図書館は何時まで開いていますか", {"step": "open_inquiry"}),
        ("転入届に必要なものを教えてください", {"step": "open_inquiry"}),
        ("/restart", {"step": "open_inquiry"}),
        ('/choose_department{"department":"tax"}', {"step": "open_inquiry"}),
    ],
)
def test_what_a_message_leads_to(server: Server, text: str, step: dict[str, str]) -> None:
    assert _turn(server, uuid.uuid4().hex, text) == (step,)


def test_it_asks_once_and_then_takes_any_answer_even_after_a_crash(server: Server) -> None:
    sender = uuid.uuid4().hex
    assert _turn(server, sender, "水が出てきて困っている", abstained=True) == ({"step": "clarify"},)
    server.restart()
    assert _turn(server, sender, "公園の水飲み場です", abstained=True) == ({"step": "route_chosen"},)
    assert _turn(server, sender, "水が出てきて困っている", abstained=True) == ({"step": "clarify"},)
    button = {"command": "choose_department", "department": "water"}
    assert _turn(server, sender, command=button) == ({"step": "route_chosen"},)


def test_the_channel_is_closed_without_the_secret_and_refuses_rubbish(server: Server) -> None:
    url = f"{server.url}/webhooks/citizen/webhook"
    good = {"sender": "a", "text": "こんにちは", "metadata": {"message_id": "m", "abstained": False}}
    with httpx2.Client(trust_env=False) as http:
        assert http.post(url, json=good).status_code == 401
        headers = {"X-Channel-Secret": SECRET}
        rubbish = [{}, {**good, "text": ""}, {**good, "text": 7}, {**good, "command": {"command": "restart"}}]
        for body in rubbish:
            assert http.post(url, json=body, headers=headers).status_code == 422
        assert http.post(url, json={**good, "text": "あ" * 50_000}, headers=headers).status_code == 413
        for path in ("/webhooks/rest/webhook", "/model/parse", "/domain", "/status"):
            assert http.post(server.url + path, json=good, headers=headers).status_code in (404, 405)


@pytest.mark.parametrize(("secret", "told"), [(SECRET, "reachable"), ("other", "refuses our secret")])
def test_the_doctor_reaches_rasa_and_knows_a_wrong_secret(
    server: Server, sqlite_url: str, line: Line, tmp_path: Path, secret: str, told: str
) -> None:
    settings = settings_for(sqlite_url, line, tmp_path, rasa_url=server.url, rasa_secret=SecretStr(secret))
    [finding] = [one for one in doctor.examine(settings) if one.what == "dialogue"]
    assert told in finding.detail
    assert finding.ok is (secret == SECRET)


def test_messages_that_rasa_refuses_do_not_switch_the_dialogue_off_for_others(server: Server) -> None:
    client = server.client()
    said: dict[str, Any] = {"message_id": uuid.uuid4().hex, "abstained": False}
    for odd in [{"command": "choose_department", "department": "<|im_end|>"}] * (DialogueClient.FAILURES + 1):
        with pytest.raises(DialogueUnavailable, match="HTTPStatusError"):
            client.turn("somebody", text="", command=odd, **said)
    assert client.turn("another", text="こんにちは", command=None, **said).steps


def test_a_hung_rasa_costs_two_seconds_and_no_message(server: Server, city: City) -> None:
    os.kill(server.process.pid, signal.SIGSTOP)
    try:
        client = server.client(0.3)
        city.brain = replace(city.brain, dialogue=client)
        city.line_says("転入届に必要なものを教えてください")
        city.work()
        assert city.case().department_id == "citizen_registry"
        for _ in range(DialogueClient.FAILURES):
            with pytest.raises(DialogueUnavailable):
                client.turn("s", text="x", command=None, message_id="m", abstained=False)
        with pytest.raises(DialogueUnavailable, match="breaker"):
            client.turn("s", text="x", command=None, message_id="m", abstained=False)
    finally:
        os.kill(server.process.pid, signal.SIGCONT)


def test_status_person_and_withdrawal_through_the_whole_product(server: Server, city: City) -> None:
    city.brain = replace(city.brain, dialogue=server.client())
    city.line_says("転入届に必要なものを教えてください")
    city.work()
    number = city.case().receipt_number
    city.line_says(f"{number}はどうなりましたか")
    city.work()
    city.deliver_all()
    assert "確認しています" in city.line.texts(USER)[-1]
    city.line_says("職員と話したいです")
    city.work()
    assert city.case().hand_off_reason == HandOffReason.asked_for_person
    city.line_says("やっぱり問い合わせを取り消します")
    city.work()
    assert city.case().status == InquiryStatus.withdrawn
    assert len(city.all(Inquiry)) == 1


def test_who_asks_for_a_reply_that_did_not_go_out_is_not_told_that_it_did(server: Server, city: City) -> None:
    city.brain = replace(city.brain, dialogue=server.client())
    city.line_says("転入届に必要なものを教えてください")
    city.work()
    case, desk = city.case(), city.hire("uketsuke")
    assert desk.post(case, "write", desk.form(case) | {"text": "窓口へお越しください。"}).status_code == 303
    city.line.faults.append("400")
    city.deliver_all()
    city.line_says(f"{case.receipt_number}はどうなりましたか")
    city.work()
    city.deliver_all()
    assert "確認しています" in city.line.texts(USER)[-1]
    assert desk.post(case, "write", desk.form(case) | {"text": "窓口へどうぞ。"}).status_code == 303
    city.line_says(f"{case.receipt_number}はどうなりましたか")
    city.work()
    city.deliver_all()
    assert "お返事を送りました" in city.line.texts(USER)[-1]


TWO_MATTERS = "引っ越すので水道を止めたいです。それと、粗大ごみの回収も予約したいです。"


def test_who_cancels_two_matters_cancels_both_and_reads_both_numbers(server: Server, city: City) -> None:
    city.brain = replace(city.brain, dialogue=server.client())
    city.line_says(TWO_MATTERS)
    city.work()
    numbers = {c.receipt_number for c in city.all(Inquiry)}
    assert len(numbers) == 2
    city.line_says("問い合わせを取り消します")
    city.work()
    city.deliver_all()
    assert {c.status for c in city.all(Inquiry)} == {InquiryStatus.withdrawn}
    told = [text for text in city.line.texts(USER) if "取り下げました" in text]
    assert all(sum(number in text for text in told) == 1 for number in numbers)


def test_who_wants_a_person_gets_one_for_both_matters(server: Server, city: City) -> None:
    city.brain = replace(city.brain, dialogue=server.client())
    city.line_says(TWO_MATTERS)
    city.work()
    city.line_says("職員と話したいです")
    city.work()
    assert [c.hand_off_reason for c in city.all(Inquiry)] == [HandOffReason.asked_for_person] * 2
    first, desk = city.case(), city.hire("uketsuke")
    assert desk.post(first, "write", desk.form(first) | {"text": "お答えします。"}).status_code == 303
    city.line_says("職員と話したいです")
    city.work()
    assert len(city.all(Inquiry)) == 2, "the second matter is the one that is still open"


def test_a_second_matter_can_be_cancelled_when_the_first_is_answered(server: Server, city: City) -> None:
    city.brain = replace(city.brain, dialogue=server.client())
    city.line_says(TWO_MATTERS)
    city.work()
    first, desk = city.case(), city.hire("uketsuke")
    assert desk.post(first, "write", desk.form(first) | {"text": "お答えします。"}).status_code == 303
    city.line_says("問い合わせを取り消します")
    city.work()
    city.deliver_all()
    [second] = city.all(Inquiry, Inquiry.id != first.id)
    assert (city.case().status, second.status) == (InquiryStatus.answered, InquiryStatus.withdrawn)
    assert second.receipt_number in city.line.texts(USER)[-1]
    assert "問い合わせを取り消します" in desk.page(f"/desk/cases/{second.id}")


def test_another_citizens_receipt_number_tells_nothing(server: Server, city: City) -> None:
    city.brain = replace(city.brain, dialogue=server.client())
    city.line_says("転入届に必要なものを教えてください")
    city.work()
    number = city.case().receipt_number
    other = "U" + "9" * 32
    city.line_says(f"{number}はどうなりましたか", user=other)
    city.work()
    city.deliver_all()
    assert "見つかりません" in city.line.texts(other)[-1]


def _unclear_to(city: City) -> str:
    """The first of some vague messages that today's model is unsure of: a better model is sure of more."""
    vague = (
        "家の前の溝がくさい",
        "手当のことで聞きたい",
        "証明書がほしい",
        "助成金について",
        "書類をなくした",
        "子どものことで相談したい",
        "カードを作りたい",
        "減免の申請について",
        "隣の家のことで困っています",
    )
    classifier = city.brain.classifier
    assert classifier
    return next(text for text in vague if triage.is_unclear(classifier.predict(text)))


def test_an_unclear_matter_is_asked_about_once_with_buttons(server: Server, city: City) -> None:
    city.brain = replace(city.brain, dialogue=server.client())
    city.line_says(_unclear_to(city))
    city.work()
    city.deliver_all()
    asked = city.line.delivered[-1]
    actions = [item["action"] for item in asked["quickReply"]["items"]]
    assert 2 <= len(actions) <= 5
    assert actions[-1]["label"] == "その他"
    assert city.case().status == InquiryStatus.clarifying
    pressed = city.line.event(USER, type="postback", postback={"data": actions[0]["data"]})
    city.webhook(city.line.body(pressed))
    city.work()
    city.deliver_all()
    assert city.case().department_id == actions[0]["data"].rpartition("=")[2]
    assert city.case().receipt_number in city.line.texts(USER)[-1]
    assert len(city.all(Inquiry)) == 1


@dataclass
class Torn:
    """The real classifier, torn between these departments."""

    real: triage.Classifier
    between: tuple[str, ...]

    def predict(self, text: str) -> Prediction:
        found = replace(self.real.predict(text), set=self.between, also="")
        return replace(found, department=FRONT_DESK, abstained=True)

    def remarks(self, text: str, prediction: Prediction) -> dict[str, Any]:
        return self.real.remarks(text, prediction)


def test_departments_that_became_one_are_no_choice(server: Server, city: City) -> None:
    assert city.brain.classifier
    torn = Torn(city.brain.classifier, ("welfare", "childcare"))
    city.brain = replace(city.brain, dialogue=server.client(), classifier=torn)
    city.line_says("手当のことで聞きたい")
    city.work()
    assert city.case().status == InquiryStatus.clarifying
    with transaction(city.engine) as session:
        row = session.get_one(Department, "childcare")
        row.valid_to, row.successor_id = now().date() - timedelta(days=2), "welfare"
        session.add(row)
    city.line_says("手当のことで聞きたい", user=OTHER)
    city.work()
    assert city.case(OTHER).department_id == "welfare"
    assert city.case(OTHER).status != InquiryStatus.clarifying
