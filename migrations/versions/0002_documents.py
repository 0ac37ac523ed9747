"""documents and answers"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    schema = op.get_context().version_table_schema
    above = f"{schema}." if schema else ""
    op.add_column("runs", sa.Column("canary", sa.Text(), nullable=True), schema=schema)
    op.add_column("batches", sa.Column("marks", sa.Text(), nullable=True), schema=schema)
    op.create_table(
        "prefixes",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("lane_id", sa.Integer(), nullable=False),
        sa.Column("level", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("primer_seq", sa.BigInteger(), nullable=False),
        sa.Column("tokens", sa.Integer(), nullable=False),
        sa.Column("jobs", sa.BigInteger(), nullable=False),
        sa.Column("primed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("warmed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("warm_until", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("level IN ('system', 'documents')", name=op.f("ck_prefixes_level")),
        sa.ForeignKeyConstraint(["run_id"], [f"{above}runs.id"], name=op.f("fk_prefixes_run_id")),
        sa.ForeignKeyConstraint(
            ["lane_id"], [f"{above}lanes.id"], name=op.f("fk_prefixes_lane_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_prefixes")),
        schema=schema,
        sqlite_autoincrement=True,
    )
    op.create_index("ix_prefixes_lane", "prefixes", ["lane_id", "primer_seq"], schema=schema)


def downgrade() -> None:
    schema = op.get_context().version_table_schema
    op.drop_index("ix_prefixes_lane", table_name="prefixes", schema=schema)
    op.drop_table("prefixes", schema=schema)
    op.drop_column("batches", "marks", schema=schema)
    op.drop_column("runs", "canary", schema=schema)
