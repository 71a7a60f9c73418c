"""Emergencies: heard as they are stored, before any queue; told to people until somebody takes note."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlmodel import col

from bot import triage
from bot.db import now, transaction
from bot.models import Conversation, HandOffReason, Inquiry, Message, OutboxMessage, OutboxStatus
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
