"""The database knows which encoder made its vectors; `madoguchi setup` has another one's made anew."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "vectorsource",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("encoder", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
