"""Routing at work: two matters, alarms, learning from transfers, models that change, departments that end."""

import json
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import numpy as np
import pytest
import sqlalchemy as sa
from sqlmodel import col, select

from bot import (
    conversations,
    doctor,
    drafting,
    inquiries,
    learning,
    monitoring,
    organisation,
    services,
    triage,
    workflow,
)
from bot.article_index import Knowledge
from bot.city import BadCityFile, load
from bot.db import now, reading, transaction
from bot.dialogue_client import Turn
from bot.models import (
    FRONT_DESK,
    AuditEntry,
    Conversation,
    Department,
    Draft,
    DraftStatus,
    HandOffReason,
    Incident,
    Inquiry,
    InquiryStatus,
    Message,
    ModelStatus,
    Role,
    RoutingModel,
    TrainingExample,
    Transfer,
)
from classifiers.department import Prediction
from classifiers.freshness import inputs_hash
from tests.city import CLASSIFIER, DATA, OTHER, USER, City, Desk

TWO_MATTERS = "引っ越すので水道を止めたいです。それと、粗大ごみの回収も予約したいです。"
GARBAGE = "粗大ごみの出し方を教えてください"


def _transfer(city: City, desk: Desk, inquiry: Inquiry, to: str) -> None:
    form = desk.form(inquiry) | {"department": to, "reason": "担当が違うため"}
    assert desk.post(inquiry, "transfer", form).status_code == 303


def _answer(desk: Desk, inquiry: Inquiry) -> None:
    assert desk.post(inquiry, "write", desk.form(inquiry) | {"text": "お答えします。"}).status_code == 303


def _release(city: City, desk: Desk, inquiry: Inquiry, version: int | None = None) -> int:
    """Press 使う beside a lesson, as the page shows it now or as it showed it at that version."""
    url = f"/supervise/routing/lessons/{inquiry.id}"
    form = {"csrf": desk.csrf, "version": version or _case(city, inquiry.id).version, "use": "1"}
    return int(desk.client.post(url, data=form, follow_redirects=False).status_code)


def _unsend(city: City, event: dict[str, Any]) -> dict[str, Any]:
    return city.line.event(USER, type="unsend", unsend={"messageId": event["message"]["id"]})


def _case(city: City, inquiry_id: object) -> Inquiry:
    [found] = city.all(Inquiry, Inquiry.id == inquiry_id)
    return found  # type: ignore[no-any-return]


def test_two_matters_become_two_linked_cases_with_one_thread(city: City) -> None:
    city.line_says(TWO_MATTERS)
    city.work()
    cases = city.all(Inquiry)
    assert {c.department_id for c in cases} == {"water", "waste_environment"}
    [second] = [c for c in cases if c.linked_to]
    [first] = [c for c in cases if not c.linked_to]
    assert second.linked_to == first.id
    assert sum(second.receipt_number in text for text in city.line.texts(USER)) == 1
    assert {d.inquiry_id for d in city.all(Draft)} == {first.id, second.id}

    desk = city.hire("uketsuke")
    for case, other in ((first, second), (second, first)):
        page = desk.page(f"/desk/cases/{case.id}")
        assert "水道を止めたい" in page
        assert other.receipt_number in page
    assert desk.page("/desk").count("水道を止めたい") == 2
    _answer(desk, second)
    assert "お答えします。" in desk.page(f"/desk/cases/{first.id}")

    city.line_says("水道は今月末で止めてください")
    city.work()
    assert {m.inquiry_id for m in city.all(Message, Message.direction == "in")} == {first.id}


def test_the_search_is_told_what_a_new_case_would_know_of_its_department(city: City) -> None:
    routed = services.load_routed(city.settings, CLASSIFIER, {})
    assert routed is not None
    assert routed(GARBAGE) == {"waste_environment": 1.0}
    assert routed(TWO_MATTERS) == {"water": 1.0, "waste_environment": 1.0}
    assert sum(routed("手続きについて").values()) == pytest.approx(1.0)
    assert routed("") == {}
    later = services.load_routed(city.settings, CLASSIFIER, {"water": "roads_parks", "tax": "roads_parks"})
    assert later is not None
    assert later(TWO_MATTERS) == {"roads_parks": 1.0, "waste_environment": 1.0}
    assert sum(later("手続きについて").values()) == pytest.approx(1.0)
    assert not {"water", "tax"} & later("手続きについて").keys()


def test_without_a_classifier_the_search_knows_no_department(city: City, tmp_path: Path) -> None:
    assert services.load_routed(city.settings, tmp_path / "none", {}) is None


def test_taking_the_words_back_takes_both_cases_back(city: City) -> None:
    event = city.line.text(USER, TWO_MATTERS)
    city.webhook(city.line.body(event))
    city.work()
    city.webhook(city.line.body(_unsend(city, event)))
    assert {c.status for c in city.all(Inquiry)} == {InquiryStatus.withdrawn}
    assert all(c.prediction["words"] == [] for c in city.all(Inquiry))


def _said_twice(city: City, text: str) -> dict[str, Any]:
    """A citizen writes twice; the event of the second message, which may be taken back."""
    city.line_says(text)
    event = city.line.text(USER, "もう一つ書き足します")
    city.webhook(city.line.body(event))
    city.work()
    return event


def test_who_asked_for_a_person_and_takes_words_back_still_waits_for_a_person(city: City) -> None:
    event = _said_twice(city, GARBAGE)
    case = city.case()
    with transaction(city.engine) as session:
        asked = inquiries.locked(session, case.id)
        inquiries.supersede(session, asked)
        inquiries.hand_off(session, asked, HandOffReason.asked_for_person)
    city.webhook(city.line.body(_unsend(city, event)))
    city.work()
    case = city.case()
    assert (case.status, case.hand_off_reason) == (
        InquiryStatus.with_person,
        HandOffReason.asked_for_person,
    )
    assert city.all(Draft, Draft.status == DraftStatus.pending) == []


def test_words_of_an_emergency_taken_back_void_the_draft_and_leave_the_alarm(city: City) -> None:
    event, desk = _said_twice(city, "家が燃えています、助けて"), city.hire("uketsuke")
    case = city.case()
    assert desk.post(case, "redraft", desk.form(case)).status_code == 303
    city.work()
    assert city.all(Draft, Draft.status == DraftStatus.pending)
    city.webhook(city.line.body(_unsend(city, event)))
    assert city.all(Draft, Draft.status == DraftStatus.pending) == []
    case = city.case()
    assert (case.status, case.hand_off_reason) == (InquiryStatus.with_person, HandOffReason.emergency)


def test_a_question_back_ends_with_the_words_that_it_was_about(city: City) -> None:
    event = city.line.text(USER, "書類をなくした")
    city.webhook(city.line.body(event))
    _clarifying(city)
    city.webhook(city.line.body(_unsend(city, event)))
    workflow.sweep(city.engine)
    assert city.case().status == InquiryStatus.withdrawn


