"""The audit log: a changed, removed or inserted entry is noticed, and the database refuses all three."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from bot import audit
from bot.db import alembic_config, reading, transaction
from bot.models import Department, Message, Role
from tests.city import City


def _fill(engine: Engine) -> None:
    for number in range(3):
        with transaction(engine) as session:
            audit.record(
                session, actor="a", action="approve", subject=f"inquiry:{number}", screen="desk", n=number
            )


@pytest.mark.parametrize(
    "sql", ["UPDATE auditentry SET actor = 'b' WHERE id = 2", "DELETE FROM auditentry WHERE id = 2"]
)
def test_the_log_is_append_only(engine: Engine, sql: str) -> None:
    _fill(engine)
    with pytest.raises(sa.exc.DBAPIError, match="append only"), transaction(engine) as session:
        session.execute(sa.text(sql))
    with reading(engine) as session:
        assert audit.verify(session).broken_at is None


@pytest.mark.parametrize(
    ("sql", "broken"),
    [("UPDATE auditentry SET actor = 'b' WHERE id = 2", 2), ("DELETE FROM auditentry WHERE id = 2", 3)],
)
def test_a_change_behind_the_triggers_breaks_the_chain(engine: Engine, sql: str, broken: int) -> None:
    _fill(engine)
    on = " ON auditentry" if engine.dialect.name == "postgresql" else ""
    with engine.begin() as connection:
        for trigger in ("audit_frozen", "audit_kept"):
            connection.exec_driver_sql(f"DROP TRIGGER {trigger}{on}")
        connection.exec_driver_sql(sql)
    with reading(engine) as session:
        assert audit.verify(session).broken_at == broken


def test_no_message_waits_while_the_page_reads_the_chain(city: City) -> None:
    boss = city.hire("kansa", role=Role.auditor)
    reads, go_on = threading.Event(), threading.Event()

    def hold(_c: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.endswith("FROM auditentry ORDER BY auditentry.id"):
            reads.set()
            go_on.wait(10)

    sa.event.listen(city.engine, "before_cursor_execute", hold)
    assert "連鎖は正常" not in boss.page("/supervise/audit?before=2")
    assert not reads.is_set(), "older pages do not read all of it again"
    with ThreadPoolExecutor(1) as browser:
        page = browser.submit(boss.page, "/supervise/audit")
        assert reads.wait(10)
        city.line_says("粗大ごみの出し方を教えてください")
        assert not page.done()
        assert len(city.all(Message)) == 1
        go_on.set()
        assert "記録の連鎖は正常です" in page.result(30)


def test_the_chain_is_read_for_nobody_who_may_not_see_it(city: City) -> None:
    asked: list[str] = []
    desk = city.hire("tantou")
    sa.event.listen(city.engine, "before_cursor_execute", lambda *given: asked.append(given[2]))
    assert desk.client.get("/supervise/audit").status_code == 403
    city.client.get("/supervise/audit")
    assert asked
    assert not [statement for statement in asked if "FROM auditentry ORDER BY auditentry.id" in statement]


def test_the_migrations_have_no_drift(database_url: str) -> None:
    from alembic import command

    command.check(alembic_config(database_url))


def test_an_error_of_the_database_tells_no_citizens_words(engine: Engine) -> None:
    with pytest.raises(sa.exc.IntegrityError) as refused, transaction(engine) as session:
        session.add(Department(id="x", name="田中太郎", short="", position=0, successor_id="nowhere"))
    assert "田中太郎" not in str(refused.value)
