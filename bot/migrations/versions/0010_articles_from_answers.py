"""An article made from an approved answer says so: its question is no gap any more."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        # SQLite takes a reference only inside ADD COLUMN, and Alembic writes it as a constraint of its own.
        op.execute("ALTER TABLE knowledgearticle ADD COLUMN made_from CHAR(32) REFERENCES approval (id)")
        return
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.add_column("knowledgearticle", sa.Column("made_from", sa.Uuid(), nullable=True))
    op.create_foreign_key(None, "knowledgearticle", "approval", ["made_from"], ["id"])