def test_a_question_back_stays_while_words_are_left(city: City) -> None:
    city.line_says("書類をなくした")
    _clarifying(city)
    event = city.line.event(USER, {"id": "8" * 18, "type": "image", "contentProvider": {"type": "line"}})
    city.webhook(city.line.body(event))
    city.work()
    city.webhook(city.line.body(_unsend(city, event)))
    assert city.case().status == InquiryStatus.clarifying


def test_the_desk_shows_the_words_that_decided(city: City) -> None:
    city.line_says(GARBAGE)
    city.work()
    page = city.hire("uketsuke").page(f"/desk/cases/{city.case().id}")
    assert "判定に効いた言葉" in page
    assert "<mark>" in page


def test_an_alarm_that_nobody_takes_note_of_reaches_everybody(city: City) -> None:
    city.line_says("家が燃えています、助けて")
    city.work()
    case = city.case()
    assert (case.emergency, case.hand_off_reason) == (True, HandOffReason.emergency)
    desk = city.hire("uketsuke")
    assert "家が燃えています" in desk.page(f"/desk/cases/{case.id}")
    assert '<span class="tag bad">緊急</span>' in desk.page("/desk")
    elsewhere = city.hire("zeimu", department="tax")
    asked = elsewhere.client.get("/desk/alarms").json()
    assert (asked == []) == (case.department_id != "tax")

    workflow.sweep(city.engine)
    assert _case(city, case.id).alarm_escalated_at is None
    with transaction(city.engine) as session:
        session.execute(sa.update(Inquiry).values(status_since=now() - timedelta(minutes=6)))
    workflow.sweep(city.engine)
    assert _case(city, case.id).alarm_escalated_at is not None
    [told] = elsewhere.client.get("/desk/alarms").json()
    assert (told["receipt_number"], told["escalated"]) == (case.receipt_number, "まだ誰も確認していません")
    assert "まだ誰も確認していません" in elsewhere.page("/desk")

    answer = elsewhere.client.post(f"/desk/cases/{case.id}/acknowledge", data={"csrf": elsewhere.csrf})
    assert answer.status_code == 200
    assert case.receipt_number in answer.text
    assert elsewhere.client.get("/desk/alarms").json() == []


def test_a_corrected_case_becomes_a_lesson_only_with_a_supervisor_and_without_personal_data(
    city: City,
) -> None:
    event = city.line.text(USER, "粗大ごみの予約をしたいです。山田太郎です。電話は090-1234-5678です")
    city.webhook(city.line.body(event))
    city.work()
    case, desk = city.case(), city.hire("uketsuke")
    boss = city.hire("kakaricho", role=Role.supervisor)
    _transfer(city, desk, case, "general_affairs")
    assert "粗大ごみの予約" not in boss.page("/supervise/routing")
    _answer(desk, _case(city, case.id))
    page = boss.page("/supervise/routing")
    assert "粗大ごみの予約" in page
    assert "090-1234-5678" not in page

    assert _release(city, desk, case) == 403
    assert _release(city, boss, case) == 303
    [example] = city.all(TrainingExample)
    assert (example.department_id, example.used) == ("general_affairs", True)
    assert "090-1234-5678" not in example.text
    assert "山田" not in example.text
    assert _release(city, boss, case) == 409

    city.webhook(city.line.body(_unsend(city, event)))
    assert city.all(TrainingExample) == []


def test_a_model_tells_how_many_of_its_cases_were_taken_back_since(
    city: City, challenger: RoutingModel
) -> None:
    event = city.line.text(USER, GARBAGE)
    city.webhook(city.line.body(event))
    city.work()
    case, desk = city.case(), city.hire("uketsuke")
    boss = city.hire("kakaricho", role=Role.supervisor)
    _transfer(city, desk, case, "general_affairs")
    _answer(desk, _case(city, case.id))
    assert _release(city, boss, case) == 303
    [example] = city.all(TrainingExample)
    with transaction(city.engine) as session:
        row = session.get_one(RoutingModel, challenger.id)
        row.examples, row.lessons = 1, [str(example.id)]
    assert "うち取消し" not in boss.page("/supervise/routing")

    city.webhook(city.line.body(_unsend(city, event)))
    page = boss.page("/supervise/routing")
    assert '<td>1件 <span class="tag bad">うち取消し1件</span></td>' in page
    assert "学習し直してください" in page
    boss.client.post(f"/supervise/routing/models/{challenger.id}/refuse", data={"csrf": boss.csrf})
    assert "うち取消し" not in boss.page("/supervise/routing")


def test_nobody_releases_words_that_came_after_the_page_was_opened(city: City) -> None:
    city.line_says(GARBAGE)
    city.work()
    case, desk = city.case(), city.hire("uketsuke")
    boss = city.hire("kakaricho", role=Role.supervisor)
    _transfer(city, desk, case, "general_affairs")
    _answer(desk, _case(city, case.id))
    read = _case(city, case.id).version
    assert f'name="version" value="{read}"' in boss.page("/supervise/routing")
    city.line_says("妻のはなこが入院していて運べません。いくらかかりますか")
    city.work()
    _transfer(city, desk, _case(city, case.id), "tax")
    _answer(desk, _case(city, case.id))
    assert _release(city, boss, case, version=read) == 409
    assert city.all(TrainingExample) == []
    assert "はなこ" in boss.page("/supervise/routing")
    assert _release(city, boss, case) == 303


def test_a_case_that_was_no_departments_matter_is_a_lesson_and_counts_against_the_routing(
    city: City, tmp_path: Path
) -> None:
    city.line_says(GARBAGE)
    city.work()
    case, desk = city.case(), city.hire("kankyo", department="waste_environment")
    boss = city.hire("kakaricho", role=Role.supervisor)
    form = {"reason": "県の施設の件"}
    assert desk.post(case, "close", desk.form(case) | form | {"belongs_to": "tax"}).status_code == 422
    assert (
        desk.post(case, "close", desk.form(case) | form | {"belongs_to": "out_of_scope"}).status_code == 303
    )
    assert "市役所の所管外</td>" in boss.page("/supervise/routing")
    assert _release(city, boss, case) == 303
    [example] = city.all(TrainingExample)
    file = tmp_path / "train.jsonl"
    file.write_text("")
    learning.add_cases(file, [example])
    row = json.loads(file.read_text(encoding="utf-8"))
    assert (row["text"], row["department"]) == (GARBAGE, "out_of_scope")
    file.write_text("")
    (tmp_path / "test.jsonl").write_text(json.dumps({"text": GARBAGE}), encoding="utf-8")
    learning.add_cases(file, [example])
    assert file.read_text(encoding="utf-8") == "", "a model that learnt an answer cannot be asked for it"
    with reading(city.engine) as session:
        report = monitoring.examine(session, city.settings, now().date())
    [quality] = [r for r in report.departments if r.department == "waste_environment"]
    assert (quality.sent, quality.precision) == (1, 0.0)


