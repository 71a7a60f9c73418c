"""The real worker process with the real durable engine: killed in the middle, nothing lost, nothing twice."""

from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlmodel import col, select

from bot import bench, jobs
from bot.db import reading, transaction
from bot.knowledge import import_articles
from bot.models import Inquiry, KnowledgePassage, OutboxMessage, OutboxStatus
from responders.knowledge import Article
from tests.city import ROOT, USER, wait_for

pytestmark = pytest.mark.timeout(240)


def _outbox(opened: bench.Rig) -> list[OutboxMessage]:
    with reading(opened.engine) as session:
        return list(session.exec(select(OutboxMessage).where(col(OutboxMessage.approval_id).is_not(None))))


def _case(opened: bench.Rig) -> Inquiry | None:
    return next(iter(bench.open_cases(opened.engine)), None)


def _die_between_push_and_record(opened: bench.Rig) -> None:
    """The running worker pushes an approved answer and is killed before it hears LINE's 200."""
    opened.line.post(opened.line.body(opened.line.text(USER, "転入届に必要なものを教えてください")))
    case = wait_for(lambda: _case(opened))
    wait_for(lambda: len(opened.line.texts(USER)) == 2)
    opened.line.faults.append("hang_after")
    bench.answer(opened.engine, case, "窓口へお越しください。")
    wait_for(lambda: "窓口へお越しください。" in opened.line.texts(USER))
    opened.kill_worker()


def test_a_worker_killed_between_push_and_record_neither_loses_nor_doubles() -> None:
    with bench.rig() as opened:
        opened.start_worker()
        _die_between_push_and_record(opened)
        assert _outbox(opened)[0].status == OutboxStatus.queued

        opened.start_worker()
        wait_for(lambda: _outbox(opened)[0].status == OutboxStatus.accepted, 120)
        assert opened.line.texts(USER).count("窓口へお越しください。") == 1
        assert opened.line.calls[-1]["status"] == 409


def test_a_message_that_came_while_no_worker_lived_is_worked_later() -> None:
    with bench.rig() as opened:
        opened.line.post(opened.line.body(opened.line.text(USER, "転入届に必要なものを教えてください")))
        assert _case(opened) is None
        opened.start_worker()
        assert wait_for(lambda: _case(opened), 120).department_id == "citizen_registry"


def test_an_import_gets_its_vectors_without_a_question() -> None:
    with bench.rig() as opened:
        (Path(opened.environment["MADOGUCHI_DATA_DIR"]) / "encoder").symlink_to(ROOT / "var" / "encoder")
        article = Article("picnic", "公園でのたき火", "roads_parks", "公園では、たき火はできません。")
        with transaction(opened.engine) as session:
            import_articles(session, [article], actor="test", embed=None)
        assert _vectors(opened) == [False, False]
        opened.start_worker()
        wait_for(lambda: _vectors(opened) == [True, True])


def _vectors(opened: bench.Rig) -> list[bool]:
    """Of the title and the sentence: whether they can be found by sense."""
    with reading(opened.engine) as session:
        return [vector is not None for vector in session.exec(select(KnowledgePassage.vector))]


def _unfinished_jobs_of(opened: bench.Rig, worker_id: str) -> list[str]:
    query = sa.text(
        "SELECT name FROM dbos.workflow_status WHERE status = 'PENDING' AND executor_id = :worker"
    )
    with opened.engine.connect() as connection:
        return list(connection.execute(query, {"worker": worker_id}).scalars())


def test_another_worker_takes_over_what_a_dead_one_left(postgres_url: str) -> None:
    with bench.rig(postgres_url) as opened:
        opened.start_worker("worker-a")
        _die_between_push_and_record(opened)
        # The death may also have caught another job in its last step: only the push is certain to be left.
        assert jobs.DELIVER in _unfinished_jobs_of(opened, "worker-a")

        opened.start_worker("worker-b")
        wait_for(lambda: _outbox(opened)[0].status == OutboxStatus.accepted, 120)
        wait_for(lambda: not _unfinished_jobs_of(opened, "worker-a"))
        assert opened.line.texts(USER).count("窓口へお越しください。") == 1
