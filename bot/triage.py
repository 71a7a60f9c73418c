"""From a stored message to a case in a department's queue.

The thinking (safety, dialogue, classifier) happens outside any transaction; the decision is one transaction
that does nothing if the message was decided already. Whatever fails, the message ends in a queue.
"""

import logging
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, timedelta
from typing import Any, Protocol
from uuid import UUID

from sqlalchemy import Engine
from sqlmodel import Session, col, select

from bot import alarms, city, conversations, incidents, inquiries, organisation, outbox
from bot.calendar import Calendar
from bot.db import now, transaction
from bot.dialogue_client import DialogueClient, DialogueUnavailable, Turn
from bot.models import (
    EXITS,
    FRONT_DESK,
    QUEUE_STATUSES,
    Conversation,
    Department,
    HandOffReason,
    Inquiry,
    InquiryStatus,
    Message,
)
from bot.privacy import MARKS, mask
from classifiers import language, safety
from classifiers.alarm import raises_alarm
from classifiers.department import Prediction, merged
from classifiers.safety import SafetyFlag

log = logging.getLogger(__name__)

MAX_ATTEMPTS = 5
MAX_BUTTONS = 4
MAX_SET = 6
"""A larger set says nothing a citizen could choose from; its exits are no buttons."""
ASKING_ON = timedelta(days=7)
"""So long after an answer what no department is named for is about the answer."""
_ASKS = re.compile(r"[?？]|か[。!！\s]*$|[下く]ださい|教えて|[ほ欲]しい|たい[ですのん]|[わ分]から|できな|困")
"""A sentence that wants something, however much it looks like small talk by itself."""
_SHORT_WORD = re.compile(r"\W*[A-Za-zＡ-Ｚａ-ｚ]{1,3}\W*")
MAX_READ = 20_000
"""Characters of a message that the machine reads; all of it is stored and shown."""


class Classifier(Protocol):
    """Routes one message."""

    def predict(self, text: str) -> Prediction:
        """Calibrated probabilities, the prediction set, and whether it abstains."""
        ...

    def remarks(self, text: str, prediction: Prediction) -> dict[str, Any]:
        """What is kept beside the prediction for people: words that mattered, the silent challenger."""
        ...


@dataclass(frozen=True, slots=True)
class Brain:
    """What triage thinks with; each part may be missing."""

    calendar: Calendar
    classifier: Classifier | None
    dialogue: DialogueClient | None
    drafting_enabled: bool


@dataclass(frozen=True, slots=True)
class Understanding:
    """What was found out about one message before anything is decided."""

    prediction: Prediction | None
    emergency: bool
    turn: Turn | None
    language: str | None = None
    """Of the words; None: there are none."""
    flag: SafetyFlag | None = None
    """What the rules found."""


def triage_conversation(engine: Engine, conversation_id: UUID, brain: Brain) -> int:
    """Decide every waiting message of a conversation in its order.

    Returns:
        How many were decided.
    """
    count = 0
    while message := _next_message(engine, conversation_id):
        understanding = _understand_safely(engine, message, brain)
        with transaction(engine) as session:
            cases = _decide(session, message, understanding, brain)
        _explain(engine, message, understanding, cases, brain)
        count += 1
    return count


def _next_message(engine: Engine, conversation_id: UUID) -> Message | None:
    with transaction(engine) as session:
        query = (
            select(Message)
            .where(Message.conversation_id == conversation_id, col(Message.triaged_at).is_(None))
            .order_by(col(Message.seq))
            .limit(1)
        )
        message = session.exec(query).first()
        if message:
            message.triage_attempts += 1
            session.add(message)
        return message


def _understand_safely(engine: Engine, message: Message, brain: Brain) -> Understanding:
    """After several deaths on the same message a person gets it as it is, with what the rules say."""
    if message.triage_attempts > MAX_ATTEMPTS:
        log.error("message %s was tried %d times: handed to a person", message.id, message.triage_attempts)
        flag = safety.check(message.text)
        return Understanding(None, flag is not None, None, flag=flag)
    with transaction(engine) as session:
        sender = session.get_one(Conversation, message.conversation_id).rasa_sender
    return understand(message, sender, brain)


