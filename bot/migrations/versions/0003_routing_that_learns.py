"""Linked cases, alarms that escalate, departments that end, transfers and models as rows."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# SQLite takes a reference only inside ADD COLUMN, and Alembic writes it as a constraint of its own.
SQLITE_COLUMNS = [
    "ALTER TABLE inquiry ADD COLUMN linked_to CHAR(32) REFERENCES inquiry (id)",
    "ALTER TABLE department ADD COLUMN successor_id VARCHAR REFERENCES department (id)",
]


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for statement in SQLITE_COLUMNS:
            op.execute(statement)
    else:
        op.execute("SET LOCAL lock_timeout = '5s'")
        op.add_column("inquiry", sa.Column("linked_to", sa.Uuid(), nullable=True))
        op.create_foreign_key(None, "inquiry", "inquiry", ["linked_to"], ["id"])
        op.add_column("department", sa.Column("successor_id", sa.String(), nullable=True))
        op.create_foreign_key(None, "department", "department", ["successor_id"], ["id"])
    op.add_column("inquiry", sa.Column("alarm_escalated_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index("ix_inquiry_linked_to", "inquiry", ["linked_to"])
    op.create_table(
        "transfer",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("inquiry_id", sa.Uuid(), nullable=False),
        sa.Column("from_department", sa.String(), nullable=False),
        sa.Column("to_department", sa.String(), nullable=False),
        sa.Column("staff_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["inquiry_id"], ["inquiry.id"]),
        sa.ForeignKeyConstraint(["from_department"], ["department.id"]),
        sa.ForeignKeyConstraint(["to_department"], ["department.id"]),
        sa.ForeignKeyConstraint(["staff_id"], ["staff.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_transfer_inquiry_id", "transfer", ["inquiry_id"])
    op.create_table(
        "trainingexample",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("inquiry_id", sa.Uuid(), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("department_id", sa.String(), nullable=False),
        sa.Column("used", sa.Boolean(), nullable=False),
        sa.Column("authorised_by", sa.Uuid(), nullable=False),
        sa.Column("authorised_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["inquiry_id"], ["inquiry.id"]),
        sa.ForeignKeyConstraint(["department_id"], ["department.id"]),
        sa.ForeignKeyConstraint(["authorised_by"], ["staff.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("inquiry_id"),
    )
    op.create_table(
        "routingmodel",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("folder", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("examples", sa.Integer(), nullable=False),
        sa.Column("metrics", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("decided_by", sa.Uuid(), nullable=True),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["decided_by"], ["staff.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("folder"),
    )
    op.create_index("ix_routingmodel_status", "routingmodel", ["status"])
