"""The nouns. Rows say where a case stands; a queue on a screen is a query over them."""

from datetime import date, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from bot.db import UtcDateTime, now

FRONT_DESK = "front_desk"
EXITS = {
    "small_talk": "あいさつ・雑談",
    "account": "アカウントについて",
    "out_of_scope": "市役所の所管外",
}
"""The classifier's labels that are no department, as staff read them."""


class EventStatus(StrEnum):
    """What became of a raw event of a platform."""

    stored = "stored"
    """Committed; became a message or changed a conversation."""
    ignored = "ignored"
    """Understood, nothing to do (joined a group, say)."""
    unknown = "unknown"
    """A type we do not know: staff see it."""
    malformed = "malformed"
    """Not the shape its type promises: staff see it."""


class InquiryStatus(StrEnum):
    """Where a case stands."""

    clarifying = "clarifying"
    """The citizen was asked which matter it is."""
    drafting = "drafting"
    """In a department's queue; the draft is being prepared."""
    awaiting = "awaiting"
    """A draft waits for a person."""
    with_person = "with_person"
    """Handed to a person, no usable draft."""
    answered = "answered"
    """An approved reply was queued."""
    closed = "closed"
    """Ended by a person."""
    withdrawn = "withdrawn"
    """Taken back by the citizen."""


OPEN_STATUSES = (
    InquiryStatus.clarifying,
    InquiryStatus.drafting,
    InquiryStatus.awaiting,
    InquiryStatus.with_person,
)
QUEUE_STATUSES = (InquiryStatus.drafting, InquiryStatus.awaiting, InquiryStatus.with_person)


class HandOffReason(StrEnum):
    """Why a person takes over."""

    low_confidence = "low_confidence"
    no_source = "no_source"
    no_words = "no_words"
    emergency = "emergency"
    sensitive = "sensitive"
    failed_check = "failed_check"
    error = "error"
    asked_for_person = "asked_for_person"
    returned = "returned"
    drafting_off = "drafting_off"


class DraftStatus(StrEnum):
    """Life of a draft."""

    pending = "pending"
    approved = "approved"
    returned = "returned"
    superseded = "superseded"


class OutboxStatus(StrEnum):
    """Life of a message on its way out."""

    queued = "queued"
    """To be sent, or to be tried again."""
    accepted = "accepted"
    """The platform took it; LINE's 200 does not mean read."""
    failed = "failed"
    """Refused for good: a person must look."""
    uncertain = "uncertain"
    """No definite answer and the retry key is no longer safe: a person must look."""


class ModelStatus(StrEnum):
    """Life of a trained classifier."""

    challenger = "challenger"
    """Predicts silently beside the champion."""
    champion = "champion"
    """Routes. When there is none, the model of the first set-up does."""
    retired = "retired"
    """Was champion; comes back when its successor is taken back."""
    refused = "refused"
    """Was never promoted, or was taken back."""


class Role(StrEnum):
    """What a staff member may do."""

    caseworker = "caseworker"
    supervisor = "supervisor"
    admin = "admin"
    auditor = "auditor"


def _id() -> Any:  # noqa: ANN401
    return Field(default_factory=uuid4, primary_key=True)


def _time(*, nullable: bool = False, index: bool = False) -> Any:  # noqa: ANN401
    if nullable:
        return Field(default=None, sa_type=UtcDateTime, nullable=True, index=index)
    return Field(default_factory=now, sa_type=UtcDateTime, nullable=False, index=index)


def _json(default: type[list[Any]] | type[dict[str, Any]]) -> Any:  # noqa: ANN401
    return Field(default_factory=default, sa_type=sa.JSON, nullable=False)


def _enum(default: str | None = None, *, nullable: bool = False, index: bool = False) -> Any:  # noqa: ANN401
    return Field(default=default, sa_type=sa.String, nullable=nullable, index=index)


class Department(SQLModel, table=True):
    """A department of the city, and the front desk."""

    id: str = Field(primary_key=True)
    name: str
    short: str
    covers: str = ""
    phone: str = ""
    floor: str = ""
    position: int
    valid_from: date | None = None
    valid_to: date | None = None
    """Last day in force."""
    successor_id: str | None = Field(default=None, foreign_key="department.id")
    """Who takes over its cases after ``valid_to`` (機構改革)."""
    drafting_enabled: bool = True
    passed_on: bool = False
    """It has ended, and a stop of its drafts went to who took over; the switch stays as it was that day."""


