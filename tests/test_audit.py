"""The audit log: a changed, removed or inserted entry is noticed, and the database refuses all three."""

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from bot import audit
from bot.db import alembic_config, reading, transaction
from bot.models import Department


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


def test_the_migrations_have_no_drift(database_url: str) -> None:
    from alembic import command

    command.check(alembic_config(database_url))


def test_an_error_of_the_database_tells_no_citizens_words(engine: Engine) -> None:
    with pytest.raises(sa.exc.IntegrityError) as refused, transaction(engine) as session:
        session.add(Department(id="x", name="田中太郎", short="", position=0, successor_id="nowhere"))
    assert "田中太郎" not in str(refused.value)