def test_two_matters_are_no_lesson_and_cases_without_words_hide_none(city: City) -> None:
    city.line_says(TWO_MATTERS)
    city.line_says(GARBAGE, user=OTHER)
    city.work()
    with transaction(city.engine) as session:
        cases = session.exec(select(Inquiry)).all()
        assert len(cases) == 3
        for one in cases:
            one.status, one.belongs_to = InquiryStatus.closed, "out_of_scope"
        for number in range(3):  # older ones whose words were taken back
            session.add(
                Inquiry(
                    conversation_id=one.conversation_id, receipt_number=f"R-{number}", department_id="tax",
                    status=InquiryStatus.closed, belongs_to="account", due_at=now(),
                    created_at=now() - timedelta(days=1),
                )
            )  # fmt: skip
    with reading(city.engine) as session:
        assert [one.inquiry.id for one in learning.lessons(session, limit=2)] == [city.case(OTHER).id]
    with transaction(city.engine) as session:  # a second matter that nobody opened is one all the same
        session.exec(select(Inquiry).where(col(Inquiry.linked_to).is_not(None))).one().linked_to = None
        assert len(learning.lessons(session)) == 1


def test_a_case_whose_follow_up_told_of_a_second_matter_is_no_lesson(city: City) -> None:
    city.line_says("水道料金の支払い方法を教えてください")
    city.work()
    city.line_says(TWO_MATTERS)
    city.work()
    desk, first = city.hire("uketsuke"), city.case()
    assert first.prediction["also"] == ""
    assert len(city.all(Inquiry, Inquiry.linked_to == first.id)) == 1
    _transfer(city, desk, first, "tax")
    _answer(desk, _case(city, first.id))
    with reading(city.engine) as session:
        assert learning.lessons(session) == []


def test_an_emergency_and_an_unfinished_case_are_no_lessons(city: City) -> None:
    for user, text in ((USER, "隣の家が燃えています"), (OTHER, GARBAGE)):
        city.line_says(text, user=user)
    city.work()
    desk, boss = city.hire("uketsuke"), city.hire("kakaricho", role=Role.supervisor)
    for user in (USER, OTHER):
        _transfer(city, desk, city.case(user), "general_affairs")
    with transaction(city.engine) as session:
        emergency = session.get_one(Inquiry, city.case(USER).id)
        emergency.status = InquiryStatus.closed
        session.add(emergency)
    assert "隣の家" not in boss.page("/supervise/routing")
    for user in (USER, OTHER):
        assert _release(city, boss, city.case(user)) == 409
    assert city.all(TrainingExample) == []


def test_a_case_that_is_passed_around_is_seen(city: City) -> None:
    city.line_says(GARBAGE)
    city.work()
    case, desk = city.case(), city.hire("uketsuke")
    for department in ("tax", "waste_environment"):
        _transfer(city, desk, _case(city, case.id), department)
    assert [(t.from_department, t.to_department) for t in city.all(Transfer)][-1] == (
        "tax",
        "waste_environment",
    )
    boss = city.hire("kakaricho", role=Role.supervisor)
    assert "一度離れた課に戻っています" in boss.page("/supervise/routing")
    assert "madoguchi_routing_wandering_cases 1.0" in city.client.get("/metrics").text


def test_a_case_that_comes_back_to_who_took_its_department_over_goes_around(city: City) -> None:
    city.line_says(GARBAGE)
    city.line_says("燃えるごみの日はいつですか", user=OTHER)
    city.work()
    case, other, desk = city.case(), city.case(OTHER), city.hire("uketsuke")
    _transfer(city, desk, case, "tax")
    for department in ("general_affairs", "tax"):  # who takes over the one that it left, but later
        _transfer(city, desk, _case(city, other.id), department)
    _end(city, "waste_environment", "general_affairs")
    with transaction(city.engine) as session:
        for row in session.exec(select(Transfer)):
            row.created_at -= timedelta(days=9)
    _transfer(city, desk, _case(city, case.id), "general_affairs")
    with reading(city.engine) as session:
        report = monitoring.examine(session, city.settings, now().date())
    assert [(one.inquiry.id, one.loop) for one in report.wandering] == [(case.id, True)]


def test_a_case_that_no_model_has_read_is_seen_going_around_too(city: City) -> None:
    city.without_classifier()
    city.line_says(GARBAGE)
    city.line_says("燃えるごみの日はいつですか", user=OTHER)
    city.work()
    case, desk = city.case(), city.hire("uketsuke")
    for department in ("tax", "waste_environment", "tax"):
        _transfer(city, desk, _case(city, case.id), department)
    with reading(city.engine) as session:
        report = monitoring.examine(session, city.settings, now().date())
    [one] = report.wandering
    assert (one.inquiry.id, one.transfers, one.loop) == (case.id, 3, True)
    assert report.transfers_per_case == 1.5


def test_precision_and_recall_come_from_where_cases_ended(city: City) -> None:
    for user, text in ((USER, GARBAGE), (OTHER, "燃えるごみの日はいつですか")):
        city.line_says(text, user=user)
    city.work()
    desk = city.hire("uketsuke")
    _transfer(city, desk, city.case(OTHER), "general_affairs")
    for user in (USER, OTHER):
        _answer(desk, city.case(user))
    with reading(city.engine) as session:
        report = monitoring.examine(session, city.settings, now().date())
    by_id = {row.department: row for row in report.departments}
    assert by_id["waste_environment"].precision == 0.5
    assert by_id["waste_environment"].recall == 1.0
    assert by_id["general_affairs"].recall == 0.0
    assert by_id["tax"].precision is None
    assert set(monitoring.pictures(report)) == {"検証データ: 確信度と正解率", "検証データ: 自動化率と正解率"}
    told = city.client.get("/metrics").text
    assert 'madoguchi_routing_precision{department="waste_environment"} 0.5' in told
    assert 'madoguchi_routing_coverage_accuracy{coverage="1.00",set="validation"} 0.9' in told
    assert 'madoguchi_routing_reliability{confidence="0.9-1.0",set="validation"} 0.9' in told


def test_everyday_curves_know_exits_successors_and_what_the_front_desk_answers(
    city: City, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitoring, "ENOUGH", 4)
    ended = (
        ("water", "water", 0.95), ("waste_environment", "waste_environment", 0.95), ("tax", "water", 0.95),
        ("tax", "front_desk", 0.95), ("out_of_scope", "front_desk", 0.95),
    )  # fmt: skip
    with transaction(city.engine) as session:
        for number, (label, place, chance) in enumerate(ended):
            conversation = conversations.of_citizen(session, "line", f"U{number:032x}")
            session.add(
                Inquiry(
                    conversation_id=conversation.id, receipt_number=f"R-{number}", department_id=place,
                    status=InquiryStatus.closed, due_at=now(),
                    prediction={"department": label, "probabilities": {label: chance}},
                )
            )  # fmt: skip
    _end(city, "waste_environment", "general_affairs")
    with reading(city.engine) as session:
        report = monitoring.examine(session, city.settings, now().date())
    [point] = report.curves["everyday"]["reliability"]
    assert (point["n"], point["accuracy"]) == (4, 0.75)
    told, which = city.client.get("/metrics").text, '{confidence="0.9-1.0",set="everyday"}'
    assert f"madoguchi_routing_reliability{which} 0.75" in told
    assert f"madoguchi_routing_reliability_confidence{which} 0.95" in told
    assert f"madoguchi_routing_reliability_messages{which} 4.0" in told
    by_id = {row.department: row for row in report.departments}
    assert by_id["general_affairs"].precision == 1.0
    assert len(monitoring.pictures(report)) == 4