def understand(message: Message, sender: str, brain: Brain) -> Understanding:
    """Safety, routing and dialogue, side by side; a part that fails is left out."""
    text = _readable(message)
    if not text.strip() and message.kind != "button":
        return Understanding(None, False, None)
    prediction = _predict(text, brain) if text.strip() else None
    flag = safety.check(message.text)
    emergency = raises_alarm(flag, prediction)
    turn = None if emergency else _turn(message, text, sender, prediction, brain)
    return Understanding(prediction, emergency, turn, _spoken(text), flag)


def _readable(message: Message) -> str:
    """What the machine may read of a message."""
    return mask(message.text[:MAX_READ])[0]


def _spoken(text: str) -> str | None:
    """Digits and pictures are in no language, nor is 「OK」; the marks of the mask are not the citizen's."""
    for mark in MARKS.values():
        text = text.replace(mark, "")
    told = any(map(str.isalpha, text)) and not _SHORT_WORD.fullmatch(text)
    return language.detect(text) if told else None


def _predict(text: str, brain: Brain) -> Prediction | None:
    if brain.classifier is None:
        return None
    try:
        return brain.classifier.predict(text)
    except Exception as reason:  # any trouble of the model must end at the front desk, not in a lost message
        log.error("classifier failed: %s", type(reason).__name__)
        return None


def _explain(
    engine: Engine, message: Message, understood: Understanding, cases: Sequence[UUID], brain: Brain
) -> None:
    """Words that mattered and the challenger's view, kept with the cases: nobody has waited for them."""
    if brain.classifier is None or understood.prediction is None or not cases:
        return
    try:
        remarks = brain.classifier.remarks(_readable(message), understood.prediction)
    except Exception as reason:  # an explanation that fails must not cost the routing
        log.error("remarks failed: %s", type(reason).__name__)
        return
    with transaction(engine) as session:
        inquiries.explain(session, cases, message.id, remarks)


def _turn(
    message: Message, text: str, sender: str, prediction: Prediction | None, brain: Brain
) -> Turn | None:
    if brain.dialogue is None:
        return None
    abstained = prediction is None or is_unclear(prediction)
    command = message.data if message.kind == "button" else None
    try:
        return brain.dialogue.turn(
            sender, text=text, command=command, message_id=str(message.id), abstained=abstained
        )
    except DialogueUnavailable as reason:
        log.warning("dialogue unavailable: %s", reason)
        return None


def is_unclear(prediction: Prediction) -> bool:
    """Unsure between a few departments, so that a question with buttons can help."""
    return prediction.abstained and 1 < len(prediction.set) <= MAX_SET


def _decide(session: Session, waiting: Message, understood: Understanding, brain: Brain) -> Sequence[UUID]:
    """Returns the cases that now carry this prediction."""
    conversation = conversations.hold(session, waiting.conversation_id)
    message = session.get_one(Message, waiting.id)
    if message.triaged_at is not None:
        return ()  # decided, or taken back, while we were thinking
    message.triaged_at = now()
    session.add(message)
    if understood.language:
        conversation.language = understood.language
        session.add(conversation)
    decision = _Decision(session, message, conversation, understood, brain)
    urgent = understood.emergency or message.inquiry_id is not None
    if urgent:
        decision.emergency()
    inquiries.give_notice(session, conversation, cause=f"{message.id}:notice", answers=message)
    if not urgent:
        decision.ordinary()
    return decision.predicted


