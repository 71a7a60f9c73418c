"""People and jobs that meet in the same moment on PostgreSQL: they wait their turn, never for each other."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from sqlmodel import Session, col, select

from bot import audit, conversations, drafting, inquiries, learning, organisation, outbox, sources, triage
from bot.articles import as_article, newest_version
from bot.db import now, reading, transaction
from bot.knowledge import import_articles
from bot.models import (
    Approval,
    AuditEntry,
    Conversation,
    Department,
    Draft,
    Inquiry,
    InquiryStatus,
    ModelStatus,
    Role,
    RoutingModel,
    Staff,
    TrainingExample,
)
from channels.message import Accepted, Button
from tests.city import CLASSIFIER, OTHER, USER, City, Desk, wait_for

pytestmark = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
TREE = "中央公園の大きな木が倒れて、歩道をふさいでいます"


def _somebody_waits(city: City) -> bool:
    with city.engine.connect() as connection:
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        return bool(connection.exec_driver_sql(waiting).scalar())


def _anyone(city: City) -> Staff:
    with reading(city.engine) as session:
        return session.exec(select(Staff).where(Staff.login == "tantou")).one()


def _supervisor(city: City) -> Staff:
    city.hire("kakaricho", role=Role.supervisor)
    with reading(city.engine) as session:
        return session.exec(select(Staff).where(Staff.login == "kakaricho")).one()


class _SlowLine:
    """A platform that answers when the test says so."""

    def __init__(self) -> None:
        self.sending, self.answer = threading.Event(), threading.Event()

    def push(self, to: str, text: str, *, retry_key: str, buttons: Sequence[Button] = ()) -> Accepted:
        return self.reply("", text)

    def reply(self, reply_token: str, text: str, *, buttons: Sequence[Button] = ()) -> Accepted:
        self.sending.set()
        assert self.answer.wait(30)
        return Accepted("request", None)


def test_an_approval_while_the_receipt_is_on_its_way(city: City, desk: Desk) -> None:
    city.line_says("粗大ごみの出し方を教えてください")
    for conversation in city.all(Conversation):
        triage.triage_conversation(city.engine, conversation.id, city.brain)
    case, line = city.case(), _SlowLine()
    with ThreadPoolExecutor(1) as worker:
        delivery = worker.submit(outbox.deliver, city.engine, case.conversation_id, {"line": line})
        assert line.sending.wait(30)
        with transaction(city.engine) as session:
            inquiries.for_decision(session, case.id, _anyone(city))
            line.answer.set()
            wait_for(lambda: _somebody_waits(city))
            inquiries.write_by_hand(
                session,
                case.id,
                staff=_anyone(city),
                text="職員が確認しました。",
                seen_version=case.version,
                screen="desk",
                check=lambda _text, _draft: [],
                keep_open=False,
            )
        assert delivery.result(30) >= 2
    assert city.case().status == "answered"


def test_a_new_message_does_not_wait_for_a_case_somebody_works_on(city: City, desk: Desk) -> None:
    city.line_says(TREE)
    city.work()
    with ThreadPoolExecutor(1) as worker, transaction(city.engine) as session:
        inquiries.for_decision(session, city.case(USER).id, _anyone(city))
        city.line_says(TREE, user=OTHER)
        worker.submit(city.work).result(60)
        assert city.case(OTHER).incident_id is None
    city.line_says(TREE, user="U" + "3" * 32)
    city.work()
    assert city.case("U" + "3" * 32).incident_id is not None


def test_two_people_answer_one_incident_from_both_ends(city: City, desk: Desk) -> None:
    users = [USER, OTHER]
    for user in users:
        city.line_says(TREE, user=user)
        city.work()
    desks, cases = [desk, city.hire("futarime")], [city.case(user) for user in users]
    assert cases[0].incident_id == cases[1].incident_id is not None

    def press(mine: int) -> int:
        other = cases[1 - mine]
        form = {**desks[mine].form(cases[mine]), "also": [f"{other.id}:{other.version}"]}
        return int(desks[mine].post(cases[mine], "approve", form).status_code)

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(press, range(2))) == [303, 409]
    assert len(city.all(Approval)) == 2


def test_words_taken_back_while_a_supervisor_releases_them_teach_nothing(city: City, desk: Desk) -> None:
    event = city.line.text(USER, "粗大ごみの出し方を教えてください")
    city.webhook(city.line.body(event))
    city.work()
    form = desk.form(city.case()) | {"reason": "県の施設の件", "belongs_to": "out_of_scope"}
    assert desk.post(city.case(), "close", form).status_code == 303
    unsend = city.line.event(USER, type="unsend", unsend={"messageId": event["message"]["id"]})
    case, boss = city.case(), _supervisor(city)
    with ThreadPoolExecutor(1) as pool:
        with transaction(city.engine) as session:
            learning.judge(
                session, case.id, staff=boss, use=True, seen_version=case.version, screen="supervise"
            )
            taken_back = pool.submit(city.webhook, city.line.body(unsend))
            wait_for(lambda: taken_back.done() or _somebody_waits(city))
        taken_back.result(30)
    assert city.all(TrainingExample) == []


@pytest.mark.parametrize(
    "change",
    [{"text": "粗大ごみの収集は終わりました。"}, {"data_class": "confidential"}],
    ids=["text", "class"],
)
def test_an_article_that_changes_in_the_moment_that_it_is_quoted_is_not_sent_as_it_was(
    city: City, desk: Desk, change: dict[str, Any]
) -> None:
    def as_it_is_quoted(session: Session, inquiry_id: UUID, *, again: bool) -> None:
        """The draft is written and not yet committed: nobody who changes an article sees it."""
        with reading(city.engine) as other:
            row = newest_version(other, "waste-bulky")
            assert row is not None
        changed = replace(as_article(row), **change)
        with ThreadPoolExecutor(1) as pool:
            pool.submit(
                import_articles, city.engine, [changed], actor="test", embed=None, retire_missing=False
            ).result(30)

    city.writer = replace(city.writer, attach=as_it_is_quoted)
    city.line_says("粗大ごみの戸別収集の手数料はいくらですか")
    city.work()
    city.writer = replace(city.writer, attach=None)
    [draft] = city.all(Draft)
    assert "waste-bulky" in {p["article"] for p in draft.passages}
    refused = desk.post(city.case(), "approve", desk.form(city.case()))
    assert refused.status_code == 409
    assert "引用している記事が変わったか、有効期間が終わったため、送っていません" in refused.text
    assert (city.all(Approval), city.case().status) == ([], InquiryStatus.drafting)


@pytest.mark.parametrize(
    "change",
    [{"text": "粗大ごみの収集は終わりました。"}, {"valid_to": now().date() + timedelta(days=30)}],
    ids=["text", "last day"],
)
def test_an_article_behind_a_past_answer_that_changes_in_the_moment_that_it_is_ticked_sends_nothing(
    city: City, desk: Desk, change: dict[str, Any]
) -> None:
    for user in (OTHER, USER):
        city.line_says("粗大ごみの戸別収集の手数料はいくらですか", user=user)
        city.work()
        verb, more = ("approve", {}) if user == OTHER else ("return", {"reason": "前の回答で答える"})
        assert desk.post(city.case(user), verb, desk.form(city.case(user)) | more).status_code == 303
    case, place, today = city.case(), city.client.app.state.city, now().date()  # type: ignore[attr-defined]
    with reading(city.engine) as session:
        row = newest_version(session, "waste-bulky")
        assert row is not None
    changed = replace(as_article(row), **change)
    staff = _anyone(city)
    with transaction(city.engine) as session:
        past = sources.past_answers(session, case, place.frame, place.seconds, today)
        [*ids] = (p.id for answer in past for p in answer.passages)
        chosen = sources.ticked(session, case, ids, place.frame, place.seconds, today)
        with ThreadPoolExecutor(1) as pool:
            pool.submit(
                import_articles, city.engine, [changed], actor="test", embed=None, retire_missing=False
            ).result(30)
        drafting.recompose(
            session, case, None, chosen, place.frame, staff=staff, seen_version=case.version, screen="desk"
        )
    refused = desk.post(city.case(), "approve", desk.form(city.case()))
    assert (refused.status_code, city.case().status) == (409, InquiryStatus.drafting)
    assert len(city.all(Approval)) == 1


def _model(city: City, folder: str, status: ModelStatus, against: str = "") -> RoutingModel:
    row = RoutingModel(
        folder=folder,
        status=status,
        examples=1,
        decided_at=None if status == ModelStatus.challenger else now(),
        metrics={"better": True, "worse": [], "against": against},
    )
    with transaction(city.engine) as session:
        session.add(row)
    return row


def test_a_challenger_promoted_while_the_next_one_ends_its_training_stays_champion(city: City) -> None:
    first_model = learning.identity(city.settings.effective_classifier_dir)
    promoted, boss = _model(city, "promoted", ModelStatus.challenger, first_model), _supervisor(city)
    (city.settings.data_dir / "models").mkdir()
    (city.settings.data_dir / "models" / "promoted").symlink_to(CLASSIFIER)
    newer = RoutingModel(
        folder="newer", status=ModelStatus.challenger, examples=2, metrics={"better": True, "against": ""}
    )

    def end_training() -> None:
        with transaction(city.engine) as session:
            learning.enter(session, newer)

    with ThreadPoolExecutor(1) as pool:
        with transaction(city.engine) as session:
            learning.promote(session, city.settings, promoted.id, staff=boss, screen="supervise")
            session.flush()
            ended = pool.submit(end_training)
            wait_for(lambda: ended.done() or _somebody_waits(city))
        ended.result(30)
    statuses = {row.folder: row.status for row in city.all(RoutingModel)}
    assert statuses == {"promoted": ModelStatus.champion, "newer": ModelStatus.challenger}


def test_who_promotes_while_a_colleague_takes_the_champion_back_is_told(city: City) -> None:
    boss, models = _supervisor(city), city.settings.data_dir / "models"
    models.mkdir()
    (models / "bad").symlink_to(CLASSIFIER)
    bad = _model(city, "bad", ModelStatus.champion)
    next_one = _model(city, "next", ModelStatus.challenger, learning.identity(models / "bad"))
    (models / "before").mkdir()
    (models / "before" / "manifest.json").write_text("{}")
    _model(city, "before", ModelStatus.retired)

    def promote() -> None:
        with transaction(city.engine) as session:
            learning.promote(session, city.settings, next_one.id, staff=boss, screen="supervise")

    with ThreadPoolExecutor(1) as pool:
        with transaction(city.engine) as session:
            learning.roll_back(session, bad.id, staff=boss, screen="supervise")
            session.flush()
            promoted = pool.submit(promote)
            wait_for(lambda: promoted.done() or _somebody_waits(city))
        with pytest.raises(learning.NotCompared):
            promoted.result(30)
    statuses = {row.folder: row.status for row in city.all(RoutingModel)}
    assert statuses == {
        "bad": ModelStatus.refused,
        "before": ModelStatus.champion,
        "next": ModelStatus.challenger,
    }


def _end(city: City, department: str, successor: str) -> None:
    with transaction(city.engine) as session:
        row = session.get_one(Department, department)
        row.valid_to, row.successor_id = now().date() - timedelta(days=2), successor


def _reroute(city: City) -> int:
    with transaction(city.engine) as session:
        return organisation.reroute(session, now().date(), drafting=True)


def test_a_reorganisation_and_a_message_of_two_matters_do_not_wait_for_each_other(city: City) -> None:
    first, second = UUID(int=2), UUID(int=1)
    with transaction(city.engine) as session:
        conversation = conversations.of_citizen(session, "line", USER)
        for one, linked_to in ((first, None), (second, first)):
            session.add(
                Inquiry(
                    id=one, linked_to=linked_to, conversation_id=conversation.id, receipt_number=f"R-{one}",
                    department_id="waste_environment", status=InquiryStatus.with_person, due_at=now(),
                )
            )  # fmt: skip
            session.flush()
    _end(city, "waste_environment", "general_affairs")
    with ThreadPoolExecutor(1) as pool:
        with transaction(city.engine) as session:
            conversations.hold(session, conversation.id)
            told = inquiries.current(session, conversation.id)
            moved = pool.submit(_reroute, city)
            wait_for(lambda: _somebody_waits(city))
            assert told
            inquiries.heard(session, told)
        assert moved.result(30) == 2
    assert {case.department_id for case in city.all(Inquiry)} == {"general_affairs"}


def test_two_workers_that_find_the_same_reorganisation_carry_it_out_once(city: City, desk: Desk) -> None:
    city.line_says("粗大ごみの出し方を教えてください")
    city.work()
    city.hire("kankyo", department="waste_environment")
    _end(city, "waste_environment", "general_affairs")
    with ThreadPoolExecutor(1) as pool:
        with transaction(city.engine) as session:
            assert organisation.reroute(session, now().date(), drafting=True) == 1
            session.flush()
            other = pool.submit(_reroute, city)
            wait_for(lambda: other.done() or _somebody_waits(city))
        assert other.result(30) == 0
    entries = city.all(AuditEntry, col(AuditEntry.action).startswith("reorganise"))
    subjects = [entry.subject for entry in entries]
    assert "staff:kankyo" in subjects
    assert len(subjects) == len(set(subjects))


def test_a_long_transaction_does_not_hold_the_end_of_the_chain(city: City) -> None:
    with ThreadPoolExecutor(1) as pool, transaction(city.engine) as importing:
        audit.record(importing, actor="a", action="import", subject="article:1")
        importing.flush()

        def approve() -> None:
            with transaction(city.engine) as session:
                audit.record(session, actor="b", action="approve", subject="inquiry:1")

        pool.submit(approve).result(30)
    with reading(city.engine) as session:
        assert session.exec(select(AuditEntry.actor).order_by(sa.desc("id")).limit(2)).all() == ["a", "b"]
        assert audit.verify(session).broken_at is None


def test_what_a_savepoint_took_back_is_not_in_the_log(city: City) -> None:
    with transaction(city.engine) as session:
        audit.record(session, actor="a", action="first", subject="x")
        outer = session.begin_nested()
        audit.record(session, actor="a", action="undone", subject="x")
        with session.begin_nested():
            audit.record(session, actor="a", action="undone too", subject="x")
        outer.rollback()
        with session.begin_nested():
            audit.record(session, actor="a", action="second", subject="x")
    assert [e.action for e in city.all(AuditEntry, AuditEntry.actor == "a")] == ["first", "second"]
