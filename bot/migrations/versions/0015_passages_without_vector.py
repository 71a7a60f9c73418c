"""Whether a passage lacks its vector is asked before every search."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

LACKS = sa.text("vector IS NULL")


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_index(
        "ix_knowledgepassage_without_vector",
        "knowledgepassage",
        ["article_row"],
        sqlite_where=LACKS,
        postgresql_where=LACKS,
    )