def test_who_could_not_be_placed_between_departments_that_are_one_by_now_was_sent_to_it(city: City) -> None:
    unsure = {
        "department": FRONT_DESK, "set": ["waste_environment", "general_affairs"],
        "probabilities": {"waste_environment": 0.5, "general_affairs": 0.5},
    }  # fmt: skip
    with transaction(city.engine) as session:
        for number, days in enumerate((9, 0)):  # before the day a person had to move it there
            conversation = conversations.of_citizen(session, "line", f"U{number:032x}")
            session.add(
                Inquiry(
                    conversation_id=conversation.id, receipt_number=f"R-{number}", due_at=now(),
                    department_id="general_affairs", status=InquiryStatus.closed, prediction=unsure,
                    created_at=now() - timedelta(days=days),
                )
            )  # fmt: skip
    _end(city, "waste_environment", "general_affairs")
    with reading(city.engine) as session:
        report = monitoring.examine(session, city.settings, now().date())
    [quality] = [r for r in report.departments if r.department == "general_affairs"]
    assert (quality.sent, quality.ended, quality.recall) == (1, 2, 0.5)


@pytest.fixture
def challenger(city: City) -> RoutingModel:
    folder = city.settings.data_dir / "models" / "challenger"
    folder.parent.mkdir()
    folder.symlink_to(CLASSIFIER)
    scores = {"macro_f1": 0.9, "accuracy": 0.9, "per_label": {}}
    row = RoutingModel(
        folder="challenger", status=ModelStatus.challenger, examples=3,
        metrics={
            "champion": scores, "challenger": scores | {"macro_f1": 0.91}, "worse": [], "better": True,
            "against": learning.identity(city.settings.effective_classifier_dir),
        },
    )  # fmt: skip
    with transaction(city.engine) as session:
        session.add(row)
    return row


def _live(city: City) -> learning.LiveClassifier:
    return learning.LiveClassifier(city.engine, city.settings)


def _folder(city: City) -> Path:
    with reading(city.engine) as session:
        return learning.champion_folder(session, city.settings)


def test_what_a_challenger_makes_worse_is_named_in_japanese(city: City, challenger: RoutingModel) -> None:
    with transaction(city.engine) as session:
        row = session.get_one(RoutingModel, challenger.id)
        row.metrics = {**row.metrics, "worse": ["water", "small_talk", "emergency"], "better": False}
    page = city.hire("kakaricho", role=Role.supervisor).page("/supervise/routing")
    assert "上下水道課 あいさつ・雑談 緊急の検知" in " ".join(page.split())


def test_a_challenger_predicts_silently_until_a_supervisor_promotes_it(
    city: City, challenger: RoutingModel
) -> None:
    live = _live(city)
    found = live.remarks(GARBAGE, live.predict(GARBAGE))
    view = {"model": "challenger", "department": "waste_environment", "set": ["waste_environment"]}
    assert found["shadow"] == view
    boss, desk = city.hire("kakaricho", role=Role.supervisor), city.hire("uketsuke")
    url = f"/supervise/routing/models/{challenger.id}/promote"
    assert desk.client.post(url, data={"csrf": desk.csrf}).status_code == 403
    assert _folder(city) == city.settings.effective_classifier_dir

    assert boss.client.post(url, data={"csrf": boss.csrf}).status_code == 200
    assert _folder(city).name == "challenger"
    assert "shadow" not in _live(city).remarks(GARBAGE, live.predict(GARBAGE))
    assert "前のモデルに戻す" in boss.page("/supervise/routing")

    back = f"/supervise/routing/models/{challenger.id}/roll-back"
    other = f"/supervise/routing/models/{uuid4()}/roll-back"
    assert boss.client.post(other, data={"csrf": boss.csrf}).status_code == 409
    assert _folder(city).name == "challenger"
    assert boss.client.post(back, data={"csrf": boss.csrf}).status_code == 200
    assert _folder(city) == city.settings.effective_classifier_dir
    assert boss.client.post(back, data={"csrf": boss.csrf}).status_code == 404


def test_a_model_promoted_meanwhile_does_not_explain_what_another_said(
    city: City, challenger: RoutingModel
) -> None:
    live, said = _live(city), _live(city).predict(GARBAGE)
    assert live.remarks(GARBAGE, said)["words"]
    by_another = replace(said, probabilities={"of_another_city": 1.0}, model="another")
    assert live.remarks(GARBAGE, by_another) == {}


def test_a_champion_older_than_many_refused_challengers_can_still_be_rolled_back(
    city: City, challenger: RoutingModel
) -> None:
    boss = city.hire("kakaricho", role=Role.supervisor)
    boss.client.post(f"/supervise/routing/models/{challenger.id}/promote", data={"csrf": boss.csrf})
    statuses = [ModelStatus.retired] + [ModelStatus.refused] * 11
    with transaction(city.engine) as session:
        for number, status in enumerate(statuses):
            age = timedelta(days=1) if status == ModelStatus.retired else -timedelta(days=number)
            session.add(
                RoutingModel(
                    folder=f"m{number}", status=status, examples=number, metrics=challenger.metrics,
                    created_at=now() - age,
                )
            )  # fmt: skip
    page = boss.page("/supervise/routing")
    assert f"/supervise/routing/models/{challenger.id}/roll-back" in page
    assert [page.count(f"<td>{one}</td>") for one in ("使用中", "以前のモデル", "不採用")] == [1, 1, 10]


def test_a_challenger_that_is_not_better_cannot_be_promoted(city: City, challenger: RoutingModel) -> None:
    with transaction(city.engine) as session:
        row = session.get_one(RoutingModel, challenger.id)
        row.metrics = {**row.metrics, "worse": ["water"], "better": False}
        session.add(row)
    boss = city.hire("kakaricho", role=Role.supervisor)
    url = f"/supervise/routing/models/{challenger.id}"
    answer = boss.client.post(f"{url}/promote", data={"csrf": boss.csrf})
    assert answer.status_code == 409
    assert "上回っていない" in answer.text
    assert boss.client.post(f"{url}/refuse", data={"csrf": boss.csrf}).status_code == 200
    assert city.all(RoutingModel)[0].status == ModelStatus.refused


def test_a_challenger_that_was_compared_with_another_model_cannot_be_promoted(
    city: City, challenger: RoutingModel
) -> None:
    with transaction(city.engine) as session:
        row = session.get_one(RoutingModel, challenger.id)
        row.metrics = {**row.metrics, "against": "20250401-000000"}
        session.add(row)
    boss = city.hire("kakaricho", role=Role.supervisor)
    url = f"/supervise/routing/models/{challenger.id}/promote"
    answer = boss.client.post(url, data={"csrf": boss.csrf})
    assert answer.status_code == 409
    assert "候補を作り直してください" in answer.text


