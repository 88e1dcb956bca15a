"""What was sampled in a step, in numbers: rollouts are sorted and picked by them without reading any text."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table. Steps that were recorded before have no row in it until their rollouts are first sorted."""
    op.create_table(
        "rollout_index",
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.Column("step", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("num_errored", sa.Integer(), nullable=False),
        sa.Column("num_left_out", sa.Integer(), nullable=False),
        sa.Column("lowest_reward", sa.Double(), nullable=True),
        sa.Column("highest_reward", sa.Double(), nullable=True),
        sa.Column("longest", sa.Integer(), nullable=False),
        sa.Column("examples", sa.Text(), nullable=False),
        sa.Column("columns", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id", "step"], ["job_steps.job_id", "job_steps.step"], name=op.f("fk_rollout_index_job_id")
        ),
        sa.PrimaryKeyConstraint("job_id", "step", name=op.f("pk_rollout_index")),
    )
