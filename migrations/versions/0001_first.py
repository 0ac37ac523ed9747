"""the first schema"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "accounts",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("base_url", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("workspace", sa.Text(), nullable=True),
        sa.Column("learnt", sa.Text(), server_default="{}", nullable=False),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("unreachable_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("retry_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("blocked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("blocked_reason", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_accounts")),
        sa.UniqueConstraint(
            "provider",
            "base_url",
            "fingerprint",
            name=op.f("uq_accounts_provider_base_url_fingerprint"),
        ),
        schema="batchkit",
    )
    op.create_table(
        "attempts",
        sa.Column("shelf", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("batch_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("lane_id", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("attempt_no", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("final", sa.Boolean(), nullable=False),
        sa.Column("code", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("answer", sa.Text(), nullable=True),
        sa.Column("citations", sa.Text(), nullable=True),
        sa.Column("finish", sa.Text(), nullable=True),
        sa.Column("model", sa.Text(), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("input_tokens", sa.Integer(), nullable=True),
        sa.Column("output_tokens", sa.Integer(), nullable=True),
        sa.Column("cached_tokens", sa.Integer(), nullable=True),
        sa.Column("cache_write_tokens", sa.Integer(), nullable=True),
        sa.Column("reasoning_tokens", sa.Integer(), nullable=True),
        sa.Column("cost", sa.BigInteger(), nullable=True),
        sa.Column("cost_kind", sa.Text(), nullable=False),
        sa.Column("ran", sa.Boolean(), nullable=False),
        sa.Column("reused_from", sa.Text(), nullable=True),
        sa.Column("changes", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "cost_kind IN ('exact', 'bound', 'free')", name=op.f("ck_attempts_cost_kind")
        ),
        sa.CheckConstraint(
            "state <> 'again' OR NOT final", name=op.f("ck_attempts_again_is_not_final")
        ),
        sa.CheckConstraint(
            "state <> 'completed' OR answer IS NOT NULL",
            name=op.f("ck_attempts_completed_has_answer"),
        ),
        sa.CheckConstraint(
            "state IN ('completed', 'failed', 'cancelled', 'again')", name=op.f("ck_attempts_state")
        ),
        sa.PrimaryKeyConstraint("shelf", "batch_id", "seq", name=op.f("pk_attempts")),
        schema="batchkit",
    )
    op.create_index(
        "ix_attempts_final",
        "attempts",
        ["shelf", "lane_id", "seq"],
        unique=True,
        schema="batchkit",
        sqlite_where=sa.text("final = 1"),
        postgresql_where=sa.text("final"),
    )
    op.create_table(
        "jobs",
        sa.Column("shelf", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("lane_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("no", sa.BigInteger(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("revision", sa.Integer(), server_default="0", nullable=False),
        sa.Column("superseded", sa.Boolean(), server_default=sa.text("(false)"), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("template_id", sa.Integer(), nullable=False),
        sa.Column("asked_id", sa.Integer(), nullable=True),
        sa.Column("own", sa.Text(), nullable=False),
        sa.Column("documents", sa.Text(), nullable=True),
        sa.Column("metadata", sa.Text(), nullable=True),
        sa.Column("bytes", sa.Integer(), nullable=False),
        sa.Column("tokens", sa.Integer(), nullable=False),
        sa.Column("bound", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("shelf", "lane_id", "seq", name=op.f("pk_jobs")),
        schema="batchkit",
    )
    op.create_index(
        "ix_jobs_key",
        "jobs",
        ["shelf", "run_id", "key", "revision"],
        unique=True,
        schema="batchkit",
    )
    op.create_table(
        "members",
        sa.Column("shelf", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("lane_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("attempt_no", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("batch_id", sa.Integer(), nullable=True),
        sa.Column("changes", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("not_before", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("shelf", "lane_id", "seq", "attempt_no", name=op.f("pk_members")),
        schema="batchkit",
    )
    op.create_index(
        "ix_members_batch", "members", ["batch_id", "seq"], unique=False, schema="batchkit"
    )
    op.create_index(
        "ix_members_free",
        "members",
        ["lane_id", "seq"],
        unique=False,
        schema="batchkit",
        sqlite_where=sa.text("batch_id IS NULL"),
        postgresql_where=sa.text("batch_id IS NULL"),
    )
    op.create_table(
        "runs",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("shelf", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("uid", sa.Text(), nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("nameless", sa.Boolean(), server_default=sa.text("(false)"), nullable=False),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("spec", sa.Text(), nullable=False),
        sa.Column("priority", sa.Integer(), server_default="0", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("first_send_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_progress_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cost_limit", sa.BigInteger(), nullable=True),
        sa.Column("time_limit_s", sa.Float(), nullable=True),
        sa.Column("deadline_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cancel_requested_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("hold_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("hold_reason", sa.Text(), nullable=True),
        sa.Column("waiting_for", sa.Text(), nullable=True),
        sa.Column("waiting_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("waiting_detail", sa.Text(), nullable=True),
        sa.Column("brakes", sa.Text(), server_default="{}", nullable=False),
        sa.Column("expects_more", sa.Boolean(), server_default=sa.text("(false)"), nullable=False),
        sa.Column("revisions", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("spent", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("reserved", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("collected_no", sa.Integer(), server_default="0", nullable=False),
        sa.Column("next_no", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("total", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("completed", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("failed", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("cancelled", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("cost_unknown", sa.BigInteger(), server_default="0", nullable=False),
        sa.CheckConstraint(
            "waiting_for IS NULL OR waiting_for IN ('budget', 'account', 'files', 'review', 'canary', 'provider')",
            name=op.f("ck_runs_waiting_for"),
        ),
        sa.CheckConstraint(
            "cost_limit IS NULL OR cost_limit > 0", name=op.f("ck_runs_cost_limit_positive")
        ),
        sa.CheckConstraint(
            "opened_at IS NULL OR completed + failed + cancelled <= total",
            name=op.f("ck_runs_ended_within_total"),
        ),
        sa.CheckConstraint("reserved >= 0", name=op.f("ck_runs_reserved_not_negative")),
        sa.CheckConstraint("spent >= 0", name=op.f("ck_runs_spent_not_negative")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runs")),
        sa.UniqueConstraint("project", "name", name=op.f("uq_runs_project_name")),
        sa.UniqueConstraint("uid", name=op.f("uq_runs_uid")),
        schema="batchkit",
        sqlite_autoincrement=True,
    )
    op.create_table(
        "events",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("batch_id", sa.Integer(), nullable=True),
        sa.Column("key", sa.Text(), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), server_default="{}", nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["batchkit.runs.id"], name=op.f("fk_events_run_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_events")),
        schema="batchkit",
    )
    op.create_index("ix_events_run", "events", ["run_id", "id"], unique=False, schema="batchkit")
    op.create_table(
        "lanes",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("shelf", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Integer(), nullable=True),
        sa.Column("size", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("released", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("cursor", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("lease_no", sa.Integer(), server_default="0", nullable=False),
        sa.Column("lease_owner", sa.Text(), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            '0 <= "cursor" AND "cursor" <= released AND released <= size',
            name=op.f("ck_lanes_order"),
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], ["batchkit.accounts.id"], name=op.f("fk_lanes_account_id")
        ),
        sa.ForeignKeyConstraint(["run_id"], ["batchkit.runs.id"], name=op.f("fk_lanes_run_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lanes")),
        sa.UniqueConstraint(
            "run_id",
            "provider",
            "model",
            "endpoint",
            name=op.f("uq_lanes_run_id_provider_model_endpoint"),
        ),
        schema="batchkit",
        sqlite_autoincrement=True,
    )
    op.create_table(
        "templates",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["batchkit.runs.id"], name=op.f("fk_templates_run_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_templates")),
        sa.UniqueConstraint("run_id", "digest", name=op.f("uq_templates_run_id_digest")),
        schema="batchkit",
        sqlite_autoincrement=True,
    )
    op.create_table(
        "batches",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("shelf", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("lane_id", sa.Integer(), nullable=True),
        sa.Column("account_id", sa.Integer(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("lo", sa.BigInteger(), nullable=True),
        sa.Column("hi", sa.BigInteger(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("token", sa.Text(), nullable=True),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("sha256", sa.Text(), nullable=True),
        sa.Column("spool", sa.Text(), nullable=True),
        sa.Column("spool_host", sa.Text(), nullable=True),
        sa.Column("twin_guard", sa.Integer(), nullable=True),
        sa.Column("file_ref", sa.Text(), nullable=True),
        sa.Column("ref", sa.Text(), nullable=True),
        sa.Column("proof", sa.Text(), nullable=True),
        sa.Column("refused_refs", sa.Text(), server_default="[]", nullable=False),
        sa.Column("attempt_no", sa.Integer(), server_default="1", nullable=False),
        sa.Column("reserved", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("cost", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("provider_total", sa.Integer(), nullable=True),
        sa.Column("provider_completed", sa.Integer(), server_default="0", nullable=False),
        sa.Column("provider_failed", sa.Integer(), server_default="0", nullable=False),
        sa.Column("completed", sa.Integer(), server_default="0", nullable=False),
        sa.Column("failed", sa.Integer(), server_default="0", nullable=False),
        sa.Column("cancelled", sa.Integer(), server_default="0", nullable=False),
        sa.Column("again", sa.Integer(), server_default="0", nullable=False),
        sa.Column("codes", sa.Text(), server_default="{}", nullable=False),
        sa.Column("word", sa.Text(), nullable=True),
        sa.Column("end_reason", sa.Text(), nullable=True),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("cancel_requested_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cancel_sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("sealed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("intent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("heard_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("looked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("looks", sa.Integer(), server_default="0", nullable=False),
        sa.Column("accepted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("results_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("collected_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("poll_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("missing_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("collected_no", sa.Integer(), nullable=True),
        sa.Column("judging", sa.Text(), nullable=True),
        sa.Column("lease_no", sa.Integer(), server_default="0", nullable=False),
        sa.Column("lease_owner", sa.Text(), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(state IN ('collected', 'abandoned')) = (collected_no IS NOT NULL)",
            name=op.f("ck_batches_collected_has_no"),
        ),
        sa.CheckConstraint(
            "end_reason IS NULL OR end_reason IN ('completed', 'expired', 'cancelled', 'failed', 'lost', 'local')",
            name=op.f("ck_batches_reason"),
        ),
        sa.CheckConstraint(
            "kind <> 'range' OR (lo IS NOT NULL AND lo < hi)",
            name=op.f("ck_batches_range_not_empty"),
        ),
        sa.CheckConstraint("kind IN ('range', 'members', 'local')", name=op.f("ck_batches_kind")),
        sa.CheckConstraint(
            "proof IS NULL OR proof IN ('certain', 'provisional')", name=op.f("ck_batches_proof")
        ),
        sa.CheckConstraint(
            "reserved = 0 OR state IN ('sealed', 'submitting', 'running', 'ended')",
            name=op.f("ck_batches_only_live_reserves"),
        ),
        sa.CheckConstraint(
            "state IN ('sealed', 'submitting', 'running', 'ended', 'collected', 'void', 'abandoned')",
            name=op.f("ck_batches_state"),
        ),
        sa.CheckConstraint(
            "state NOT IN ('running', 'ended') OR ref IS NOT NULL",
            name=op.f("ck_batches_running_has_ref"),
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], ["batchkit.accounts.id"], name=op.f("fk_batches_account_id")
        ),
        sa.ForeignKeyConstraint(
            ["lane_id"], ["batchkit.lanes.id"], name=op.f("fk_batches_lane_id")
        ),
        sa.ForeignKeyConstraint(["run_id"], ["batchkit.runs.id"], name=op.f("fk_batches_run_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_batches")),
        schema="batchkit",
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_batches_collected",
        "batches",
        ["run_id", "collected_no"],
        unique=True,
        schema="batchkit",
    )
    op.create_index(
        "ix_batches_live",
        "batches",
        ["run_id", "state"],
        unique=False,
        schema="batchkit",
        sqlite_where=sa.text("state IN ('sealed', 'submitting', 'running', 'ended')"),
        postgresql_where=sa.text("state IN ('sealed', 'submitting', 'running', 'ended')"),
    )
    op.create_index(
        "ix_batches_ref", "batches", ["account_id", "ref"], unique=True, schema="batchkit"
    )
    op.create_index("ix_batches_token", "batches", ["token"], unique=True, schema="batchkit")
    op.create_index(
        "ix_batches_twins",
        "batches",
        ["account_id", "twin_guard"],
        unique=True,
        schema="batchkit",
        sqlite_where=sa.text("state = 'submitting'"),
        postgresql_where=sa.text("state = 'submitting'"),
    )


def downgrade() -> None:
    op.drop_index(
        "ix_batches_twins",
        table_name="batches",
        schema="batchkit",
        sqlite_where=sa.text("state = 'submitting'"),
        postgresql_where=sa.text("state = 'submitting'"),
    )
    op.drop_index("ix_batches_token", table_name="batches", schema="batchkit")
    op.drop_index("ix_batches_ref", table_name="batches", schema="batchkit")
    op.drop_index(
        "ix_batches_live",
        table_name="batches",
        schema="batchkit",
        sqlite_where=sa.text("state IN ('sealed', 'submitting', 'running', 'ended')"),
        postgresql_where=sa.text("state IN ('sealed', 'submitting', 'running', 'ended')"),
    )
    op.drop_index("ix_batches_collected", table_name="batches", schema="batchkit")
    op.drop_table("batches", schema="batchkit")
    op.drop_table("templates", schema="batchkit")
    op.drop_table("lanes", schema="batchkit")
    op.drop_index("ix_events_run", table_name="events", schema="batchkit")
    op.drop_table("events", schema="batchkit")
    op.drop_table("runs", schema="batchkit")
    op.drop_index(
        "ix_members_free",
        table_name="members",
        schema="batchkit",
        sqlite_where=sa.text("batch_id IS NULL"),
        postgresql_where=sa.text("batch_id IS NULL"),
    )
    op.drop_index("ix_members_batch", table_name="members", schema="batchkit")
    op.drop_table("members", schema="batchkit")
    op.drop_index("ix_jobs_key", table_name="jobs", schema="batchkit")
    op.drop_table("jobs", schema="batchkit")
    op.drop_index(
        "ix_attempts_final",
        table_name="attempts",
        schema="batchkit",
        sqlite_where=sa.text("final = 1"),
        postgresql_where=sa.text("final"),
    )
    op.drop_table("attempts", schema="batchkit")
    op.drop_table("accounts", schema="batchkit")
