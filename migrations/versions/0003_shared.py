"""documents uploaded once for many jobs"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    schema = op.get_context().version_table_schema
    above = f"{schema}." if schema else ""
    op.create_table(
        "uploads",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("account_id", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("ref", sa.Text(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("keep", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("released_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "deleted_at IS NULL OR released_at IS NOT NULL",
            name=op.f("ck_uploads_deleted_was_released"),
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], [f"{above}accounts.id"], name=op.f("fk_uploads_account_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_uploads")),
        sa.UniqueConstraint("account_id", "ref", name=op.f("uq_uploads_account_id_ref")),
        schema=schema,
        sqlite_autoincrement=True,
    )
    op.create_table(
        "loans",
        sa.Column("batch_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("upload_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("batch_id", "upload_id", name=op.f("pk_loans")),
        schema=schema,
    )
    op.create_index("ix_loans_upload", "loans", ["upload_id"], schema=schema)


def downgrade() -> None:
    schema = op.get_context().version_table_schema
    op.drop_index("ix_loans_upload", table_name="loans", schema=schema)
    op.drop_table("loans", schema=schema)
    op.drop_table("uploads", schema=schema)
