"""What an older database holds is brought along."""

import sqlalchemy as sa
from alembic import command
from sqlmodel import Session, col, select

from bot.db import alembic_config, make_engine, reading, transaction
from bot.learning import taken_back
from bot.models import Department, KnowledgePassage, ModelStatus, RoutingModel


def test_articles_of_an_older_database_get_how_they_begin(database_url: str) -> None:
    engine = make_engine(database_url)

    def passages(session: Session) -> set[tuple[str, int, str]]:
        return {(row.passage, row.ordinal, row.text) for row in session.exec(select(KnowledgePassage))}

    with transaction(engine) as session:
        before = passages(session)
        session.execute(sa.delete(KnowledgePassage).where(col(KnowledgePassage.ordinal) < 0))
        session.execute(sa.update(KnowledgePassage).values(vector=b"1"))
        session.execute(sa.text("UPDATE alembic_version SET version_num = '0017'"))
    command.upgrade(alembic_config(database_url), "0018")
    with reading(engine) as session:
        assert passages(session) == before
        rows = session.exec(select(KnowledgePassage))
        assert all((row.vector is None) == (row.ordinal <= 0) for row in rows)
    engine.dispose()


def test_nothing_is_said_of_the_cases_of_a_model_from_before_they_were_recorded(database_url: str) -> None:
    engine = make_engine(database_url)
    with transaction(engine) as session:
        session.add(RoutingModel(folder="old", status=ModelStatus.champion, examples=3))
        session.flush()
        session.execute(sa.text("ALTER TABLE routingmodel DROP COLUMN lessons"))
        session.execute(sa.text("UPDATE alembic_version SET version_num = '0018'"))
    command.upgrade(alembic_config(database_url), "0019")
    with reading(engine) as session:
        [row] = session.exec(select(RoutingModel)).all()
        assert (row.lessons, taken_back(session, [row])) == ([], {})
    engine.dispose()


def test_departments_of_an_older_database_have_passed_no_switch_on(database_url: str) -> None:
    engine = make_engine(database_url)
    with transaction(engine) as session:
        session.execute(sa.text("ALTER TABLE department DROP COLUMN passed_on"))
        session.execute(sa.text("UPDATE alembic_version SET version_num = '0019'"))
    command.upgrade(alembic_config(database_url), "head")
    with reading(engine) as session:
        assert {row.passed_on for row in session.exec(select(Department))} == {False}
    engine.dispose()