def _alter(folder: Path) -> None:
    """A model's folder with one file that a disk or a person has spoilt."""
    folder.unlink()
    folder.mkdir()
    for file in CLASSIFIER.iterdir():
        (folder / file.name).symlink_to(file)
    (folder / "labels.json").unlink()
    (folder / "labels.json").write_text("{}")


def test_a_challenger_whose_files_are_altered_cannot_be_promoted(
    city: City, challenger: RoutingModel
) -> None:
    folder = city.settings.data_dir / "models" / "challenger"
    _alter(folder)
    boss = city.hire("kakaricho", role=Role.supervisor)
    url = f"/supervise/routing/models/{challenger.id}/promote"
    answer = boss.client.post(url, data={"csrf": boss.csrf})
    assert answer.status_code == 409
    assert "今のモデルが振り分けを続けます" in answer.text
    assert _folder(city) == city.settings.effective_classifier_dir


def test_a_champion_that_cannot_be_read_leaves_the_first_model_at_work(
    city: City, challenger: RoutingModel
) -> None:
    boss = city.hire("kakaricho", role=Role.supervisor)
    boss.client.post(f"/supervise/routing/models/{challenger.id}/promote", data={"csrf": boss.csrf})
    (city.settings.data_dir / "models" / "challenger").unlink()
    assert _live(city).predict(GARBAGE).department == "waste_environment"
    page = boss.page("/supervise/routing")
    assert "モデルのファイルを読めません" in page
    assert "学習し直してください" not in page
    found = {finding.what: finding for finding in doctor.examine(city.settings)}
    assert not found["classifier"].ok
    assert not found["organisation"].ok


def test_a_champion_with_a_spoilt_file_can_be_taken_back_on_its_page(
    city: City, challenger: RoutingModel
) -> None:
    boss = city.hire("kakaricho", role=Role.supervisor)
    url = f"/supervise/routing/models/{challenger.id}"
    boss.client.post(f"{url}/promote", data={"csrf": boss.csrf})
    _alter(city.settings.data_dir / "models" / "challenger")
    page = boss.page("/supervise/routing")
    assert "モデルのファイルを読めません" in page
    assert f"{url}/roll-back" in page
    assert city.client.get("/metrics").status_code == 200
    assert boss.client.post(f"{url}/roll-back", data={"csrf": boss.csrf}).status_code == 200


def test_a_worker_that_started_without_a_model_routes_as_soon_as_there_is_one(
    city: City, tmp_path: Path
) -> None:
    settings = city.settings.model_copy(update={"classifier_dir": tmp_path / "late"})
    city.brain = replace(city.brain, classifier=services.load_classifier(settings, city.engine))
    city.line_says(GARBAGE)
    city.work()
    assert city.case().department_id == FRONT_DESK
    (tmp_path / "late").symlink_to(CLASSIFIER)
    city.line_says(GARBAGE, user=OTHER)
    city.work()
    assert city.case(OTHER).department_id == "waste_environment"


def _end(city: City, department: str, successor: str | None) -> None:
    with transaction(city.engine) as session:
        row = session.get_one(Department, department)
        row.valid_to, row.successor_id = now().date() - timedelta(days=2), successor
        session.add(row)


def test_on_the_day_of_a_reorganisation_open_cases_and_new_ones_go_to_the_successor(city: City) -> None:
    city.line_says(GARBAGE)
    city.work()
    desk = city.hire("uketsuke")
    city.line_says("住民票の写しがほしい", user=OTHER)
    city.work()
    _end(city, "waste_environment", "general_affairs")
    with transaction(city.engine) as session:
        assert organisation.reroute(session, now().date(), drafting=True) == 1
        assert organisation.reroute(session, now().date(), drafting=True) == 0
    assert city.case().department_id == "general_affairs"
    assert city.case(OTHER).department_id == "citizen_registry"
    assert "機構改革による移管" in desk.page(f"/desk/cases/{city.case().id}")

    newcomer = "U" + "3" * 32
    city.line_says("燃えるごみの日はいつですか", user=newcomer)
    city.work()
    assert city.case(newcomer).department_id == "general_affairs"


class Torn:
    """A model that cannot choose between two departments."""

    def predict(self, text: str) -> Prediction:
        halves = {"waste_environment": 0.5, "general_affairs": 0.5}
        return Prediction(FRONT_DESK, 0.5, halves, tuple(halves), abstained=True)

    def remarks(self, text: str, prediction: Prediction) -> dict[str, Any]:
        return {}


def test_a_model_torn_between_departments_that_are_one_by_now_has_chosen(city: City) -> None:
    city.brain = replace(city.brain, classifier=Torn())
    city.line_says(GARBAGE)
    city.work()
    assert city.case().department_id == FRONT_DESK
    _end(city, "waste_environment", "general_affairs")
    city.line_says(GARBAGE, user=OTHER)
    city.work()
    assert city.case(OTHER).department_id == "general_affairs"


def test_a_reorganisation_moves_so_many_cases_at_a_time(city: City, monkeypatch: pytest.MonkeyPatch) -> None:
    for user in (USER, OTHER):
        city.line_says(GARBAGE, user=user)
    city.work()
    _end(city, "waste_environment", "general_affairs")
    monkeypatch.setattr(organisation, "MOST_AT_ONCE", 1)
    jobs = workflow.Services(city.engine, city.brain, city.writer, city.senders)
    assert [workflow.follow_organisation(jobs) for _ in range(3)] == [1, 1, 0]
    assert {case.department_id for case in city.all(Inquiry)} == {"general_affairs"}


def test_no_case_is_handed_to_a_department_that_ended_while_its_page_was_open(city: City) -> None:
    city.line_says(GARBAGE)
    city.work()
    desk, case = city.hire("uketsuke"), city.case()
    form = desk.form(case) | {"department": "general_affairs", "reason": "総務課へ"}
    _end(city, "general_affairs", "tax")
    refused = desk.post(case, "transfer", form)
    assert refused.status_code == 422
    assert "移管先の課を選んでください。" in refused.text
    assert '<option value="tax">' in refused.text
    assert '<option value="general_affairs">' not in refused.text
    assert city.case().department_id == "waste_environment"


def test_the_staff_of_a_department_that_ended_go_where_its_cases_go(city: City) -> None:
    city.line_says(GARBAGE)
    city.work()
    clerk = city.hire("kankyo", department="waste_environment")
    _end(city, "waste_environment", "general_affairs")
    with transaction(city.engine) as session:
        assert organisation.is_due(session, now().date())
        organisation.reroute(session, now().date(), drafting=True)
        assert not organisation.is_due(session, now().date())
    assert GARBAGE in clerk.page(f"/desk/cases/{city.case().id}")
    [entry] = [e for e in city.all(AuditEntry) if e.action == "reorganise_staff"]
    assert (entry.subject, "general_affairs" in entry.details) == ("staff:kankyo", True)


