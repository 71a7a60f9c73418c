"""An article says when a reorganisation gave it to another department."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("SET LOCAL lock_timeout = '5s'")
    op.add_column("knowledgearticle", sa.Column("moved_at", sa.DateTime(timezone=True), nullable=True))