class Staff(SQLModel, table=True):
    """A person who works here. Only such a person can approve."""

    id: UUID = _id()
    login: str = Field(unique=True)
    name: str
    role: Role = _enum()
    department_id: str = Field(foreign_key="department.id")
    password_hash: str
    active: bool = True
    failed_logins: int = 0
    locked_until: datetime | None = _time(nullable=True)


class StaffSession(SQLModel, table=True):
    """A signed-in browser. The cookie's token is stored only as its SHA-256."""

    token_sha256: str = Field(primary_key=True)
    staff_id: UUID = Field(foreign_key="staff.id", index=True)
    csrf: str
    created_at: datetime = _time()
    seen_at: datetime = _time()


class InboundEvent(SQLModel, table=True):
    """A platform's event exactly as it came, stored before the platform got its 200."""

    __table_args__ = (sa.UniqueConstraint("channel", "event_id"),)

    id: UUID = _id()
    channel: str
    event_id: str
    """The platform's id; a redelivery repeats it. Without one: ``sha256:`` of the event."""
    raw: str
    """JSON text, ASCII-escaped, so that NUL and lone surrogates survive every database."""
    status: EventStatus = _enum(index=True)
    note: str = ""
    received_at: datetime = _time(index=True)
    seen_by: UUID | None = Field(default=None, foreign_key="staff.id")
    """Who looked at an unknown or malformed event and put it aside."""


class Conversation(SQLModel, table=True):
    """One citizen on one channel."""

    __table_args__ = (sa.UniqueConstraint("channel", "channel_user"),)

    id: UUID = _id()
    channel: str
    channel_user: str
    """LINE: the user id of this provider. Web chat: a random id."""
    rasa_sender: str = Field(default_factory=lambda: uuid4().hex)
    """What Rasa knows the citizen by: random, not a user id."""
    language: str = "ja"
    notice_version: int = 0
    """Version of the first-contact notice last sent; 0: none yet."""
    next_seq: int = 1
    blocked: bool = False
    """The citizen blocked the account; LINE still answers 200 to a push."""
    created_at: datetime = _time()


class Incident(SQLModel, table=True):
    """Cases of several citizens that seem to tell of one thing: a fallen tree, a power cut."""

    id: UUID = _id()
    department_id: str = Field(foreign_key="department.id")
    created_at: datetime = _time()


class Inquiry(SQLModel, table=True):
    """One matter of one citizen."""

    __table_args__ = (
        sa.Index("ix_inquiry_queue", "department_id", "status"),
        sa.Index(
            "ix_inquiry_alarm",
            "status_since",
            sqlite_where=sa.text("emergency IS 1 AND acknowledged_by IS NULL"),
            postgresql_where=sa.text("emergency IS true AND acknowledged_by IS NULL"),
        ),
    )

    id: UUID = _id()
    receipt_number: str = Field(unique=True)
    conversation_id: UUID = Field(foreign_key="conversation.id", index=True)
    status: InquiryStatus = _enum(index=True)
    department_id: str = Field(foreign_key="department.id")
    hand_off_reason: HandOffReason | None = _enum(nullable=True)
    prediction: dict[str, Any] = _json(dict)
    emergency: bool = False
    acknowledged_by: UUID | None = Field(default=None, foreign_key="staff.id")
    """Who took note of an emergency."""
    alarm_escalated_at: datetime | None = _time(nullable=True)
    """Nobody took note in time: since then everybody sees the alarm."""
    linked_to: UUID | None = Field(default=None, foreign_key="inquiry.id", index=True)
    """The case with which this one shares its thread: one message, two matters."""
    incident_id: UUID | None = Field(default=None, foreign_key="incident.id", index=True)
    """Other citizens told of the same thing."""
    incident_left: bool = False
    """A person took the case out of such a group: it joins none again."""
    version: int = 1
    """Grows with every change; a decision names the version its author saw."""
    generation: int = 0
    """Grows with every request for a draft; a draft of an older generation is not attached."""
    wish: dict[str, Any] = _json(dict)
    """How a caseworker wants the draft, as `responders.draft.Wish`; the words are theirs, not a citizen's."""
    created_at: datetime = _time(index=True)
    status_since: datetime = _time(index=True)
    due_at: datetime | None = _time(nullable=True)
    answered_at: datetime | None = _time(nullable=True)
    closed_at: datetime | None = _time(nullable=True)
    belongs_to: str = ""
    """One of `EXITS` when a person closed the case as no department's matter."""

    @property
    def outcome(self) -> str:
        """The label that would have been right, once the case has ended."""
        return self.belongs_to or self.department_id