def test_the_first_message_of_the_day_finds_drafts_stopped_where_they_were(city: City) -> None:
    with transaction(city.engine) as session:
        session.get_one(Department, "waste_environment").drafting_enabled = False
    _end(city, "waste_environment", "general_affairs")
    city.line_says(GARBAGE)
    [conversation] = city.all(Conversation)
    workflow.decide(workflow.Services(city.engine, city.brain, city.writer, city.senders), conversation.id)
    assert (city.case().department_id, city.case().hand_off_reason) == ("general_affairs", "drafting_off")
    city.work()
    assert city.all(Draft) == []


def test_where_drafts_were_stopped_they_stay_stopped_until_a_person_resumes_them(city: City) -> None:
    boss = city.hire("kakaricho", role=Role.supervisor)

    def switch(department: str, on: int) -> int:
        form = {"department": department, "on": str(on), "csrf": boss.csrf}
        return int(boss.client.post("/supervise/drafting", data=form).status_code)

    def reorganise() -> None:
        with transaction(city.engine) as session:
            assert organisation.is_due(session, now().date())
            organisation.reroute(session, now().date(), drafting=True)
            assert not organisation.is_due(session, now().date())

    city.line_says(GARBAGE)
    city.work()
    assert switch("waste_environment", 0) == 200
    for ended in ("waste_environment", "water"):
        _end(city, ended, "general_affairs")
    reorganise()
    assert (city.case().department_id, city.case().hand_off_reason) == ("general_affairs", "drafting_off")
    [stopped] = city.all(Department, col(Department.drafting_enabled).is_(False), ~col(Department.passed_on))
    assert stopped.id == "general_affairs"
    [entry] = city.all(AuditEntry, AuditEntry.action == "reorganise_drafting_off")
    assert (entry.subject, "waste_environment" in entry.details) == ("department:general_affairs", True)
    page = boss.page("/supervise")
    assert "引き継いだ環境課の停止が続いています" in page
    assert switch("waste_environment", 1) == 404

    assert switch("general_affairs", 1) == 200
    assert "停止中" not in boss.page("/supervise")
    _end(city, "tax", "general_affairs")
    reorganise()
    assert "停止中" not in boss.page("/supervise")


@pytest.mark.parametrize(("zone", "ended"), [("Pacific/Pago_Pago", False), ("Pacific/Kiritimati", True)])
def test_the_overview_goes_by_the_citys_own_day(city: City, zone: str, ended: bool) -> None:
    with transaction(city.engine) as session:
        row = session.get_one(Department, "waste_environment")
        row.drafting_enabled, row.passed_on, row.successor_id = False, True, "general_affairs"
        row.valid_to = now().astimezone(ZoneInfo("Pacific/Pago_Pago")).date()  # always a day behind the other
        session.get_one(Department, "general_affairs").drafting_enabled = False
    state = city.client.app.state  # type: ignore[attr-defined]
    state.city = replace(state.city, calendar=replace(state.city.calendar, zone=ZoneInfo(zone)))
    page = city.hire("kakaricho", role=Role.supervisor).page("/supervise")
    assert ("引き継いだ環境課の停止が続いています" in page) == ended


def test_who_took_a_department_over_sees_what_it_has_answered_but_not_before_the_day(city: City) -> None:
    city.line_says(GARBAGE)
    city.work()
    old, new = (city.hire(one, department=one) for one in ("waste_environment", "general_affairs"))
    _answer(old, city.case())
    case, lists = city.case(), "/desk?done=1&department=waste_environment"

    def shown(desk: Desk) -> int:
        return int(desk.client.get(f"/desk/cases/{case.id}").status_code)

    with transaction(city.engine) as session:
        row = session.get_one(Department, "waste_environment")
        row.valid_to, row.successor_id = now().date() + timedelta(days=2), "tax"
        middle = session.get_one(Department, "tax")
        middle.valid_to, middle.successor_id = now().date() - timedelta(days=9), "general_affairs"
    assert (shown(old), shown(new)) == (200, 404)
    assert case.receipt_number not in new.page(lists)
    _end(city, "waste_environment", "tax")
    with transaction(city.engine) as session:
        organisation.reroute(session, now().date(), drafting=True)
    assert (shown(old), shown(new), shown(city.hire("mizu", department="water"))) == (200, 200, 404)
    assert case.receipt_number in old.page(lists)
    assert case.receipt_number in old.page(f"/desk?number={case.receipt_number}")


def test_the_articles_of_a_department_that_ended_go_where_its_cases_go_and_still_answer_them(
    city: City,
) -> None:
    knowledge = Knowledge(city.engine, None)
    [before] = knowledge.index().search(GARBAGE, top=1, today=now().date(), department="waste_environment")
    _end(city, "waste_environment", "general_affairs")
    with transaction(city.engine) as session:
        assert organisation.is_due(session, now().date())
        organisation.reroute(session, now().date(), drafting=True)
        assert not organisation.is_due(session, now().date())
    [after] = knowledge.index().search(GARBAGE, top=1, today=now().date(), department="general_affairs")
    assert after.article == before.article
    city.line_says(GARBAGE)
    city.work()
    assert city.case().department_id == "general_affairs"
    [draft] = city.all(Draft)
    assert draft.passages[0]["article"] == before.article
    moved = {e.subject for e in city.all(AuditEntry) if e.action == "reorganise_article"}
    assert f"article:{before.article}" in moved
    assert "article:moving-in" not in moved


def test_at_the_front_desk_the_routing_s_guesses_follow_a_reorganisation_too(city: City) -> None:
    city.line_says(GARBAGE)
    city.work()
    _end(city, "waste_environment", "general_affairs")
    with transaction(city.engine) as session:
        case = session.get_one(Inquiry, city.case().id)
        case.department_id = FRONT_DESK
        case.prediction = {
            "probabilities": {"waste_environment": 0.6, "general_affairs": 0.3, "small_talk": 0.1}
        }
        found = drafting.where_to_look(session, case, now().date())
    assert found == pytest.approx({"general_affairs": 0.9, "small_talk": 0.1})


def test_a_reorganisation_is_loaded_from_the_citys_file_and_needs_no_training(
    city: City, tmp_path: Path
) -> None:
    folder = shutil.copytree(DATA, tmp_path / "data")
    before = inputs_hash(folder, "e5-small")
    path = folder / "departments.yaml"
    written = path.read_text(encoding="utf-8")
    ended = re.sub(
        r"(id: waste_environment,.*?valid_from: 2020-04-01)",
        r"\1, valid_to: 2026-03-31, successor: green",
        written,
    )
    new = "  - {id: green, ja: みどり課, short: 緑, phone: 0000-12-3199, valid_from: 2026-04-01}\nfront_desk:"
    path.write_text(ended.replace("front_desk:", new, 1), encoding="utf-8")
    with transaction(city.engine) as session:
        load(session, folder)
        departments = {d.id: d for d in session.exec(select(Department))}
        assert organisation.responsible(departments, "waste_environment", date(2026, 3, 31)) != "green"
        assert organisation.responsible(departments, "waste_environment", date(2026, 4, 1)) == "green"
    assert inputs_hash(folder, "e5-small") == before

    path.write_text(written, encoding="utf-8")
    with pytest.raises(BadCityFile, match="green"), transaction(city.engine) as session:
        load(session, folder)


