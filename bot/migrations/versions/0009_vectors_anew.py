"""Sentences are embedded without their article's title now: the worker makes every vector anew."""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("UPDATE knowledgepassage SET vector = NULL")