class Transfer(SQLModel, table=True):
    """A case went from one department to another."""

    id: UUID = _id()
    inquiry_id: UUID = Field(foreign_key="inquiry.id", index=True)
    from_department: str = Field(foreign_key="department.id")
    to_department: str = Field(foreign_key="department.id")
    staff_id: UUID | None = Field(default=None, foreign_key="staff.id")
    """Who decided; nobody at a reorganisation."""
    created_at: datetime = _time()


class TrainingExample(SQLModel, table=True):
    """A finished case that a supervisor released (or refused) as a lesson for the routing."""

    id: UUID = _id()
    inquiry_id: UUID = Field(foreign_key="inquiry.id", unique=True)
    text: str
    """The citizen's words, personal data masked; erased when the citizen takes them back."""
    department_id: str = Field(foreign_key="department.id")
    """Where the case ended."""
    belongs_to: str = ""
    """As `Inquiry.belongs_to`: then this is what the model learns."""
    used: bool
    """False: the supervisor looked and refused."""
    authorised_by: UUID = Field(foreign_key="staff.id")
    authorised_at: datetime = _time()


class SearchExample(SQLModel, table=True):
    """A finished case with ticked sentences that a supervisor released (or refused) for the search."""

    id: UUID = _id()
    inquiry_id: UUID = Field(foreign_key="inquiry.id", unique=True)
    text: str
    """As `TrainingExample.text`."""
    department_id: str = Field(foreign_key="department.id")
    gold: list[Any] = _json(list)
    """The ticked sentences: ``article`` and ``sentence``."""
    used: bool
    """False: the supervisor looked and refused."""
    authorised_by: UUID = Field(foreign_key="staff.id")
    authorised_at: datetime = _time()


class RoutingModel(SQLModel, table=True):
    """A trained classifier beside the first one, and what was decided about it."""

    id: UUID = _id()
    folder: str = Field(unique=True)
    """Name inside ``models/`` of the data folder."""
    status: ModelStatus = _enum(index=True)
    examples: int
    """How many lessons from cases it learnt from."""
    lessons: list[str] = _json(list)
    """Ids of their `TrainingExample`: one that is gone was taken back. Empty before they were recorded."""
    metrics: dict[str, Any] = _json(dict)
    """The comparison with the champion of its day."""
    created_at: datetime = _time()
    decided_by: UUID | None = Field(default=None, foreign_key="staff.id")
    decided_at: datetime | None = _time(nullable=True)


class Message(SQLModel, table=True):
    """One utterance, inbound or outbound."""

    __table_args__ = (
        sa.UniqueConstraint("conversation_id", "seq"),
        sa.UniqueConstraint("conversation_id", "platform_id"),
        sa.Index(
            "ix_message_untriaged",
            "conversation_id",
            sqlite_where=sa.text("triaged_at IS NULL"),
            postgresql_where=sa.text("triaged_at IS NULL"),
        ),
    )

    id: UUID = _id()
    conversation_id: UUID = Field(foreign_key="conversation.id")
    inquiry_id: UUID | None = Field(default=None, foreign_key="inquiry.id", index=True)
    seq: int
    """Order within the conversation."""
    direction: str
    """``in`` or ``out``."""
    kind: str = "text"
    """text, button, sticker, image, video, audio, file, location, unknown."""
    text: str = ""
    data: dict[str, Any] = _json(dict)
    """A button's payload; a sticker's keywords."""
    platform_id: str | None = None
    """The platform's message id; web chat: the client's own id."""
    reply_token: str | None = None
    """LINE: usable once, for about a minute after ``created_at``."""
    outbox_id: UUID | None = Field(default=None, foreign_key="outboxmessage.id", unique=True)
    hidden_at: datetime | None = _time(nullable=True)
    """The citizen took it back: the text is erased, the tombstone stays."""
    triaged_at: datetime | None = _time(nullable=True)
    triage_attempts: int = 0
    created_at: datetime = _time()


