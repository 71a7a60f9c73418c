"""How an article begins is a passage of its own, and its title's vector the title's alone."""

import uuid
from itertools import groupby
from operator import attrgetter

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

OPENING = 300


def upgrade() -> None:
    articles = sa.table("knowledgearticle", sa.column("id", sa.Uuid), sa.column("retired_at"))
    passages = sa.table(
        "knowledgepassage",
        sa.column("id", sa.Uuid),
        sa.column("article_row", sa.Uuid),
        *map(sa.column, ("passage", "ordinal", "heading", "text", "vector")),
    )
    connection = op.get_bind()
    rows = connection.execute(
        sa.select(passages)
        .join(articles, passages.c.article_row == articles.c.id)
        .where(articles.c.retired_at.is_(None))
        .order_by(passages.c.article_row, passages.c.ordinal)
    )
    begins = [
        {
            "id": uuid.uuid4(),
            "article_row": article,
            "passage": f"{whole[0].passage.rsplit('#', 1)[0]}#-1",
            "ordinal": -1,
            "heading": "",
            "text": "\n".join(map(_said, whole))[:OPENING].rstrip(),
        }
        for article, group in groupby(rows, attrgetter("article_row"))
        if (whole := list(group))
    ]
    if begins:
        connection.execute(sa.insert(passages), begins)
    op.execute(sa.update(passages).where(passages.c.ordinal == 0).values(vector=None))


def _said(row: sa.Row[tuple[object, ...]]) -> str:
    is_row = row.heading and not row.text.endswith("。")
    return f"{row.heading} {row.text}" if is_row else row.text
