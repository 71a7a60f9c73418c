"""Emergencies: heard as they are stored, before any queue; told to people until somebody takes note."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlmodel import col, select

from bot import auth, inquiries, outbox, triage, workflow
from bot.db import now, transaction
from bot.models import (
    AuditEntry,
    Conversation,
    Draft,
    DraftStatus,
    HandOffReason,
    Inquiry,
    InquiryStatus,
    Message,
    OutboxMessage,
    OutboxStatus,
    StaffSession,
)
from classifiers.department import Prediction
from tests.city import OTHER, USER, City

FIRE = "家が燃えています、助けて"
IS_NOTICE = col(OutboxMessage.cause).endswith(":emergency_notice")
NOTICE = "緊急の通報の代わりにはなりません"
GARBAGE = "粗大ごみの出し方を教えてください"


def _notices(city: City) -> list[OutboxMessage]:
    return city.all(OutboxMessage, IS_NOTICE)


def _numbers(city: City) -> Sequence[str]:
    """Receipt numbers of the alarms that a person at the front desk sees."""
    return [a["receipt_number"] for a in city.hire("uketsuke").client.get("/desk/alarms").json()]


def test_without_any_worker_an_emergency_leaves_case_alarm_and_notice(city: City) -> None:
    city.line_says(FIRE)
    case = city.case()
    assert (case.emergency, case.hand_off_reason) == (True, HandOffReason.emergency)
    assert _numbers(city) == [case.receipt_number]
    [notice] = _notices(city)
    assert (notice.status, notice.inquiry_id) == (OutboxStatus.queued, case.id)
    [message] = city.all(Message)
    assert message.inquiry_id == case.id


def test_triage_finds_the_alarm_raised_and_does_not_raise_it_again(city: City) -> None:
    event = city.line.text(USER, FIRE)
    city.webhook(city.line.body(event))
    city.webhook(city.line.body(event))
    city.webhook(city.line.body(event | {"webhookEventId": "01HREDELIVEREDUNDERANOTHERID"}))
    city.work()
    city.webhook(city.line.body(event))
    city.work()
    city.deliver_all()
    assert len(city.all(Inquiry)) == len(_notices(city)) == 1
    assert sum(NOTICE in text for text in city.line.texts(USER)) == 1
    assert city.case().prediction["probabilities"]


def test_one_body_may_bring_emergencies_of_several_citizens(city: City) -> None:
    events = [city.line.text(user, text) for user, text in ((USER, FIRE), (OTHER, FIRE), (USER, GARBAGE))]
    city.webhook(city.line.body(*events))
    assert {c.emergency for c in (city.case(USER), city.case(OTHER))} == {True}


def _triage_only(city: City) -> None:
    for conversation in city.all(Conversation):
        triage.triage_conversation(city.engine, conversation.id, city.brain)


def _in_back_off(city: City, *where: Any) -> None:  # noqa: ANN401
    """These texts were refused a moment ago and wait for their next try."""
    later = now() + timedelta(minutes=5)
    with transaction(city.engine) as session:
        session.execute(sa.update(OutboxMessage).where(*where).values(next_try_at=later, attempts=3))


def test_the_notice_overtakes_what_waits_also_in_back_off(city: City) -> None:
    city.line_says(GARBAGE)
    _triage_only(city)
    waiting = [row.text for row in sorted(city.all(OutboxMessage), key=lambda row: row.seq)]
    assert len(waiting) > 1
    _in_back_off(city)
    city.line_says(FIRE)
    city.deliver()
    [first] = city.line.texts(USER)
    assert NOTICE in first
    city.deliver_all()
    assert city.line.texts(USER)[1:] == waiting


def test_a_notice_in_back_off_does_not_stop_what_came_before_it(city: City) -> None:
    city.line_says(GARBAGE)
    _triage_only(city)
    waiting = [row.text for row in sorted(city.all(OutboxMessage), key=lambda row: row.seq)]
    city.line_says(FIRE)
    _in_back_off(city, IS_NOTICE)
    city.deliver()
    assert city.line.texts(USER) == waiting


@pytest.mark.parametrize("fault", ["500_before", "500_after"])
def test_a_notice_whose_reply_may_be_lost_goes_again_by_push(city: City, fault: str) -> None:
    city.line.faults.append(fault)
    city.line_says(FIRE)
    city.deliver()
    assert [sent["how"] for sent in city.line.delivered if NOTICE in sent["text"]][-1:] == ["push"]
    [notice] = _notices(city)
    assert notice.status == OutboxStatus.accepted


def test_a_notice_whose_sender_died_goes_again_by_push(city: City) -> None:
    city.line_says(FIRE)
    [notice] = _notices(city)
    assert outbox._start_attempt(city.engine, notice.conversation_id)  # and there the worker died
    city.deliver_all()
    assert [sent["how"] for sent in city.line.delivered if NOTICE in sent["text"]] == ["push"]


def test_the_desk_says_whether_the_notice_has_gone_out(city: City) -> None:
    city.line_says(FIRE)
    desk, case = city.hire("uketsuke"), city.case()
    city.line.faults.extend(["401", "quota"])
    city.deliver()
    page = desk.page(f"/desk/cases/{case.id}")
    assert "案内は、まだ送れていません" in page
    assert "案内を送りました" not in page
    city.line.faults.clear()
    city.deliver_all()
    assert "案内を送りました" in desk.page(f"/desk/cases/{case.id}")


def test_the_rules_run_again_before_a_message_is_given_up(city: City) -> None:
    """The belt: whatever became of the rules at the door, nobody is handed an emergency unheard."""
    with transaction(city.engine) as session:
        conversation = Conversation(channel="line", channel_user=USER, next_seq=2)
        session.add(conversation)
        session.flush()
        session.add(
            Message(
                conversation_id=conversation.id,
                seq=1,
                direction="in",
                text=FIRE,
                triage_attempts=triage.MAX_ATTEMPTS,
            )
        )
    city.work()
    assert city.case().emergency
    assert len(_notices(city)) == 1


@dataclass
class Watching:
    """The real classifier, noting how many cases stood in the database when it was asked to explain."""

    city: City
    real: triage.Classifier
    cases: list[int] = field(default_factory=list)

    def predict(self, text: str) -> Prediction:
        return self.real.predict(text)

    def remarks(self, text: str, prediction: Prediction) -> dict[str, Any]:
        self.cases.append(len(self.city.all(Inquiry)))
        return self.real.remarks(text, prediction)


def test_nobody_waits_for_the_explanation(city: City) -> None:
    assert city.brain.classifier
    watching = Watching(city, city.brain.classifier)
    city.brain = replace(city.brain, classifier=watching)
    city.line_says(GARBAGE)
    city.work()
    assert watching.cases == [1]
    assert city.case().prediction["words"]
    city.line_says(FIRE, user=OTHER)
    city.work()
    assert watching.cases == [1, 2]
    assert city.case(OTHER).prediction["words"]


def test_what_follows_an_emergency_belongs_to_it_and_sounds_again(city: City) -> None:
    city.line_says(FIRE)
    city.work()
    case, desk = city.case(), city.hire("uketsuke")
    assert desk.post(case, "acknowledge", {"csrf": desk.csrf}).status_code == 303
    old = desk.form(case)
    assert _numbers(city) == []

    city.line_says("みなと町3丁目の1の2です")
    city.work()
    assert city.case().id == case.id
    assert "みなと町3丁目の1の2です" in desk.page(f"/desk/cases/{case.id}")
    assert _numbers(city) == [case.receipt_number]
    assert city.case().status == InquiryStatus.with_person
    assert desk.post(case, "write", old | {"text": "消防に知らせました。"}).status_code == 409

    city.line_says(FIRE, "粗大ごみの出し方を教えてください")
    city.work()
    assert {m.inquiry_id for m in city.all(Message, Message.direction == "in")} == {case.id}
    assert len(_notices(city)) == 2
    assert city.all(Draft) == []


def test_an_old_or_closed_emergency_does_not_swallow_a_new_matter(city: City) -> None:
    city.line_says(FIRE)
    city.work()
    with transaction(city.engine) as session:
        session.execute(sa.update(Inquiry).values(created_at=now() - timedelta(hours=25)))
    first = city.case()
    city.line_says(GARBAGE)
    city.work()
    assert (city.case().id != first.id, city.case().emergency) == (True, False)


def test_more_words_do_not_put_off_the_alarm_to_everybody(city: City) -> None:
    city.line_says(FIRE)
    with transaction(city.engine) as session:
        session.execute(sa.update(Inquiry).values(status_since=now() - timedelta(minutes=6)))
    city.line_says("みなと町3丁目の1の2です")
    city.work()
    workflow.sweep(city.engine)
    assert city.case().alarm_escalated_at


@pytest.mark.parametrize("decision", ["write", "close"])
def test_who_answers_or_closes_an_emergency_has_taken_note_of_it(city: City, decision: str) -> None:
    city.line_says(FIRE)
    city.work()
    case, desk = city.case(), city.hire("uketsuke")
    form = desk.form(case) | {"text": "消防に知らせました。", "reason": "消防が対応しました"}
    assert desk.post(case, decision, form).status_code == 303
    assert _numbers(city) == []
    with transaction(city.engine) as session:
        session.execute(sa.update(Inquiry).values(status_since=now() - timedelta(minutes=6)))
    workflow.sweep(city.engine)
    assert city.case().alarm_escalated_at is None


@pytest.mark.parametrize("decision", ["redraft", "recompose"])
def test_who_has_an_emergency_drafted_has_taken_note_and_it_stays_one(city: City, decision: str) -> None:
    city.line_says(FIRE)
    city.work()
    case, desk = city.case(), city.hire("uketsuke")
    form = desk.form(case) | {"passage": "waste-bulky#1"}
    assert desk.post(case, decision, form).status_code == 303
    city.work()
    assert city.all(Draft)
    assert _numbers(city) == []
    assert (city.case().emergency, city.case().hand_off_reason) == (True, HandOffReason.emergency)
    assert "緊急の可能性" in desk.page("/desk")
    assert len(city.all(AuditEntry, AuditEntry.action == "acknowledge")) == 1


def test_an_emergency_whose_draft_never_came_stays_one(city: City) -> None:
    city.line_says(FIRE)
    city.work()
    case, desk = city.case(), city.hire("uketsuke")
    assert desk.post(case, "redraft", desk.form(case)).status_code == 303
    with transaction(city.engine) as session:
        session.execute(sa.update(Inquiry).values(status_since=now() - timedelta(minutes=11)))
    workflow.sweep(city.engine)
    case = city.case()
    assert (case.status, case.hand_off_reason) == (InquiryStatus.with_person, HandOffReason.emergency)
    assert "自動処理の失敗" not in desk.page(f"/desk/cases/{case.id}")


def test_a_draft_that_comes_meanwhile_does_not_put_off_the_alarm_to_everybody(city: City) -> None:
    city.line_says(FIRE)
    city.work()
    case = city.case()
    with transaction(city.engine) as session:
        session.execute(sa.update(Inquiry).values(status_since=now() - timedelta(minutes=6)))
        inquiries.request_draft(session, inquiries.locked(session, case.id))
    city.work()
    assert city.all(Draft)
    workflow.sweep(city.engine)
    assert city.case().alarm_escalated_at


def test_an_alarm_that_sounds_again_gives_people_their_time_anew(city: City) -> None:
    city.line_says(FIRE)
    city.work()
    case, desk = city.case(), city.hire("uketsuke")
    assert desk.post(case, "acknowledge", {"csrf": desk.csrf}).status_code == 303
    with transaction(city.engine) as session:
        session.execute(sa.update(Inquiry).values(status_since=now() - timedelta(minutes=6)))
    city.line_says("みなと町3丁目の1の2です")
    city.work()
    workflow.sweep(city.engine)
    assert city.case().alarm_escalated_at is None


def test_moving_an_alarm_that_nobody_took_note_of_does_not_put_it_off(city: City) -> None:
    city.line_says(FIRE)
    city.work()
    with transaction(city.engine) as session:
        session.execute(sa.update(Inquiry).values(status_since=now() - timedelta(minutes=6)))
    case, desk = city.case(), city.hire("uketsuke")
    form = desk.form(case) | {"department": "disaster_safety", "reason": "火災のため"}
    assert desk.post(case, "transfer", form).status_code == 303
    assert city.case().department_id == "disaster_safety"
    workflow.sweep(city.engine)
    assert city.case().alarm_escalated_at


def test_an_emergency_that_moves_takes_no_draft_of_the_first_department_along(city: City) -> None:
    city.line_says(FIRE)
    city.work()
    case, desk = city.case(), city.hire("uketsuke")
    assert desk.post(case, "redraft", desk.form(case)).status_code == 303
    city.work()
    form = desk.form(case) | {"department": "tax", "reason": "試し"}
    assert form["draft_id"]
    assert desk.post(case, "transfer", form).status_code == 303
    assert city.all(Draft, Draft.status == DraftStatus.pending) == []
    assert city.case().hand_off_reason == HandOffReason.emergency


def test_the_page_of_a_case_opens_before_its_explanation_is_there(city: City) -> None:
    city.line_says(GARBAGE)
    city.work()
    case = city.case()
    kept = {key: value for key, value in case.prediction.items() if key != "words"}
    with transaction(city.engine) as session:
        session.get_one(Inquiry, case.id).prediction = kept
    assert "判定に効いた言葉" not in city.hire("uketsuke").page(f"/desk/cases/{case.id}")


@dataclass
class Certain:
    """The real classifier, certain that nothing is an emergency."""

    real: triage.Classifier
    also: str = ""

    def predict(self, text: str) -> Prediction:
        return replace(self.real.predict(text), calm=True, emergency=False, also=self.also)

    def remarks(self, text: str, prediction: Prediction) -> dict[str, Any]:
        return self.real.remarks(text, prediction)


def _certain(city: City, also: str = "") -> None:
    assert city.brain.classifier
    city.brain = replace(city.brain, classifier=Certain(city.brain.classifier, also))


def test_a_rule_that_a_certain_model_calms_stays_on_record(city: City) -> None:
    _certain(city)
    city.line_says("ガス臭いです")
    assert city.case().emergency
    city.work()
    case, desk = city.case(), city.hire("uketsuke")
    assert (case.emergency, len(city.all(Inquiry))) == (False, 1)
    assert case.hand_off_reason != HandOffReason.emergency
    assert _numbers(city) == []
    page = desk.page(f"/desk/cases/{case.id}")
    assert "ガス漏れ" in page
    assert "取り下げ" in page
    [entry] = city.all(AuditEntry, AuditEntry.action == "calm_alarm")
    assert '"gas"' in entry.details
    assert any(case.receipt_number in text for text in city.line.texts(USER))


def test_a_calmed_message_has_its_second_matter_too(city: City) -> None:
    _certain(city, also="water")
    city.line_says("ガス臭いです。それと、市民税の納付書をなくしました。")
    city.work()
    first, second = sorted(city.all(Inquiry), key=lambda one: one.receipt_number)
    assert (first.emergency, first.department_id) == (False, "tax")
    assert (second.department_id, second.linked_to) == ("water", first.id)


def test_an_alarm_that_reached_everybody_and_was_calmed_is_its_department_s_again(city: City) -> None:
    _certain(city)
    city.line_says("ガス臭いです")
    with transaction(city.engine) as session:
        session.execute(sa.update(Inquiry).values(status_since=now() - timedelta(minutes=6)))
    workflow.sweep(city.engine)
    case, elsewhere = city.case(), city.hire("zeimu", department="tax")
    assert "ガス臭いです" in elsewhere.page(f"/desk/cases/{case.id}")
    city.work()
    assert (city.case().emergency, city.case().alarm_escalated_at) == (False, None)
    assert city.case().department_id != "tax"
    assert elsewhere.client.get(f"/desk/cases/{case.id}").status_code == 404


def test_a_case_that_an_older_version_calmed_is_seen_by_its_department_only(city: City) -> None:
    city.line_says(GARBAGE)
    city.work()
    with transaction(city.engine) as session:
        session.execute(sa.update(Inquiry).values(alarm_escalated_at=now()))
    elsewhere = city.hire("zeimu", department="tax")
    assert elsewhere.client.get(f"/desk/cases/{city.case().id}").status_code == 404


def test_no_model_calms_what_a_person_has_taken_note_of_or_a_wish_to_die(city: City) -> None:
    _certain(city)
    desk = city.hire("uketsuke")
    city.line_says("ガス臭いです")
    desk.post(city.case(), "acknowledge", {"csrf": desk.csrf})
    city.line_says("もう死にたい", user=OTHER)
    city.work()
    assert city.case(USER).emergency
    assert city.case(OTHER).emergency


def test_the_page_and_the_metrics_tell_of_an_alarm(city: City) -> None:
    city.line_says(FIRE)
    page = city.hire("uketsuke").page(f"/desk/cases/{city.case().id}")
    assert "規則「火災」" in page
    assert "燃えてい" in page
    assert "5分" in page
    metrics = city.client.get("/metrics").text
    assert "madoguchi_alarms_unacknowledged 1.0" in metrics
    assert "madoguchi_alarms_escalated 0.0" in metrics


def test_words_taken_back_are_not_quoted_by_the_alarm(city: City) -> None:
    event = city.line.text(USER, FIRE)
    city.webhook(city.line.body(event))
    taken = city.line.event(USER, type="unsend", unsend={"messageId": event["message"]["id"]})
    city.webhook(city.line.body(taken))
    city.work()
    assert city.case().prediction["alarm"] == {"kind": "fire", "matched": ""}


def test_a_page_that_asks_for_alarms_by_itself_keeps_nobody_signed_in(city: City) -> None:
    desk = city.hire("mori")
    left = now() - timedelta(minutes=auth.IDLE_MINUTES - 1)
    with transaction(city.engine) as session:
        session.exec(select(StaffSession)).one().seen_at = left
    assert desk.client.get("/desk/alarms").json() == []
    with transaction(city.engine) as session:
        row = session.exec(select(StaffSession)).one()
        assert row.seen_at == left
        row.seen_at = left - timedelta(minutes=2)
    assert desk.client.get("/desk/alarms", follow_redirects=False).headers["location"] == "/desk/login"