@pytest.mark.parametrize("successor", [None, "waste_environment"])
def test_a_department_without_a_living_successor_is_said_loudly(city: City, successor: str | None) -> None:
    _end(city, "waste_environment", successor)
    with reading(city.engine) as session:
        departments = {d.id: d for d in session.exec(select(Department).order_by(col(Department.position)))}
    troubles = organisation.misfits(["waste_environment", "tax", "old_office"], departments, now().date())
    assert any("環境課" in t for t in troubles)
    assert any("old_office" in t for t in troubles)
    assert any("市民課" in t and "学習し直して" in t for t in troubles)
    assert "環境課" in city.hire("kakaricho", role=Role.supervisor).page("/supervise/routing")
    city.line_says(GARBAGE)
    city.work()
    assert city.case().department_id == "front_desk"


def test_what_is_prepared_for_a_department_waits_for_its_day(city: City) -> None:
    with transaction(city.engine) as session:
        row = session.get_one(Department, "waste_environment")
        row.valid_from = now().date() + timedelta(days=30)
        session.add(row)
        departments = {d.id: d for d in session.exec(select(Department))}
        today = now().date()
        assert not organisation.is_due(session, today)
        assert organisation.responsible(departments, "waste_environment", today) == FRONT_DESK
        troubles = organisation.misfits(list(departments), departments, today)
    assert "振り分けモデルが知る課「環境課」はまだ始まっていません。" in troubles


def test_a_follow_up_after_a_reorganisation_stays_with_its_case(city: City) -> None:
    city.line_says(GARBAGE)
    city.work()
    _end(city, "waste_environment", "general_affairs")
    with transaction(city.engine) as session:
        organisation.reroute(session, now().date(), drafting=True)
    city.line_says("粗大ごみの出し方を早く教えてください")
    city.work()
    assert len(city.all(Inquiry)) == 1


def test_a_message_counts_once_for_drift_and_agreement_and_an_emergency_not_at_all(
    city: City, challenger: RoutingModel
) -> None:
    city.line_says(TWO_MATTERS)
    city.line_says("隣の家が燃えています", user=OTHER)
    city.work()
    assert len(city.all(Inquiry)) == 3
    with transaction(city.engine) as session:
        for case in session.exec(select(Inquiry)).all():
            case.prediction = {**case.prediction, "unknown": 0.75 if case.emergency else 0.25}
    with reading(city.engine) as session:
        report = monitoring.examine(session, city.settings, now().date())
    assert report.agreement == (1, 1.0)
    assert report.unknown == 0.25


TORN = {"department": FRONT_DESK, "set": ["waste_environment", "general_affairs"]}


@pytest.mark.parametrize(
    ("said", "silently"),
    [
        ({}, {"department": "general_affairs"}),
        (TORN, {"department": "general_affairs", "set": ["general_affairs"]}),
        ({}, TORN),
    ],
    ids=["new id", "champion torn", "challenger torn"],
)
def test_champion_and_challenger_agree_who_mean_what_is_one_department_by_now(
    city: City, challenger: RoutingModel, said: dict[str, Any], silently: dict[str, Any]
) -> None:
    city.line_says(GARBAGE)
    city.work()
    with transaction(city.engine) as session:
        case = session.get_one(Inquiry, city.case().id)
        view = {"model": challenger.folder, **silently}
        case.prediction = {**case.prediction, **said, "shadow": view}
    _end(city, "waste_environment", "general_affairs")
    with reading(city.engine) as session:
        report = monitoring.examine(session, city.settings, now().date())
    assert report.agreement == (1, 1.0)


def test_a_second_matter_does_not_count_against_the_routing(city: City) -> None:
    city.line_says(TWO_MATTERS)
    city.work()
    desk = city.hire("uketsuke")
    for case in city.all(Inquiry):
        _answer(desk, _case(city, case.id))
    with reading(city.engine) as session:
        report = monitoring.examine(session, city.settings, now().date())
    assert sum(row.sent for row in report.departments) == 1
    assert {row.precision for row in report.departments} == {None, 1.0}


def _asked_too_long_ago(city: City) -> Inquiry:
    """A case whose citizen was asked for the department and did not choose in time."""
    city.line_says("書類をなくした")
    _clarifying(city)
    workflow.sweep(city.engine)
    return city.case()


def _clarifying(city: City) -> None:
    """The citizen was asked a day ago for the department of the one message that they wrote."""
    conversation = city.all(Conversation)[0]
    with transaction(city.engine) as session:
        [message] = session.exec(select(Message))
        message.triaged_at = now()
        inquiry = inquiries.open_inquiry(
            session,
            conversations.hold(session, conversation.id),
            "front_desk",
            city.brain.calendar,
            prediction={},
        )
        message.inquiry_id = inquiry.id
        session.add(message)
        inquiries.clarify(session, inquiry)
        inquiry.status_since = now() - timedelta(days=1)


def _pressed(city: City, department: str) -> dict[str, Any]:
    return city.line.event(USER, type="postback", postback={"data": f"department={department}"})


def _photo(city: City) -> dict[str, Any]:
    return city.line.event(USER, {"id": "9" * 18, "type": "image", "contentProvider": {"type": "line"}})


@pytest.mark.parametrize(
    "wordless",
    [
        lambda city: _pressed(city, "waste_environment"),
        _photo,
        lambda city: city.line.text(USER, "090-1234-5678"),
        lambda city: city.line.text(USER, "2026-00001 👍"),
    ],
    ids=["button", "photo", "phone", "digits"],
)
def test_a_citizens_language_is_what_their_words_are_in(
    city: City, wordless: Callable[[City], dict[str, Any]]
) -> None:
    city.line_says("How do I get rid of my bulky waste?")
    city.work()
    city.webhook(city.line.body(wordless(city)))
    city.work()
    assert city.all(Conversation)[0].language == "en"
    city.line_says(GARBAGE, "OK!")
    city.work()
    assert city.all(Conversation)[0].language == "ja"


def test_a_late_press_still_brings_the_case_to_its_department(city: City) -> None:
    inquiry = _asked_too_long_ago(city)
    assert (inquiry.status, inquiry.department_id) == (InquiryStatus.with_person, "front_desk")
    city.webhook(city.line.body(_pressed(city, "tax")))
    city.work()
    assert _case(city, inquiry.id).department_id == "tax"
    assert len(city.all(Inquiry)) == 1


def test_a_late_press_takes_the_case_out_of_the_front_desk_s_group(city: City) -> None:
    inquiry = _asked_too_long_ago(city)
    with transaction(city.engine) as session:
        incident = Incident(department_id=FRONT_DESK)
        session.add(incident)
        session.flush()
        session.get_one(Inquiry, inquiry.id).incident_id = incident.id
    city.webhook(city.line.body(_pressed(city, "tax")))
    city.work()
    assert (city.case().department_id, city.case().incident_id) == ("tax", None)


