"""Emergencies: a case, an alarm to people and the fixed notice, in one transaction, before any queue.

The rules run where a message is stored (`hear`), for they need neither model nor worker; triage raises what
only the model hears, and completes what the rules have raised.
"""

from datetime import timedelta
from typing import Any

from sqlmodel import Session, select

from bot import city, inquiries, outbox
from bot.calendar import Calendar
from bot.db import now
from bot.models import FRONT_DESK, Conversation, HandOffReason, Inquiry, InquiryStatus, Message
from bot.privacy import mask
from classifiers import safety
from classifiers.safety import SafetyFlag

STILL = timedelta(hours=24)
"""So long what the citizen writes belongs to the emergency, while its case is open."""


def hear(session: Session, message: Message, conversation: Conversation, calendar: Calendar) -> None:
    """Raise the alarm at once if the rules find an emergency in the citizen's own words.

    Args:
        session: The transaction that stores the message; it holds the conversation's lock.
        message: Just stored, not masked.
        conversation: Its conversation.
        calendar: For the case's due date.
    """
    if flag := safety.check(message.text):
        sound(session, message, conversation, calendar, prediction=found(flag))


def found(flag: SafetyFlag | None) -> dict[str, Any]:
    """What the rules found, as it is kept with the case's prediction; {} for nothing."""
    return {"alarm": {"kind": flag.kind, "matched": mask(flag.matched)[0]}} if flag else {}


def sound(
    session: Session,
    message: Message,
    conversation: Conversation,
    calendar: Calendar,
    *,
    prediction: dict[str, Any],
    department_id: str = FRONT_DESK,
) -> Inquiry:
    """Open the emergency's case, alarm people on every screen, queue the notice; no draft, no waiting.

    A cry for help that follows another belongs to its case and sounds the alarm again.
    """
    inquiry = running(session, conversation)
    if inquiry:
        sound_again(session, inquiry)
    else:
        inquiry = inquiries.open_inquiry(
            session, conversation, department_id, calendar, prediction=prediction
        )
        inquiries.hand_off(session, inquiry, HandOffReason.emergency)
    message.inquiry_id = inquiry.id
    session.add(message)
    if city.fixed_text(session, outbox.EMERGENCY_NOTICE):
        outbox.send_fixed(
            session,
            outbox.EMERGENCY_NOTICE,
            conversation,
            cause=f"{message.id}:{outbox.EMERGENCY_NOTICE}",
            inquiry=inquiry,
            answers=message,
        )
    return inquiry


def running(session: Session, conversation: Conversation) -> Inquiry | None:
    """The conversation's open emergency, locked, if it is recent."""
    inquiry = inquiries.current(session, conversation.id)
    return inquiry if inquiry and inquiry.emergency and inquiry.created_at > now() - STILL else None


def sound_again(session: Session, inquiry: Inquiry) -> None:
    """The citizen wrote more: people must take note anew; older screens cannot answer any more."""
    if inquiry.acknowledged_by:  # the timer of an alarm that nobody heard goes on
        inquiry.acknowledged_by, inquiry.status_since = None, now()
    inquiries.supersede(session, inquiry)
    inquiries.hand_off(session, inquiry, HandOffReason.emergency)


def complete(session: Session, inquiry: Inquiry, prediction: dict[str, Any], department_id: str) -> None:
    """The routing has read what the rules raised: keep its view, and tell the department if nobody acts yet.

    Args:
        session: The caller's transaction.
        inquiry: The emergency, locked; the routing has not read it before.
        prediction: What the routing said.
        department_id: Where it belongs.
    """
    inquiry.prediction = prediction | inquiry.prediction
    if _untouched(inquiry):
        inquiry.department_id = department_id
    session.add(inquiry)
    inquiries.note(
        session, inquiry, "system:triage", "assign", "worker", department=str(inquiry.department_id)
    )


def calm(session: Session, inquiry: Inquiry) -> bool:
    """Take back what a rule raised when a certain model says no; the case tells of it for good.

    Args:
        session: The caller's transaction.
        inquiry: The emergency, locked; the routing has not read it before.

    Returns:
        False if a person acts already or the citizen wrote more: the alarm stays.
    """
    spoken = select(Message.id).where(Message.inquiry_id == inquiry.id, Message.direction == "in")
    if not _untouched(inquiry) or len(session.exec(spoken).all()) > 1:
        return False
    rules = inquiry.prediction["alarm"]
    inquiry.emergency, inquiry.hand_off_reason, inquiry.alarm_escalated_at = False, None, None
    inquiry.prediction = {**inquiry.prediction, "alarm": {**rules, "calmed": True}}
    session.add(inquiry)
    inquiries.note(session, inquiry, "system:triage", "calm_alarm", "worker", kind=rules["kind"])
    return True


def _untouched(inquiry: Inquiry) -> bool:
    """No person has done anything with the alarm."""
    return (
        inquiry.acknowledged_by is None
        and inquiry.department_id == FRONT_DESK
        and inquiry.status == InquiryStatus.with_person
        and inquiry.hand_off_reason == HandOffReason.emergency
    )
