"""Alembic's entry point; the URL comes from bot.db."""

from alembic import context
from sqlmodel import SQLModel

from bot import models  # noqa: F401  (fills the metadata)
from bot.db import make_engine


def include_object(obj, name, type_, reflected, compare_to):
    return not (type_ == "table" and reflected and compare_to is None)  # the durable engine's tables


engine = make_engine(context.config.attributes["url"])
with engine.connect() as connection:
    context.configure(
        connection=connection,
        target_metadata=SQLModel.metadata,
        include_object=include_object,
        compare_type=True,
        render_as_batch=False,
    )
    with context.begin_transaction():
        context.run_migrations()
engine.dispose()
