"""A second text keeps what made it and what its check said, as the Japanese one does."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    postgresql = op.get_bind().dialect.name == "postgresql"
    if postgresql:
        op.execute("SET LOCAL lock_timeout = '5s'")
    for name, empty in (("second_model", "{}"), ("second_findings", "[]")):
        op.add_column("draft", sa.Column(name, sa.JSON(), nullable=False, server_default=empty))
        if postgresql:
            op.alter_column("draft", name, server_default=None)
