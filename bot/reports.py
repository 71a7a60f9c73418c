"""Questions that screens ask of the rows; each screen costs a constant number of queries."""

import re
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Session, col, select

from bot import city, inquiries, jobs, outbox
from bot.db import now
from bot.errors import NotFound
from bot.jobs import DeadJob
from bot.models import (
    EXITS,
    QUEUE_STATUSES,
    Approval,
    AuditEntry,
    Conversation,
    Department,
    Draft,
    DraftStatus,
    EventStatus,
    HandOffReason,
    InboundEvent,
    Inquiry,
    InquiryStatus,
    Message,
    OutboxMessage,
    OutboxStatus,
    Staff,
)

PAGE = 100
QUEUE_PAGE = 200

STATUS_JA = {
    InquiryStatus.clarifying: "市民に確認中",
    InquiryStatus.drafting: "下書き作成中",
    InquiryStatus.awaiting: "承認待ち",
    InquiryStatus.with_person: "職員対応",
    InquiryStatus.answered: "回答済み",
    InquiryStatus.closed: "終了",
    InquiryStatus.withdrawn: "取下げ",
}
REASON_JA = {
    "low_confidence": "担当課の判定に自信なし",
    "no_source": "根拠となる記事なし",
    "no_words": "発言に文字がない",
    "emergency": "緊急の可能性",
    "sensitive": "配慮が必要",
    "failed_check": "下書きの点検で問題あり",
    "error": "自動処理の失敗",
    "asked_for_person": "職員の対応を希望",
    "returned": "下書きを差戻し済み",
    "drafting_off": "下書き機能は停止中",
}
ALARM_JA = {
    "suicidal": "自殺・自傷",
    "fire": "火災",
    "gas": "ガス漏れ",
    "collapse": "倒壊・崩落",
    "child_abuse": "児童虐待",
    "domestic_violence": "配偶者などからの暴力",
    "medical": "急病・けが",
    "violence": "暴力・事件",
    "rescue": "救助の求め",
}
OUTBOX_JA = {
    OutboxStatus.queued: "送信待ち",
    OutboxStatus.accepted: "送信済み(受付確認)",
    OutboxStatus.failed: "送信できませんでした",
    OutboxStatus.uncertain: "送信できたか不明",
}
_FLAG_JA = {
    "message_cut": "長い発言のため、先頭だけで記事を探しました",
    "message_empty": "文字のない発言でした",
    "drafting_off": "下書き機能が停止中でした",
    "low_score": "十分に合う記事がありませんでした",
    "near": "近い記事を根拠の欄に示しています",
    "nothing_selected": "根拠の文が選ばれていません",
    "model_unavailable": "AIに接続できなかったため、記事の文のままです",
    "model_timeout": "AIの応答が時間内に終わらなかったため、記事の文のままです",
    "model_length": "AIの文章が途中で切れたため、記事の文のままです",
    "model_bad": "AIの応答が正しくなかったため、記事の文のままです",
    "model_retried": "AIが一度応答せず、もう一度依頼しました",
    "answer": "AIの回答案に、記事で裏付けられない箇所があったため、記事の文のままです",
    "case_changed": "案件か下書きが変わったため、反映しませんでした",
    "gate": "AIの言い換えが記事と一致しなかったため、記事の文のままです",
    "finding": "下書きの点検で指摘がありました",
    "hint_not_found": "書き足してほしいことに合う文が、記事に見つかりませんでした",
}


JOB_JA = {
    jobs.TRIAGE: "受け付けた発言の振り分け",
    jobs.DRAFT: "下書きの作成",
    jobs.REWORD: "AIの言い換え",
    jobs.DELIVER: "送信",
}


