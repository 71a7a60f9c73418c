"""Articles kept on the console: when to review one, who wrote a version, who retired it."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# SQLite takes a reference only inside ADD COLUMN, and Alembic writes it as a constraint of its own.
SQLITE_COLUMNS = [
    "ALTER TABLE knowledgearticle ADD COLUMN edited_by CHAR(32) REFERENCES staff (id)",
    "ALTER TABLE knowledgearticle ADD COLUMN retired_by CHAR(32) REFERENCES staff (id)",
]


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for statement in SQLITE_COLUMNS:
            op.execute(statement)
    else:
        op.execute("SET LOCAL lock_timeout = '5s'")
        for name in ("edited_by", "retired_by"):
            op.add_column("knowledgearticle", sa.Column(name, sa.Uuid(), nullable=True))
            op.create_foreign_key(None, "knowledgearticle", "staff", [name], ["id"])
    op.add_column("knowledgearticle", sa.Column("review_on", sa.Date(), nullable=True))
