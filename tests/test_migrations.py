"""What an older database holds is brought along."""

import sqlalchemy as sa
from alembic import command
from sqlmodel import Session, col, select

from bot.db import alembic_config, make_engine, reading, transaction
from bot.models import KnowledgePassage


def test_articles_of_an_older_database_get_how_they_begin(database_url: str) -> None:
    engine = make_engine(database_url)

    def passages(session: Session) -> set[tuple[str, int, str]]:
        return {(row.passage, row.ordinal, row.text) for row in session.exec(select(KnowledgePassage))}

    with transaction(engine) as session:
        before = passages(session)
        session.execute(sa.delete(KnowledgePassage).where(col(KnowledgePassage.ordinal) < 0))
        session.execute(sa.update(KnowledgePassage).values(vector=b"1"))
        session.execute(sa.text("UPDATE alembic_version SET version_num = '0017'"))
    command.upgrade(alembic_config(database_url), "head")
    with reading(engine) as session:
        assert passages(session) == before
        rows = session.exec(select(KnowledgePassage))
        assert all((row.vector is None) == (row.ordinal <= 0) for row in rows)
    engine.dispose()