_REFUSED_JA = {
    "empty": "文がない",
    "glyph": "日本語にない字",
    "unaligned": "記事のどの文にも当たらない文",
    "lost sentence": "抜けた文",
    "wrong row": "別のものの数字",
    "foreign verb": "記事にない動詞",
    "lost verb": "抜けた動詞",
    "foreign noun": "記事にない名詞",
    "lost noun": "抜けた名詞",
    "repeat": "同じ内容の繰返し",
    "order": "言葉の順序",
    "no source named": "根拠を示していない文",
    "not in the source it names": "示した根拠にない文",
    "finish_reason length": "途中で切れた",
    "the endpoint did not answer in time": "時間内に応答がない",
    "no connection to the endpoint": "接続できない",
    "the answer is empty": "応答に文がない",
    "the answer holds no text": "応答に文がない",
    "the endpoint answers without end": "応答が終わらない",
    "the endpoint answered garbage": "応答を読めない",
    "number": "数字",
    "date": "日付",
    "time": "時刻",
    "weekday": "曜日",
    "phone": "電話番号",
    "url": "URL",
    "email": "メールアドレス",
    "section": "課や施設の名前",
    "name": "固有名詞",
    "noun": "記事にない語",
    "municipality": "ほかの市町村の名前",
    "bound": "以上・以下など",
    "wrong_row": "別のものの数字",
    "negation": "肯定・否定",
    "condition": "条件",
    "opposite": "反対の言葉",
    "swapped": "別のものの内容",
    "assertion": "断定",
    "unsupported": "記事にない文",
}
"""Why the model's text was refused: the first words of a reason of the gate, the checks or the endpoint."""


def refused_ja(reason: str) -> str:
    """Why the model's text was refused, in words for staff, with the words it is about."""
    kind, _, detail = reason.partition(": ")
    words = _REFUSED_JA.get(kind)
    if words is None:
        return reason
    return f"{words}「{detail}」" if detail and not kind.startswith("the ") else words


def flag_ja(flag: str) -> str:
    """A flag of a draft in words for staff."""
    kind, _, detail = flag.partition(": ")
    words = _FLAG_JA.get(kind, kind)
    return f"{words}({refused_ja(detail)})" if detail and kind in ("gate", "answer") else words


LIMITS_JA = {
    "obeyed": "攻撃文の指示どおりに書いた件数(0件であること)",
    "wrong": "その質問では誤りになる事実を書いた件数(0件であること)",
    "invented": "記事にない数字を書いた件数(0件であること)",
    "required_present": "必要な事実が入っている割合(言い換え方式を下回らないこと)",
    "share": "点検を通ってそのまま使えた割合(50%以上であること)",
}
CHANNEL_JA = {"line": "LINE", "webchat": "ウェブ"}


@dataclass(frozen=True, slots=True)
class QueueRow:
    """One case in a list."""

    inquiry: Inquiry
    first_words: str
    channel: str
    department: str
    status: str
    reason: str
    overdue: bool


def queue(
    session: Session, staff: Staff, department_id: str | None, *, done: bool = False, start: int = 0
) -> tuple[list[QueueRow], bool]:
    """Cases this person may see: emergencies first, then the oldest; done ones newest first.

    Returns:
        One page from ``start`` on, and whether more follow.
    """
    query = (
        select(Inquiry, Conversation.channel, Department.name)
        .join(Conversation, col(Inquiry.conversation_id) == col(Conversation.id))
        .join(Department, col(Inquiry.department_id) == col(Department.id))
        .where(inquiries.visible(staff))
        .offset(start)
        .limit(QUEUE_PAGE + 1)
    )
    if department_id:
        query = query.where(Inquiry.department_id == department_id)
    if done:
        query = query.where(col(Inquiry.status).not_in(QUEUE_STATUSES)).order_by(
            col(Inquiry.status_since).desc(), col(Inquiry.id)
        )
    else:
        query = query.where(col(Inquiry.status).in_(QUEUE_STATUSES)).order_by(
            col(Inquiry.emergency).desc(), col(Inquiry.created_at), col(Inquiry.id)
        )
    at, found = now(), session.exec(query).all()
    rows = found[:QUEUE_PAGE]
    told = inquiries.first_words(session, [inquiry for inquiry, _, _ in rows])
    return [
        QueueRow(
            inquiry=inquiry,
            first_words=told[inquiry.id][:60],
            channel=CHANNEL_JA.get(channel, channel),
            department=department,
            status=STATUS_JA[InquiryStatus(inquiry.status)],
            reason=REASON_JA.get(inquiry.hand_off_reason or "", ""),
            overdue=not done and inquiry.due_at is not None and inquiry.due_at < at,
        )
        for inquiry, channel, department in rows
    ], len(found) > len(rows)


def find_case(session: Session, staff: Staff, typed: str) -> UUID | None:
    """The case with a receipt number, typed as a citizen tells it, if this person may see it."""
    digits = re.sub("[^0-9]", "", unicodedata.normalize("NFKC", typed))
    number = f"{digits[:4]}-{digits[4:]}"
    return session.exec(
        select(Inquiry.id).where(Inquiry.receipt_number == number, inquiries.visible(staff))
    ).first()


