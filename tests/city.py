"""みなと市 for a test: the real application, the real jobs, the LINE stand-in, people at their desks."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient
from pydantic import SecretStr
from sqlalchemy import Engine
from sqlmodel import col, select

from bot import auth, city, drafting, outbox, triage
from bot.app import create_app
from bot.article_index import Knowledge
from bot.calendar import load_calendar
from bot.db import now, transaction
from bot.dialogue_client import DialogueClient
from bot.knowledge import import_articles
from bot.learning import LiveClassifier
from bot.models import (
    Conversation,
    Inquiry,
    InquiryStatus,
    Message,
    OutboxMessage,
    OutboxStatus,
    Role,
    Staff,
)
from bot.settings import Settings
from channels.line import LineClient
from channels.webchat import WebChatSender
from responders.knowledge import read_folder
from responders.llm import Llm
from tests.platforms.line import Line

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "data"
CLASSIFIER = ROOT / "var" / "classifier"
USER = "U" + "1" * 32
OTHER = "U" + "2" * 32
CSRF = re.compile(r'name="csrf" value="([^"]+)"')
VERSION = re.compile(r'name="version" value="(\d+)"')
SEEN = re.compile(r'name="seen" value="([^"]*)"')
DRAFT_ID = re.compile(r'name="draft_id" value="([^"]+)"')
TEXT = re.compile(r'<textarea id="text"[^>]*>(.*?)</textarea>', re.DOTALL)


@dataclass
class Desk:
    """One signed-in person's browser."""

    client: TestClient
    csrf: str

    def page(self, path: str) -> str:
        """A page of the console."""
        answer = self.client.get(path)
        assert answer.status_code == 200, answer.text
        return answer.text

    def form(self, inquiry: Inquiry) -> dict[str, str]:
        """What the case's screen would send now."""
        html = self.page(f"/desk/cases/{inquiry.id}")
        values = {"csrf": self.csrf}
        fields = {"version": VERSION, "draft_id": DRAFT_ID, "seen": SEEN, "text": TEXT}
        for name, pattern in fields.items():
            if match := pattern.search(html):
                values[name] = _unescape(match.group(1))
        return values

    def post(self, inquiry: Inquiry, verb: str, form: dict[str, Any]) -> Any:  # noqa: ANN401
        """Press a button of the case's screen."""
        return self.client.post(f"/desk/cases/{inquiry.id}/{verb}", data=form, follow_redirects=False)


def _unescape(text: str) -> str:
    import html

    return html.unescape(text).removeprefix("\n")


