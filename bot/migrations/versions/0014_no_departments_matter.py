"""A case may be closed as no department's matter, which the routing may learn."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    postgresql = op.get_bind().dialect.name == "postgresql"
    if postgresql:
        op.execute("SET LOCAL lock_timeout = '5s'")
    for table in ("inquiry", "trainingexample"):
        op.add_column(table, sa.Column("belongs_to", sa.String(), nullable=False, server_default=""))
        if postgresql:
            op.alter_column(table, "belongs_to", server_default=None)
