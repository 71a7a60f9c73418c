"""A model remembers which released cases it learnt from, so that those taken back since can be counted."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    postgresql = op.get_bind().dialect.name == "postgresql"
    if postgresql:
        op.execute("SET LOCAL lock_timeout = '5s'")
    op.add_column("routingmodel", sa.Column("lessons", sa.JSON(), nullable=False, server_default="[]"))
    if postgresql:
        op.alter_column("routingmodel", "lessons", server_default=None)