@dataclass
class City:
    """The city at work; jobs run when the test says so."""

    engine: Engine
    url: str
    settings: Settings
    client: TestClient
    line: Line
    brain: triage.Brain
    writer: drafting.Writer
    senders: dict[str, outbox.Sender]
    passwords: dict[str, str] = field(default_factory=dict)

    def line_says(self, *texts: str, user: str = USER) -> None:
        """A citizen writes on LINE; the webhook must answer 200."""
        for text in texts:
            self.webhook(self.line.body(self.line.text(user, text)))

    def webhook(self, body: bytes, expect: int = 200) -> Any:  # noqa: ANN401
        """LINE calls the webhook."""
        answer = self.client.post("/webhooks/line", content=body, headers=self.line.headers(body))
        assert answer.status_code == expect, answer.text
        return answer.json()

    def work(self) -> None:
        """Run every job that waits, as the worker would: triage, drafts, deliveries."""
        for conversation in self.all(Conversation):
            triage.triage_conversation(self.engine, conversation.id, self.brain)
        for inquiry in self.all(Inquiry, Inquiry.status == InquiryStatus.drafting):
            drafting.write(self.engine, inquiry.id, inquiry.generation, self.writer)
            if self.writer.llm:
                [drafted] = self.all(Inquiry, Inquiry.id == inquiry.id)
                drafting.improve(self.engine, drafted.id, drafted.version, self.writer)
        self.deliver()

    def deliver(self) -> None:
        """Run the delivery jobs."""
        for conversation in self.all(Conversation):
            outbox.deliver(self.engine, conversation.id, self.senders)

    def deliver_all(self) -> None:
        """Deliver, and let the time of every retry come at once."""
        for _ in range(10):
            with transaction(self.engine) as session:
                for row in session.exec(
                    select(OutboxMessage).where(OutboxMessage.status == OutboxStatus.queued)
                ):
                    row.next_try_at = now()
                    session.add(row)
            self.deliver()

    def all(self, model: type[Any], *where: Any) -> list[Any]:  # noqa: ANN401
        """Rows of a table."""
        with transaction(self.engine) as session:
            rows = list(session.exec(select(model).where(*where)))
            session.expunge_all()
            return rows

    def case(self, user: str = USER) -> Inquiry:
        """The newest case of a citizen, second matters of a message left aside."""
        with transaction(self.engine) as session:
            query = (
                select(Inquiry)
                .join(Conversation, col(Inquiry.conversation_id) == col(Conversation.id))
                .where(Conversation.channel_user == user, col(Inquiry.linked_to).is_(None))
                .order_by(col(Inquiry.created_at).desc())
            )
            return session.exec(query).first() or _no_case()

    def thread(self) -> list[Message]:
        """Every message, oldest first."""
        return sorted(self.all(Message), key=lambda m: m.created_at)

    def hire(self, login: str, role: Role = Role.caseworker, department: str = "front_desk") -> Desk:
        """A person with an account, signed in at a browser of their own."""
        with transaction(self.engine) as session:
            if not session.exec(select(Staff).where(Staff.login == login)).first():
                auth.create_staff(
                    session,
                    login=login,
                    name=f"{login}さん",
                    role=role,
                    department_id=department,
                    password="correct horse",
                    actor="test",
                )
        browser = TestClient(self.client.app, raise_server_exceptions=False)
        answer = browser.post(
            "/desk/login", data={"login": login, "password": "correct horse"}, follow_redirects=False
        )
        assert answer.status_code == 303, answer.text
        found = CSRF.search(browser.get("/desk").text)
        assert found
        return Desk(browser, found.group(1))

    def without_classifier(self) -> None:
        """The classifier is gone."""
        self.brain = replace(self.brain, classifier=None)


def _no_case() -> Inquiry:
    raise AssertionError("no case")


def load_city(engine: Engine) -> None:
    """The city's files in a database: once into the template that every test copies."""
    with transaction(engine) as session:
        city.load(session, DATA)
    import_articles(engine, read_folder(DATA / "knowledge"), actor="test", embed=None)


@contextmanager
def open_city(
    engine: Engine,
    url: str,
    line: Line,
    folder: Path,
    *,
    dialogue: DialogueClient | None = None,
    llm: Llm | None = None,
) -> Iterator[City]:
    """The city with the real trained classifier, on a database that holds its files (`load_city`)."""
    settings = settings_for(url, line, folder)
    calendar = load_calendar(DATA / "calendar.yaml")
    brain = triage.Brain(calendar, LiveClassifier(engine, settings), dialogue, drafting_enabled=True)
    writer = drafting.Writer(Knowledge(engine, None), llm, drafting.load_frame(DATA), calendar.zone)
    senders: dict[str, outbox.Sender] = {
        "line": LineClient(line.api_base, line.token, timeout_seconds=2.0),
        "webchat": WebChatSender(),
    }
    with TestClient(create_app(settings, engine, llm), raise_server_exceptions=True) as client:
        yield City(engine, url, settings, client, line, brain, writer, senders)


def settings_for(url: str, line: Line, folder: Path, **more: Any) -> Settings:  # noqa: ANN401
    """Settings of a test; nothing comes from the developer's environment."""
    return Settings(
        secret_key=SecretStr("k" * 40),
        data_dir=folder,
        city_dir=DATA,
        classifier_dir=CLASSIFIER,
        database_url=url,
        line_channel_secret=SecretStr(f"older-secret,{line.secret}"),
        line_channel_access_token=SecretStr(line.token),
        line_api_base=line.api_base,
        **more,
    )


def wait_for(condition: Any, seconds: float = 60.0) -> Any:  # noqa: ANN401
    """Wait until a condition gives something true; fail after a generous time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.1)
    raise AssertionError("it did not happen in time")