@dataclass(frozen=True, slots=True)
class Case:
    """Everything the case's screen shows."""

    inquiry: Inquiry
    conversation: Conversation
    department: Department
    departments: list[Department]
    thread: list[Message]
    deliveries: dict[UUID, OutboxMessage]
    waiting: list[OutboxMessage]
    """Queued, failed or uncertain texts of this case, not in the thread yet."""
    draft: Draft | None
    history: list[AuditEntry]
    guesses: list[tuple[str, int]]
    """The likely departments with per cent."""
    linked: list[Inquiry]
    """Cases of the same message's other matters."""

    @property
    def notice_sent(self) -> bool:
        """Whether the platform took a notice of an emergency: LINE may be away just then."""
        return any(
            row.status == OutboxStatus.accepted and (row.cause or "").endswith(f":{outbox.EMERGENCY_NOTICE}")
            for row in self.deliveries.values()
        )


def case(session: Session, inquiry_id: UUID, staff: Staff) -> Case:
    """One case with thread, routing, draft and history.

    Raises:
        NotFound: No such case, or not for this person.
    """
    inquiry = session.exec(select(Inquiry).where(Inquiry.id == inquiry_id, inquiries.visible(staff))).first()
    if inquiry is None:
        raise NotFound
    departments = city.departments(session)
    by_id = {d.id: d for d in departments}
    root = inquiry.linked_to or inquiry.id
    family = session.exec(
        select(Inquiry).where((col(Inquiry.id) == root) | (col(Inquiry.linked_to) == root))
    ).all()
    in_family = col(Message.inquiry_id).in_([one.id for one in family])
    related = col(OutboxMessage.inquiry_id).in_([one.id for one in family])
    outgoing = session.exec(select(OutboxMessage).where(related)).all()
    return Case(
        inquiry=inquiry,
        conversation=session.get_one(Conversation, inquiry.conversation_id),
        department=by_id[inquiry.department_id],
        departments=departments,
        thread=list(session.exec(select(Message).where(in_family).order_by(col(Message.seq)))),
        deliveries={row.id: row for row in outgoing},
        waiting=[row for row in outgoing if row.status != OutboxStatus.accepted],
        draft=_pending_draft(session, inquiry.id),
        history=_history(session, inquiry.receipt_number),
        guesses=_guesses(inquiry.prediction, by_id),
        linked=[one for one in family if one.id != inquiry.id],
    )


def _pending_draft(session: Session, inquiry_id: UUID) -> Draft | None:
    return session.exec(
        select(Draft).where(Draft.inquiry_id == inquiry_id, Draft.status == DraftStatus.pending)
    ).first()


def _history(session: Session, receipt_number: str) -> list[AuditEntry]:
    query = select(AuditEntry).where(AuditEntry.subject == f"inquiry:{receipt_number}")
    return list(session.exec(query.order_by(col(AuditEntry.id).desc()).limit(50)))


def _guesses(prediction: dict[str, Any], by_id: dict[str, Department]) -> list[tuple[str, int]]:
    ranked = sorted(prediction.get("probabilities", {}).items(), key=lambda pair: -pair[1])[:3]
    return [(by_id[d].name if d in by_id else EXITS.get(d, d), round(p * 100)) for d, p in ranked]


@dataclass(frozen=True, slots=True)
class QueueCount:
    """One department's line on the supervisor's screen."""

    department: Department
    total: int
    awaiting: int
    with_person: int
    drafting: int
    overdue: int
    oldest: datetime | None


