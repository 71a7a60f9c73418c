"""What every page and every sweep asks is found without reading the whole history."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

PARTIAL = {
    "ix_message_untriaged": ("message", "conversation_id", "triaged_at IS NULL"),
    "ix_inquiry_alarm": ("inquiry", "status_since", "emergency IS {yes} AND acknowledged_by IS NULL"),
}


def upgrade() -> None:
    postgresql = op.get_bind().dialect.name == "postgresql"
    if postgresql:
        op.execute("SET LOCAL lock_timeout = '5s'")
    for name, (table, column, where) in PARTIAL.items():
        only = sa.text(where.format(yes="true" if postgresql else "1"))
        op.create_index(name, table, [column], sqlite_where=only, postgresql_where=only)
    op.create_index("ix_inquiry_status_since", "inquiry", ["status_since"])
    op.create_index("ix_auditentry_subject", "auditentry", ["subject", "id"])
    op.create_index("ix_outboxmessage_reply_token", "outboxmessage", ["reply_token"])