class Draft(SQLModel, table=True):
    """A proposed reply to a case. It can never leave by itself."""

    id: UUID = _id()
    inquiry_id: UUID = Field(foreign_key="inquiry.id", index=True)
    status: DraftStatus = _enum(index=True)
    origin: str
    """``model``, ``template``, ``holding`` or ``staff``."""
    text: str
    """The whole proposed reply: greeting, body, closing."""
    ready: bool
    """May be approved as it stands, without a confirmation."""
    sentences: list[Any] = _json(list)
    findings: list[Any] = _json(list)
    passages: list[Any] = _json(list)
    flags: list[Any] = _json(list)
    model: dict[str, Any] = _json(dict)
    article_versions: dict[str, Any] = _json(dict)
    """Article id → the version on which the draft stands."""
    times: dict[str, Any] = _json(dict)
    """Seconds of selection, template, model and check."""
    ticked: bool = False
    """A person chose its sentences: they show what answers the question."""
    second_kind: str = ""
    """``easy`` for やさしい日本語, a language code, or empty: no second text."""
    second_text: str = ""
    """Proposed below the Japanese text; what was sent stands in the approval."""
    second_made_from: str = ""
    """SHA-256 of the Japanese text that it was made from."""
    second_model: dict[str, Any] = _json(dict)
    """As ``model``, for a translation; empty where rules made the text."""
    second_findings: list[Any] = _json(list)
    """What the check said of it when it was made."""
    return_reason: str = ""
    decided_by: UUID | None = Field(default=None, foreign_key="staff.id")
    decided_at: datetime | None = _time(nullable=True)
    created_at: datetime = _time()


class Approval(SQLModel, table=True):
    """A person's decision that exactly this text goes to this citizen. Immutable in the database."""

    id: UUID = _id()
    draft_id: UUID = Field(foreign_key="draft.id", unique=True)
    inquiry_id: UUID = Field(foreign_key="inquiry.id", index=True)
    staff_id: UUID = Field(foreign_key="staff.id")
    text: str
    text_sha256: str
    screen: str
    confirmed: list[Any] = _json(list)
    """Findings the person confirmed instead of editing."""
    approved_at: datetime = _time()


class ModelEvaluation(SQLModel, table=True):
    """What one language model was measured at, in one mode, on the bundled questions and attacks."""

    id: UUID = _id()
    mode: str
    model: str
    """What the endpoint says that it serves; the configured name when it does not say."""
    sha256: str
    """Of the model's file; empty when the endpoint does not tell."""
    prompt_version: str
    data_sha256: str
    """Of articles, questions and attacks together."""
    figures: dict[str, Any] = _json(dict)
    passed: bool
    created_at: datetime = _time()


class DraftingMode(SQLModel, table=True):
    """An administrator's decision how the model works; the newest counts."""

    id: UUID = _id()
    mode: str
    """``rewrite`` or ``answer``."""
    evaluation_id: UUID | None = Field(default=None, foreign_key="modelevaluation.id")
    """The passed evaluation behind ``answer``."""
    decided_by: UUID = Field(foreign_key="staff.id")
    decided_at: datetime = _time()


class FixedText(SQLModel, table=True):
    """A text approved in advance, the only kind that goes without a person per case. Immutable."""

    __table_args__ = (sa.UniqueConstraint("key", "version"),)

    id: UUID = _id()
    key: str
    version: int
    text: str
    approved_by: str
    approved_at: datetime = _time()