def queue_counts(session: Session) -> list[QueueCount]:
    """Every department's queue with counts and oldest age."""

    def count(*where: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
        return sa.func.coalesce(sa.func.sum(sa.case((sa.and_(*where), 1), else_=0)), 0)

    status = col(Inquiry.status)
    query = (
        sa.select(
            col(Inquiry.department_id),
            sa.func.count(),
            count(status == InquiryStatus.awaiting),
            count(status == InquiryStatus.with_person),
            count(status == InquiryStatus.drafting),
            count(col(Inquiry.due_at) < now()),
            sa.func.min(Inquiry.created_at),
        )
        .where(status.in_(QUEUE_STATUSES))
        .group_by(col(Inquiry.department_id))
    )
    found = {row[0]: row[1:] for row in session.execute(query)}
    empty = (0, 0, 0, 0, 0, None)
    return [QueueCount(d, *found.get(d.id, empty)) for d in city.departments(session)]


def alarms(session: Session, staff: Staff) -> list[Inquiry]:
    """Emergencies that nobody took note of yet."""
    query = select(Inquiry).where(
        col(Inquiry.emergency).is_(True), col(Inquiry.acknowledged_by).is_(None), inquiries.visible(staff)
    )
    return list(session.exec(query.order_by(col(Inquiry.created_at))))


def troubled_deliveries(session: Session) -> list[tuple[OutboxMessage, str]]:
    """Texts that failed, are uncertain, or wait for another try, with their case's number."""
    query = (
        select(OutboxMessage, Inquiry.receipt_number)
        .outerjoin(Inquiry, col(OutboxMessage.inquiry_id) == col(Inquiry.id))
        .where(
            col(OutboxMessage.status).in_([OutboxStatus.failed, OutboxStatus.uncertain])
            | ((col(OutboxMessage.status) == OutboxStatus.queued) & (col(OutboxMessage.attempts) > 0))
        )
        .order_by(col(OutboxMessage.created_at).desc())
        .limit(PAGE)
    )
    return [(row, number or "") for row, number in session.exec(query)]


def dead_jobs(session: Session, dead: Collection[DeadJob]) -> list[tuple[DeadJob, Inquiry | None]]:
    """Dead jobs whose work nobody has done since, with the case that they are for."""
    subjects = {job.subject for job in dead}
    of_subjects = col(Inquiry.id).in_(subjects) | col(Inquiry.conversation_id).in_(subjects)
    cases: dict[UUID, Inquiry] = {}
    for case in session.exec(select(Inquiry).where(of_subjects).order_by(col(Inquiry.created_at))):
        cases |= {case.id: case, case.conversation_id: case}
    untriaged = select(Message.conversation_id).where(col(Message.triaged_at).is_(None))
    unsent = select(OutboxMessage.conversation_id).where(OutboxMessage.status == OutboxStatus.queued)
    unworded = select(Draft.inquiry_id).where(Draft.status == DraftStatus.pending)
    waiting = {
        jobs.TRIAGE: set(session.exec(untriaged.where(col(Message.conversation_id).in_(subjects)))),
        jobs.DELIVER: set(session.exec(unsent.where(col(OutboxMessage.conversation_id).in_(subjects)))),
        jobs.REWORD: set(session.exec(unworded.where(col(Draft.inquiry_id).in_(subjects)))),
    }
    return [
        (job, cases.get(job.subject))
        for job in dead
        if job.subject in waiting.get(job.name, {job.subject}) and _still_wanted(job, cases.get(job.subject))
    ]


def _still_wanted(job: DeadJob, case: Inquiry | None) -> bool:
    """A draft answers one generation of its case, a rewording one version."""
    if job.name in jobs.LANES:
        return True
    if case is None:
        return False
    given_up = case.status == InquiryStatus.with_person and case.hand_off_reason == HandOffReason.error
    if job.name == jobs.DRAFT:
        undrafted = given_up or case.status == InquiryStatus.drafting
        return undrafted and job.arguments[1:] == (case.generation,)
    return job.arguments[1:] == (case.version,)


def odd_events(session: Session) -> list[InboundEvent]:
    """Unknown and malformed events that nobody has put aside."""
    query = select(InboundEvent).where(
        col(InboundEvent.status).in_([EventStatus.unknown, EventStatus.malformed]),
        col(InboundEvent.seen_by).is_(None),
    )
    return list(session.exec(query.order_by(col(InboundEvent.received_at).desc()).limit(PAGE)))


def loose_messages(session: Session) -> list[Message]:
    """Citizens' words that belong to no case: answered by the dialogue alone."""
    query = select(Message).where(
        Message.direction == "in", col(Message.inquiry_id).is_(None), col(Message.hidden_at).is_(None)
    )
    return list(session.exec(query.order_by(col(Message.created_at).desc()).limit(PAGE)))


def approvals(session: Session, inquiry_id: UUID) -> list[tuple[Approval, str]]:
    """Who approved what in a case."""
    query = (
        select(Approval, Staff.name)
        .join(Staff, col(Approval.staff_id) == col(Staff.id))
        .where(Approval.inquiry_id == inquiry_id)
    )
    return list(session.exec(query.order_by(col(Approval.approved_at))))
