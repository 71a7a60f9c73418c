"""A draft says whether a person chose its sentences; a supervisor releases such a choice for the search."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

# The audit log has kept every tick from the beginning.
EARLIER = {
    "sqlite": "UPDATE draft SET ticked = 1 WHERE id IN (SELECT replace(json_extract(details, '$.draft'), '-', '')"
    " FROM auditentry WHERE action = 'recompose')",
    "postgresql": "UPDATE draft SET ticked = true WHERE id IN (SELECT (details::json ->> 'draft')::uuid"
    " FROM auditentry WHERE action = 'recompose')",
}


def upgrade() -> None:
    dialect = op.get_bind().dialect.name
    if dialect == "postgresql":
        op.execute("SET LOCAL lock_timeout = '5s'")
    op.add_column("draft", sa.Column("ticked", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.execute(EARLIER[dialect])
    if dialect == "postgresql":
        op.alter_column("draft", "ticked", server_default=None)
    op.create_table(
        "searchexample",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("inquiry_id", sa.Uuid(), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("department_id", sa.String(), nullable=False),
        sa.Column("gold", sa.JSON(), nullable=False),
        sa.Column("used", sa.Boolean(), nullable=False),
        sa.Column("authorised_by", sa.Uuid(), nullable=False),
        sa.Column("authorised_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["inquiry_id"], ["inquiry.id"]),
        sa.ForeignKeyConstraint(["department_id"], ["department.id"]),
        sa.ForeignKeyConstraint(["authorised_by"], ["staff.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("inquiry_id"),
    )
