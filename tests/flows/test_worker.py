"""The real worker process with the real durable engine: killed in the middle, nothing lost, nothing twice."""

import threading
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlmodel import col, select

from bot import bench, jobs, reports
from bot.db import reading, transaction
from bot.knowledge import import_articles
from bot.models import Draft, Inquiry, KnowledgePassage, OutboxMessage, OutboxStatus
from responders.knowledge import Article
from tests.city import OTHER, ROOT, USER, wait_for
from tests.responders.conftest import FakeEndpoint, given_sentences

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
        (Path(opened.environment["MADOGUCHI_DATA_DIR"]) / "retriever").symlink_to(ROOT / "var" / "retriever")
        article = Article("picnic", "公園でのたき火", "roads_parks", "公園では、たき火はできません。")
        import_articles(opened.engine, [article], actor="test", embed=None)
        assert _vectors(opened) == [False] * 3
        opened.start_worker()
        wait_for(lambda: _vectors(opened) == [True] * 3)


def test_no_draft_waits_for_the_model_of_another_case() -> None:
    model, written = FakeEndpoint(), threading.Event()
    model.models = ["site-model"]

    def reply(body: dict[str, object]) -> str:
        written.wait(120)
        return "".join(given_sentences(body))

    model.reply = reply
    article = Article(
        "fire",
        "公園でのたき火",
        "roads_parks",
        "公園でのたき火は禁止です。公園での花火は、20時までできます。",
    )
    with bench.rig() as opened:
        opened.environment |= {"MADOGUCHI_LLM_BASE_URL": model.url, "MADOGUCHI_LLM_MODEL": "site-model"}
        import_articles(opened.engine, [article], actor="test", embed=None)
        opened.start_worker()
        for user in (USER, OTHER):
            text = "公園でのたき火や花火は、何時までできますか。"
            opened.line.post(opened.line.body(opened.line.text(user, text)))
        wait_for(lambda: _origins(opened) == ["template", "template"] and model.requests)
        written.set()
        wait_for(lambda: _origins(opened) == ["model", "model"])
    model.close()


def test_a_job_that_failed_is_found_and_works_when_it_is_tried_again() -> None:
    article = Article("fire", "公園でのたき火", "roads_parks", "公園でのたき火は禁止です。")
    with bench.rig() as opened:
        import_articles(opened.engine, [article], actor="test", embed=None)
        with transaction(opened.engine) as session:
            session.execute(sa.update(KnowledgePassage).values(vector=b"1"))
        opened.start_worker()
        opened.line.post(opened.line.body(opened.line.text(USER, "公園でたき火はできますか")))
        [job] = wait_for(lambda: jobs.dead(opened.engine))
        assert (job.name, job.tries, job.error) == (jobs.DRAFT, 1, "ValueError")
        person = bench._person(opened.engine)
        with transaction(opened.engine) as session:
            session.execute(sa.update(KnowledgePassage).values(vector=None))
            [(found, case)] = reports.dead_jobs(session, [job])
            assert case is not None
            jobs.retry(session, found, staff=person, screen="test")
        wait_for(lambda: _origins(opened) == ["template"])
        with reading(opened.engine) as session:
            assert reports.dead_jobs(session, jobs.dead(opened.engine)) == []


def _origins(opened: bench.Rig) -> list[str]:
    with reading(opened.engine) as session:
        return list(session.exec(select(Draft.origin)))


def _vectors(opened: bench.Rig) -> list[bool]:
    """Of how the article begins, its title and its sentence: whether they can be found by sense."""
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