@dataclass(frozen=True, slots=True)
class _Decision:
    """The steps that one message can lead to."""

    session: Session
    message: Message
    conversation: Conversation
    understood: Understanding
    brain: Brain
    predicted: list[UUID] = field(default_factory=list)
    """Cases that carry this message's prediction."""

    def ordinary(self) -> None:
        """No cry for help: as the dialogue says, but after one everything goes to the same people."""
        if inquiry := alarms.running(self.session, self.conversation):
            self._attach(inquiry)
            alarms.sound_again(self.session, inquiry)
            self.fixed("follow_up_receipt", inquiry)
        elif self.message.kind not in {"text", "button"}:
            self.fixed("unsupported_message")
            self.attach_to_current()
        elif not self.understood.turn:
            self.without_dialogue()
        else:
            for step in self.understood.turn.steps:
                self.take(step)

    def take(self, step: dict[str, Any]) -> None:
        """One step of Rasa's answer; an unknown one opens a case, so that nothing is lost."""
        if "fixed_text" in step:
            self.fixed(str(step["fixed_text"]))
            return
        steps = {
            "open_inquiry": self.open,
            "clarify": self.clarify,
            "route_chosen": self.route_chosen,
            "status": self.status,
            "person": self.person,
            "withdraw": self.withdraw,
        }
        steps.get(str(step.get("step")), self.open)()

    def fixed(self, key: str, inquiry: Inquiry | None = None, buttons: tuple[str, ...] = ()) -> None:
        """Send a text approved in advance; a key that the city lacks opens a case instead."""
        if city.fixed_text(self.session, key) is None:
            self.open()
            return
        about = [inquiry.receipt_number] if inquiry else []
        outbox.send_fixed(
            self.session,
            key,
            self.conversation,
            cause=":".join([str(self.message.id), key, *about]),
            inquiry=inquiry,
            buttons=buttons,
            answers=self.message,
        )

    def without_dialogue(self) -> None:
        """Rasa is down or slow: a button still routes, anything else is an inquiry."""
        if self.message.kind == "button":
            self.route_chosen()
        else:
            self.open()

    def open(self) -> None:
        """A matter: attach it to the open case it continues, or register a new one."""
        if not self._continued():
            self._open_new()

    def _continued(self) -> bool:
        """Attach the words to the case that they continue: an open one, or one that was answered lately."""
        prediction = self.understood.prediction
        inquiry = inquiries.current(self.session, self.conversation.id) or self._asked_on(prediction)
        if inquiry is None or not self._continues(inquiry, prediction):
            return False
        self._follow_up(inquiry)
        return True

    def _open_new(self) -> None:
        prediction = self.understood.prediction
        if prediction and prediction.department in {"small_talk", "account"}:
            self.fixed("greeting" if prediction.department == "small_talk" else "account_help")
            return
        inquiry = self._new_inquiry(self._department())
        self._route(inquiry, prediction)
        out_of_scope = prediction is not None and prediction.department == "out_of_scope"
        self.fixed("out_of_scope" if out_of_scope else self._receipt(), inquiry)
        self._open_second(inquiry, prediction.also if prediction else "")

    def _open_second(self, first: Inquiry, also: str) -> None:
        """The message holds a second matter, if any: a case of its own with the same thread."""
        department_id = self._responsible(also) if also else FRONT_DESK
        if department_id in {FRONT_DESK, *self._at_work(first)}:
            return
        second = inquiries.open_inquiry(
            self.session,
            self.conversation,
            department_id,
            self.brain.calendar,
            prediction=self._prediction(),
            linked_to=first,
        )
        self.predicted.append(second.id)
        inquiries.route(self.session, second, department_id, drafting=self.brain.drafting_enabled)
        self.fixed("second_matter", second)

    def clarify(self) -> None:
        """Ask once, with the likely departments as buttons; the case waits at the front desk."""
        if self._continued():
            return
        choices = self._choices(self.understood.prediction)
        if not choices or self._department() != FRONT_DESK:
            self._open_new()
            return
        inquiry = self._new_inquiry(FRONT_DESK)
        inquiries.clarify(self.session, inquiry)
        self.fixed("clarify_department", inquiry, (*choices, FRONT_DESK))

    def route_chosen(self) -> None:
        """The citizen pressed a button, or wrote more."""
        inquiry = inquiries.current(self.session, self.conversation.id)
        pressed = str(self.message.data.get("department", ""))
        if inquiry is None or not (inquiry.status == InquiryStatus.clarifying or self._still_helps(inquiry)):
            # A button of an old question: the matter is with somebody already.
            if inquiry is None or self.message.kind != "button":
                self.open()
            else:
                self.attach_to_current()
            return
        self._attach(inquiry)
        chosen = self._responsible(pressed) if pressed else self._department()
        reason = HandOffReason.low_confidence if chosen == FRONT_DESK else None
        inquiries.route(self.session, inquiry, chosen, drafting=self.brain.drafting_enabled, reason=reason)
        incidents.join(self.session, inquiry)
        self.fixed(self._receipt(), inquiry)

    def _still_helps(self, inquiry: Inquiry) -> bool:
        """A late press: the front desk has the case because nobody chose, and no person has moved it yet."""
        return (
            self.message.kind == "button"
            and inquiry.department_id == FRONT_DESK
            and inquiry.hand_off_reason == HandOffReason.low_confidence
        )

    def status(self) -> None:
        """Where a case stands, only to the citizen whose case it is."""
        number = self.understood.turn.entities.get("receipt_number", "") if self.understood.turn else ""
        query = select(Inquiry).where(
            Inquiry.receipt_number == number, Inquiry.conversation_id == self.conversation.id
        )
        inquiry = self.session.exec(query).first()
        if inquiry is None:
            self.fixed("status_not_found")
        elif inquiry.status == InquiryStatus.answered and outbox.answer_goes_out(self.session, inquiry):
            self.fixed("status_answered", inquiry)
        elif inquiry.status in {InquiryStatus.closed, InquiryStatus.withdrawn}:
            self.fixed("status_closed", inquiry)
        else:
            self.fixed("status_open", inquiry)

    def person(self) -> None:
        """The citizen wants a person: the departments work their cases without a draft."""
        cases = inquiries.open_thread(self.session, self.conversation.id)
        if not cases and (asked_on := self._asked_on(None)):
            cases = [asked_on]
        if cases:
            self._attach(cases[0])
        for inquiry in cases or [self._new_inquiry(self._department())]:
            inquiries.supersede(self.session, inquiry)
            inquiries.hand_off(self.session, inquiry, HandOffReason.asked_for_person)
            self.fixed("person_will_answer", inquiry)

    def withdraw(self) -> None:
        """The citizen cancels the open matter, or the two of one message; each is named by its number."""
        cases = inquiries.open_thread(self.session, self.conversation.id)
        if not cases:
            self.fixed("greeting")
            return
        self._attach(cases[0])
        for inquiry in cases:
            inquiries.withdraw(self.session, inquiry)
            self.fixed("withdrawn", inquiry)

    def emergency(self) -> None:
        """Raise the alarm; one that the rules raised at the door is only completed."""
        if self.message.inquiry_id is None:
            inquiry = alarms.sound(
                self.session,
                self.message,
                self.conversation,
                self.brain.calendar,
                prediction=self._prediction(),
                department_id=self._department(),
            )
            self.predicted.append(inquiry.id)
            return
        inquiry = inquiries.locked(self.session, self.message.inquiry_id)
        if self.understood.prediction is None or "probabilities" in inquiry.prediction:
            return
        calmed = not self.understood.emergency and alarms.calm(self.session, inquiry)
        alarms.complete(self.session, inquiry, self._prediction(), self._department())
        self.predicted.append(inquiry.id)
        if calmed:
            inquiry.department_id = self._department()
            self._route(inquiry, self.understood.prediction)
            self.fixed(self._receipt(), inquiry)
            self._open_second(inquiry, self.understood.prediction.also)

    def attach_to_current(self) -> None:
        """Keep a wordless message with the open case, where a person sees it."""
        if cases := inquiries.open_thread(self.session, self.conversation.id):
            self._attach(cases[0])

    def _continues(self, inquiry: Inquiry, prediction: Prediction | None) -> bool:
        if inquiry.status == InquiryStatus.clarifying:
            return True
        if inquiry.emergency:
            return False  # an old one: a later matter must not hide behind it
        if prediction is None or prediction.abstained:
            return True
        matters = (prediction.department, prediction.also)
        return not self._at_work(inquiry).isdisjoint(self._responsible(one) for one in matters if one)

    def _asked_on(self, prediction: Prediction | None) -> Inquiry | None:
        """The case that was answered lately, open again, when these words name no department of their own."""
        names_one = prediction is not None and not prediction.abstained
        if names_one or self.message.kind != "text" or self.understood.language is None:
            return None
        if prediction and prediction.department == "small_talk" and not _ASKS.search(self.message.text):
            return None
        inquiry = inquiries.answered_since(self.session, self.conversation.id, now() - ASKING_ON)
        if inquiry:
            owner = self._responsible(inquiry.department_id)
            inquiries.reopen(self.session, inquiry, owner, self.brain.calendar)
        return inquiry

    def _at_work(self, first: Inquiry) -> set[str]:
        """Where this thread is worked on already."""
        return {one.department_id for one in [first, *inquiries.beside(self.session, first)]}

    def _follow_up(self, inquiry: Inquiry) -> None:
        if inquiry.status == InquiryStatus.clarifying:
            self.route_chosen()
            return
        self._attach(inquiry)
        for one in [inquiry, *inquiries.beside(self.session, inquiry)]:
            if one.status in QUEUE_STATUSES and one.hand_off_reason != HandOffReason.asked_for_person:
                inquiries.route(
                    self.session,
                    one,
                    one.department_id,
                    drafting=self.brain.drafting_enabled,
                    reason=HandOffReason(one.hand_off_reason) if one.hand_off_reason else None,
                )
        prediction = self.understood.prediction
        if prediction and prediction.also:
            for matter in (prediction.department, prediction.also):  # either may be the new one
                self._open_second(inquiry, matter)
        self.fixed("follow_up_receipt", inquiry)

    def _new_inquiry(self, department_id: str) -> Inquiry:
        inquiry = inquiries.open_inquiry(
            self.session,
            self.conversation,
            department_id,
            self.brain.calendar,
            prediction=self._prediction(),
        )
        self.predicted.append(inquiry.id)
        self._attach(inquiry)
        return inquiry

    def _prediction(self) -> dict[str, Any]:
        """What is kept with a case of the routing's and the rules' view."""
        prediction, rules = self.understood.prediction, alarms.found(self.understood.flag)
        return {**(asdict(prediction) if prediction else {}), **rules}

    def _attach(self, inquiry: Inquiry) -> None:
        self.message.inquiry_id = inquiry.linked_to or inquiry.id
        self.session.add(self.message)
        inquiries.heard(self.session, inquiry)

    def _department(self) -> str:
        prediction = self.understood.prediction
        if prediction is None:
            return FRONT_DESK
        if prediction.abstained:
            # Departments that the model cannot tell apart may be one by now (機構改革).
            return merged(prediction.set, organisation.successors(self._departments(), self._today()))
        return self._responsible(prediction.department)

    def _responsible(self, department_id: str) -> str:
        """Who answers today for what the model calls by this id."""
        return organisation.responsible(self._departments(), department_id, self._today())

    def _departments(self) -> dict[str, Department]:
        return {d.id: d for d in city.departments(self.session)}

    def _today(self) -> date:
        return now().astimezone(self.brain.calendar.zone).date()

    def _route(self, inquiry: Inquiry, prediction: Prediction | None) -> None:
        unsure = HandOffReason.low_confidence if inquiry.department_id == FRONT_DESK else None
        reason = unsure if prediction else HandOffReason.error
        inquiries.route(
            self.session, inquiry, inquiry.department_id, drafting=self.brain.drafting_enabled, reason=reason
        )
        incidents.join(self.session, inquiry)

    def _choices(self, prediction: Prediction | None) -> tuple[str, ...]:
        if prediction is None:
            return ()
        labels = (label for label in prediction.set if label not in EXITS)
        choices = dict.fromkeys(self._responsible(label) for label in labels)
        return tuple(d for d in choices if d != FRONT_DESK)[:MAX_BUTTONS]

    def _receipt(self) -> str:
        return "receipt" if self.brain.calendar.is_open(now()) else "off_hours_receipt"