class OutboxMessage(SQLModel, table=True):
    """A text on its way to a citizen; its id is LINE's retry key."""

    __table_args__ = (
        sa.CheckConstraint("(approval_id IS NULL) <> (fixed_text_id IS NULL)", name="one_door"),
        sa.UniqueConstraint("conversation_id", "seq"),
        sa.Index("ix_outboxmessage_due", "status", "next_try_at"),
    )

    id: UUID = _id()
    conversation_id: UUID = Field(foreign_key="conversation.id")
    inquiry_id: UUID | None = Field(default=None, foreign_key="inquiry.id", index=True)
    seq: int
    approval_id: UUID | None = Field(default=None, foreign_key="approval.id", unique=True)
    fixed_text_id: UUID | None = Field(default=None, foreign_key="fixedtext.id")
    cause: str | None = Field(default=None, unique=True)
    """What a fixed text answers, such as ``message-id:greeting``: the same cause never sends twice."""
    text: str
    text_sha256: str
    buttons: list[Any] = _json(list)
    """Department ids offered as buttons; the labels come from the register."""
    reply_token: str | None = Field(default=None, index=True)
    reply_until: datetime | None = _time(nullable=True)
    status: OutboxStatus = _enum(OutboxStatus.queued, index=True)
    attempts: int = 0
    first_tried_at: datetime | None = _time(nullable=True)
    next_try_at: datetime = _time()
    platform_request_id: str | None = None
    error: str = ""
    created_at: datetime = _time()
    accepted_at: datetime | None = _time(nullable=True)


class AuditEntry(SQLModel, table=True):
    """One link of the hash chain of everything that was done. Append-only in the database."""

    __table_args__ = (sa.Index("ix_auditentry_subject", "subject", "id"),)

    id: int | None = Field(default=None, primary_key=True)
    at: str
    """ISO 8601 UTC, as hashed."""
    actor: str
    action: str
    subject: str
    screen: str
    details: str
    """JSON text, as hashed; never a citizen's words."""
    previous: str
    digest: str = Field(unique=True)


class Counter(SQLModel, table=True):
    """Gapless numbers, such as the receipt number of a year."""

    name: str = Field(primary_key=True)
    next: int = 1


class KnowledgeArticle(SQLModel, table=True):
    """A version of an article of the city's knowledge."""

    __table_args__ = (sa.UniqueConstraint("article", "version"),)

    id: UUID = _id()
    article: str = Field(index=True)
    """The author's id; stable over versions."""
    version: int
    title: str
    department_id: str = Field(foreign_key="department.id")
    body: str
    url: str = ""
    owner: str = ""
    data_class: str = "public"
    valid_from: date | None = None
    valid_to: date | None = None
    review_on: date | None = None
    """When its owner should look at it again; past it, the list marks it."""
    content_sha256: str
    imported_at: datetime = _time()
    edited_by: UUID | None = Field(default=None, foreign_key="staff.id")
    """Who wrote this version on the console; nobody: an import."""
    made_from: UUID | None = Field(default=None, foreign_key="approval.id")
    """The approved answer from which a person made the article, at its first version."""
    retired_at: datetime | None = _time(nullable=True)
    retired_by: UUID | None = Field(default=None, foreign_key="staff.id")
    """Who retired the article on the console; nobody: a newer version or an import did."""
    moved_at: datetime | None = _time(nullable=True)
    """When a reorganisation gave it to another department."""


class KnowledgePassage(SQLModel, table=True):
    """A sentence of an article version, with its vector."""

    __table_args__ = (
        sa.Index(
            "ix_knowledgepassage_without_vector",
            "article_row",
            sqlite_where=sa.text("vector IS NULL"),
            postgresql_where=sa.text("vector IS NULL"),
        ),
    )

    id: UUID = _id()
    article_row: UUID = Field(foreign_key="knowledgearticle.id", index=True)
    passage: str = Field(index=True)
    """``article#ordinal``."""
    ordinal: int
    heading: str = ""
    text: str
    vector: bytes | None = None
    """float16, little-endian, unit length."""


class VectorSource(SQLModel, table=True):
    """Whose vectors the passages have, in one row: vectors of two encoders cannot be compared."""

    id: int = Field(default=1, primary_key=True, sa_column_kwargs={"autoincrement": False})
    encoder: str
    """Hash of the encoder's file."""
