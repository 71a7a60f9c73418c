"""Cases of several citizens that tell of one incident."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    on_sqlite = op.get_bind().dialect.name == "sqlite"
    if not on_sqlite:
        op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "incident",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("department_id", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["department_id"], ["department.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    if on_sqlite:
        # SQLite takes a reference only inside ADD COLUMN, and Alembic writes it as a constraint of its own.
        op.execute("ALTER TABLE inquiry ADD COLUMN incident_id CHAR(32) REFERENCES incident (id)")
    else:
        op.add_column("inquiry", sa.Column("incident_id", sa.Uuid(), nullable=True))
        op.create_foreign_key(None, "inquiry", "incident", ["incident_id"], ["id"])
    op.create_index("ix_inquiry_incident_id", "inquiry", ["incident_id"])
    op.add_column(
        "inquiry", sa.Column("incident_left", sa.Boolean(), nullable=False, server_default=sa.false())
    )
    if not on_sqlite:
        op.alter_column("inquiry", "incident_left", server_default=None)