def test_a_late_press_moves_nothing_that_a_person_has_moved(city: City) -> None:
    inquiry = _asked_too_long_ago(city)
    _transfer(city, city.hire("mori"), inquiry, "welfare")
    city.webhook(city.line.body(_pressed(city, "tax")))
    city.work()
    assert _case(city, inquiry.id).department_id == "welfare"


def test_a_second_matter_in_a_follow_up_becomes_a_case_once(city: City) -> None:
    city.line_says("水道料金の支払い方法を教えてください")
    city.work()
    first = city.case()
    for text in (TWO_MATTERS, TWO_MATTERS):
        city.line_says(text)
        city.work()
    cases = city.all(Inquiry)
    assert {(c.department_id, c.linked_to) for c in cases} == {
        ("water", None),
        ("waste_environment", first.id),
    }


def test_a_message_whose_second_matter_is_worked_on_already_brings_the_first_one_only(city: City) -> None:
    city.line_says(GARBAGE)
    city.work()
    first = city.case()
    for _ in range(2):
        city.line_says(TWO_MATTERS)
        city.work()
    cases = city.all(Inquiry)
    assert {(c.department_id, c.linked_to) for c in cases} == {
        ("waste_environment", None),
        ("water", first.id),
    }
    assert len(cases) == 2
    assert {m.inquiry_id for m in city.all(Message, Message.direction == "in")} == {first.id}
    [second] = [c for c in cases if c.linked_to]
    assert sum(second.receipt_number in text for text in city.line.texts(USER)) == 1
    assert {d.inquiry_id for d in city.all(Draft, Draft.status == DraftStatus.pending)} == {
        first.id,
        second.id,
    }


def test_a_second_matter_that_a_follow_up_opens_is_drafted_once(city: City) -> None:
    city.line_says("水道料金の支払い方法を教えてください")
    city.work()
    city.line_says(TWO_MATTERS)
    city.work()
    [second] = city.all(Inquiry, col(Inquiry.linked_to).is_not(None))
    assert second.generation == 1


def test_drift_counts_only_what_the_model_that_routes_has_read(
    city: City, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitoring, "ENOUGH", 1)
    city.line_says(GARBAGE, user=USER)
    city.line_says(GARBAGE, user=OTHER)
    city.work()
    boss = city.hire("kakaricho", role=Role.supervisor)
    with transaction(city.engine) as session:
        of_old_model, own = session.exec(select(Inquiry)).all()
        of_old_model.prediction |= {"model": "an older one", "unknown": 1.0}
        own.prediction |= {"unknown": 0.25}
        for row in (of_old_model, own):
            sa.orm.attributes.flag_modified(row, "prediction")
    with reading(city.engine) as session:
        report = monitoring.examine(session, city.settings, now().date())
    assert report.unknown == 0.25
    assert report.unknown_before
    assert f"学習時 {report.unknown_before:.0%}" in boss.page("/supervise/routing")


@pytest.mark.parametrize(
    ("words", "psi", "drifts"), [(0.05, 0.1, False), (0.05, 0.3, True), (0.09, 0.1, True)]
)
def test_new_words_are_drift_as_well_as_new_confidences(words: float, psi: float, drifts: bool) -> None:
    report = monitoring.Monitoring([], [], 0.0, psi, words, 0.04, None, {}, [])
    assert report.drifts is drifts


def _drifts(confidences: Sequence[float]) -> bool:
    """What the page says of messages with such confidences, beside the model's validation messages."""
    facts = json.loads((CLASSIFIER / "metrics.json").read_text(encoding="utf-8"))["reference"]
    psi = monitoring._psi(facts, [{"probabilities": {"tax": one}} for one in confidences])
    return monitoring.Monitoring([], [], 0.0, psi, 0.04, 0.04, None, {}, []).drifts


@pytest.mark.parametrize("messages", [30, 45, 60, 100, 150])
def test_chance_alone_is_no_drift(messages: int) -> None:
    facts = json.loads((CLASSIFIER / "metrics.json").read_text(encoding="utf-8"))["reference"]
    shares = np.array(facts["confidence"])
    dice = np.random.default_rng(0)
    drawn = (dice.choice(10, (200, messages), p=shares / shares.sum()) + 0.5) / 10
    assert sum(map(_drifts, drawn.tolist())) < 4


def test_a_model_that_is_sure_of_fewer_messages_drifts() -> None:
    assert _drifts([0.95] * 60 + [0.75] * 25 + [0.45] * 15)


@pytest.mark.parametrize(
    "text", ["いくらかかりますか", "それは代理の人でも大丈夫ですか", "返事の意味がよく分かりません"]
)
def test_who_asks_on_about_an_answer_is_answered_by_the_same_people(city: City, text: str) -> None:
    city.line_says(GARBAGE)
    city.work()
    desk, answered = city.hire("uketsuke"), city.case()
    _answer(desk, answered)
    city.deliver()
    due = _case(city, answered.id).due_at
    city.line_says(text)
    city.work()
    [again] = city.all(Inquiry)
    assert again.department_id == "waste_environment"
    assert again.status in {InquiryStatus.awaiting, InquiryStatus.with_person}
    assert again.due_at >= due
    assert f"追加の内容を受け付けました(受付番号 {again.receipt_number})" in city.line.texts(USER)[-1]
    assert "一度返事を送った案件です" in desk.page(f"/desk/cases/{again.id}")
    assert "返事あり" in desk.page("/desk")
    assert [e.action for e in city.all(AuditEntry, AuditEntry.action == "reopen")] == ["reopen"]


def test_thanks_another_matter_and_a_late_question_leave_an_answered_case_alone(city: City) -> None:
    city.line_says(GARBAGE)
    city.work()
    answered = city.case()
    _answer(city.hire("uketsuke"), answered)
    city.line_says("助かりました、ありがとうございます")
    city.line_says("水道料金の支払い方法を教えてください")
    city.work()
    assert _case(city, answered.id).status == InquiryStatus.answered
    [other] = city.all(Inquiry, Inquiry.id != answered.id)
    assert other.department_id == "water"
    with transaction(city.engine) as session:
        session.get_one(Inquiry, answered.id).answered_at = now() - triage.ASKING_ON
        session.get_one(Inquiry, other.id).status = InquiryStatus.closed
    city.line_says("いくらかかりますか")
    city.work()
    assert _case(city, answered.id).status == InquiryStatus.answered


def test_who_wants_a_person_after_an_answer_gets_one_of_the_same_people(city: City) -> None:
    city.line_says(GARBAGE)
    city.work()
    answered = city.case()
    _answer(city.hire("uketsuke"), answered)
    city.line_says("職員と話したい")
    with transaction(city.engine) as session:
        message = session.exec(select(Message).where(col(Message.triaged_at).is_(None))).one()
        turn = Turn(steps=({"step": "person"},))
        triage._decide(session, message, triage.Understanding(None, False, turn, "ja"), city.brain)
    [again] = city.all(Inquiry)
    assert (again.id, again.status) == (answered.id, InquiryStatus.with_person)
    assert again.hand_off_reason == HandOffReason.asked_for_person
