"""Jobs know the key that created them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; of jobs that are there already nobody knows."""
    op.add_column("jobs", sa.Column("created_by", sa.String(length=64), nullable=True))
