"""A department that ends passes the kill switch of its drafts on, once."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    postgresql = op.get_bind().dialect.name == "postgresql"
    if postgresql:
        op.execute("SET LOCAL lock_timeout = '5s'")
    op.add_column(
        "department", sa.Column("passed_on", sa.Boolean(), nullable=False, server_default=sa.false())
    )
    if postgresql:
        op.alter_column("department", "passed_on", server_default=None)
