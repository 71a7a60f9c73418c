"""A second text below the Japanese one of a draft: やさしい日本語 or the citizen's language."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

COLUMNS = ("second_kind", "second_text", "second_made_from")


def upgrade() -> None:
    on_sqlite = op.get_bind().dialect.name == "sqlite"
    if not on_sqlite:
        op.execute("SET LOCAL lock_timeout = '5s'")
    for name in COLUMNS:
        op.add_column("draft", sa.Column(name, sa.String(), nullable=False, server_default=""))
        if not on_sqlite:
            op.alter_column("draft", name, server_default=None)
