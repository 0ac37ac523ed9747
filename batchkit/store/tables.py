"""The tables, their laws (CHECKs and partial unique indexes) and how constraints are named.

``shelf`` is the partition key of the big tables: 0 today, copied from the run, and part of every
primary key and unique index of ``jobs``, ``members`` and ``attempts``, since Postgres demands that
of a partitioned table and adding it later rewrites the largest ones.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.types import TypeEngine

from batchkit.model import BatchState, CostKind, JobState
from batchkit.store.types import Digest, JsonText, UtcDateTime, Words

SHELF = 0
"""The only shelf there is today; without it in the WHERE no index of the big tables helps."""

SCHEMA = "batchkit"
"""Where everything lies on Postgres; SQLite has no schemas."""

# sqlite_autoincrement below: a handle on a removed run must not find the next one under its id.

NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}

metadata = MetaData(naming_convention=NAMES, schema=SCHEMA)

ATTEMPT_STATES = (
    JobState.COMPLETED.value,
    JobState.FAILED.value,
    JobState.CANCELLED.value,
    "again",
)
END_REASONS = ("completed", "expired", "cancelled", "failed", "lost", "local")
BATCH_KINDS = ("range", "members", "local")
PROOFS = ("certain", "provisional")
PREFIX_LEVELS = ("system", "documents")


def _one_of(column: str, values: tuple[str, ...]) -> str:
    listed = ", ".join(f"'{value}'" for value in values)
    return f"{column} IN ({listed})"


def _big_key() -> TypeEngine[int]:
    """BIGINT where it matters; SQLite's autoincrement wants the word INTEGER."""
    return BigInteger().with_variant(Integer, "sqlite")


def _partial(
    name: str, *columns: str, where: str, on_postgres: str | None = None, unique: bool = False
) -> Index:
    """Index the rows that meet a condition; on Postgres `for_postgres` says so."""
    there = {"where": on_postgres or where}
    return Index(name, *columns, unique=unique, sqlite_where=text(where), info=there)


def for_postgres() -> MetaData:
    """Return the tables with the conditions of their indexes as Postgres has them.

    Only migrations ask; saying so above would import that dialect for SQLite's users, too.
    """
    for table in metadata.sorted_tables:
        for index in table.indexes:
            if "where" in index.info:
                index.dialect_options["postgresql"]["where"] = text(index.info["where"])
    return metadata


LIVE = "state IN ('sealed', 'submitting', 'running', 'ended')"

accounts = Table(
    "accounts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("provider", Text, nullable=False),
    Column("base_url", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("workspace", Text),
    Column("learnt", JsonText, nullable=False, server_default="{}"),
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("unreachable_since", UtcDateTime),
    Column("retry_at", UtcDateTime),
    Column("blocked_at", UtcDateTime),
    Column("blocked_reason", Words),
    UniqueConstraint("provider", "base_url", "fingerprint"),
)

runs = Table(
    "runs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("shelf", SmallInteger, nullable=False, server_default="0"),
    Column("uid", Text, nullable=False),
    Column("project", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("nameless", Boolean, nullable=False, server_default=text("false")),
    Column("owner", Text),
    Column("spec", JsonText, nullable=False),
    Column("priority", Integer, nullable=False, server_default="0"),
    Column("created_at", UtcDateTime, nullable=False),
    Column("opened_at", UtcDateTime),
    Column("finished_at", UtcDateTime),
    Column("first_send_at", UtcDateTime),
    Column("last_progress_at", UtcDateTime),
    Column("cost_limit", BigInteger),
    Column("time_limit_s", Float),
    Column("deadline_at", UtcDateTime),
    Column("cancel_requested_at", UtcDateTime),
    Column("hold_until", UtcDateTime),
    Column("hold_reason", Words),
    Column("waiting_for", Text),
    Column("waiting_since", UtcDateTime),
    Column("waiting_detail", Words),
    Column("brakes", JsonText, nullable=False, server_default="{}"),
    Column("canary", JsonText),
    Column("expects_more", Boolean, nullable=False, server_default=text("false")),
    Column("revisions", BigInteger, nullable=False, server_default="0"),
    Column("spent", BigInteger, nullable=False, server_default="0"),
    Column("reserved", BigInteger, nullable=False, server_default="0"),
    Column("collected_no", Integer, nullable=False, server_default="0"),
    Column("next_no", BigInteger, nullable=False, server_default="0"),
    Column("total", BigInteger, nullable=False, server_default="0"),
    Column("completed", BigInteger, nullable=False, server_default="0"),
    Column("failed", BigInteger, nullable=False, server_default="0"),
    Column("cancelled", BigInteger, nullable=False, server_default="0"),
    Column("cost_unknown", BigInteger, nullable=False, server_default="0"),
    UniqueConstraint("uid"),
    UniqueConstraint("project", "name"),
    CheckConstraint("reserved >= 0", name="reserved_not_negative"),
    CheckConstraint("spent >= 0", name="spent_not_negative"),
    CheckConstraint("cost_limit IS NULL OR cost_limit > 0", name="cost_limit_positive"),
    CheckConstraint(
        "opened_at IS NULL OR completed + failed + cancelled <= total", name="ended_within_total"
    ),
    CheckConstraint(
        "waiting_for IS NULL OR waiting_for IN "
        "('budget', 'account', 'files', 'review', 'canary', 'provider')",
        name="waiting_for",
    ),
    sqlite_autoincrement=True,
)

lanes = Table(
    "lanes",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("shelf", SmallInteger, nullable=False, server_default="0"),
    Column("run_id", Integer, ForeignKey("runs.id"), nullable=False),
    Column("provider", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("endpoint", Text, nullable=False),
    Column("account_id", Integer, ForeignKey("accounts.id")),
    Column("size", BigInteger, nullable=False, server_default="0"),
    Column("released", BigInteger, nullable=False, server_default="0"),
    Column("cursor", BigInteger, nullable=False, server_default="0"),
    Column("lease_no", Integer, nullable=False, server_default="0"),
    Column("lease_owner", Text),
    Column("lease_until", UtcDateTime),
    UniqueConstraint("run_id", "provider", "model", "endpoint"),
    CheckConstraint('0 <= "cursor" AND "cursor" <= released AND released <= size', name="order"),
    sqlite_autoincrement=True,
)

templates = Table(
    "templates",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("run_id", Integer, ForeignKey("runs.id"), nullable=False),
    Column("digest", Digest, nullable=False),
    Column("data", JsonText, nullable=False),
    UniqueConstraint("run_id", "digest"),
    sqlite_autoincrement=True,
)

jobs = Table(
    "jobs",
    metadata,
    Column("shelf", SmallInteger, primary_key=True, server_default="0"),
    Column("lane_id", Integer, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("run_id", Integer, nullable=False),
    Column("no", BigInteger, nullable=False),
    Column("key", Text, nullable=False),
    Column("revision", Integer, nullable=False, server_default="0"),
    Column("superseded", Boolean, nullable=False, server_default=text("false")),
    Column("digest", Digest, nullable=False),
    Column("template_id", Integer, nullable=False),
    Column("asked_id", Integer),
    Column("own", JsonText, nullable=False),
    Column("documents", JsonText),
    Column("metadata", JsonText),
    Column("bytes", Integer, nullable=False),
    Column("tokens", Integer, nullable=False),
    Column("bound", BigInteger),
    Index("ix_jobs_key", "shelf", "run_id", "key", "revision", unique=True),
)

prefixes = Table(
    "prefixes",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("run_id", Integer, ForeignKey("runs.id"), nullable=False),
    Column("lane_id", Integer, ForeignKey("lanes.id"), nullable=False),
    Column("level", Text, nullable=False),
    Column("digest", Digest, nullable=False),
    Column("primer_seq", BigInteger, nullable=False),
    Column("tokens", Integer, nullable=False),
    Column("jobs", BigInteger, nullable=False),
    Column("primed_at", UtcDateTime),
    Column("warmed_at", UtcDateTime),
    Column("warm_until", UtcDateTime),
    CheckConstraint(_one_of("level", PREFIX_LEVELS), name="level"),
    Index("ix_prefixes_lane", "lane_id", "primer_seq"),
    sqlite_autoincrement=True,
)

batches = Table(
    "batches",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("shelf", SmallInteger, nullable=False, server_default="0"),
    Column("run_id", Integer, ForeignKey("runs.id"), nullable=False),
    Column("lane_id", Integer, ForeignKey("lanes.id")),
    Column("account_id", Integer, ForeignKey("accounts.id")),
    Column("kind", Text, nullable=False),
    Column("lo", BigInteger),
    Column("hi", BigInteger),
    Column("state", Text, nullable=False),
    Column("token", Text),
    Column("count", Integer, nullable=False),
    Column("bytes", BigInteger, nullable=False, server_default="0"),
    Column("tokens", BigInteger, nullable=False, server_default="0"),
    Column("sha256", Text),
    Column("spool", Text),
    Column("spool_host", Text),
    Column("twin_guard", Integer),
    Column("file_ref", Text),
    Column("ref", Text),
    Column("proof", Text),
    Column("refused_refs", JsonText, nullable=False, server_default="[]"),
    Column("attempt_no", Integer, nullable=False, server_default="1"),
    Column("reserved", BigInteger, nullable=False, server_default="0"),
    Column("cost", BigInteger, nullable=False, server_default="0"),
    Column("provider_total", Integer),
    Column("provider_completed", Integer, nullable=False, server_default="0"),
    Column("provider_failed", Integer, nullable=False, server_default="0"),
    Column("completed", Integer, nullable=False, server_default="0"),
    Column("failed", Integer, nullable=False, server_default="0"),
    Column("cancelled", Integer, nullable=False, server_default="0"),
    Column("again", Integer, nullable=False, server_default="0"),
    Column("codes", JsonText, nullable=False, server_default="{}"),
    Column("word", Words),
    Column("end_reason", Text),
    Column("error_code", Words),
    Column("error_message", Words),
    Column("cancel_requested_at", UtcDateTime),
    Column("cancel_sent_at", UtcDateTime),
    Column("sealed_at", UtcDateTime),
    Column("intent_at", UtcDateTime),
    Column("heard_at", UtcDateTime),
    Column("looked_at", UtcDateTime),
    Column("looks", Integer, nullable=False, server_default="0"),
    Column("accepted_at", UtcDateTime),
    Column("expires_at", UtcDateTime),
    Column("results_until", UtcDateTime),
    Column("ended_at", UtcDateTime),
    Column("collected_at", UtcDateTime),
    Column("poll_at", UtcDateTime),
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("missing_since", UtcDateTime),
    Column("collected_no", Integer),
    Column("judging", JsonText),
    Column("marks", JsonText),
    Column("lease_no", Integer, nullable=False, server_default="0"),
    Column("lease_owner", Text),
    Column("lease_until", UtcDateTime),
    CheckConstraint(_one_of("state", tuple(BatchState)), name="state"),
    CheckConstraint(_one_of("kind", BATCH_KINDS), name="kind"),
    CheckConstraint(f"proof IS NULL OR {_one_of('proof', PROOFS)}", name="proof"),
    CheckConstraint(f"end_reason IS NULL OR {_one_of('end_reason', END_REASONS)}", name="reason"),
    CheckConstraint("state NOT IN ('running', 'ended') OR ref IS NOT NULL", name="running_has_ref"),
    CheckConstraint(
        "(state IN ('collected', 'abandoned')) = (collected_no IS NOT NULL)",
        name="collected_has_no",
    ),
    CheckConstraint("kind <> 'range' OR (lo IS NOT NULL AND lo < hi)", name="range_not_empty"),
    CheckConstraint(f"reserved = 0 OR {LIVE}", name="only_live_reserves"),
    _partial("ix_batches_live", "run_id", "state", where=LIVE),
    Index("ix_batches_collected", "run_id", "collected_no", unique=True),
    Index("ix_batches_token", "token", unique=True),
    _partial(
        *("ix_batches_twins", "account_id", "twin_guard"),
        where="state = 'submitting'",
        unique=True,
    ),
    Index("ix_batches_ref", "account_id", "ref", unique=True),
    sqlite_autoincrement=True,
)

uploads = Table(
    "uploads",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("account_id", Integer, ForeignKey("accounts.id"), nullable=False),
    Column("run_id", Integer, nullable=False),
    Column("content", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("ref", Text, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("made_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    Column("keep", Boolean, nullable=False, server_default=text("false")),
    Column("released_at", UtcDateTime),
    Column("deleted_at", UtcDateTime),
    CheckConstraint("deleted_at IS NULL OR released_at IS NOT NULL", name="deleted_was_released"),
    UniqueConstraint("account_id", "ref"),
    sqlite_autoincrement=True,
)

loans = Table(
    "loans",
    metadata,
    Column("batch_id", Integer, primary_key=True, autoincrement=False),
    Column("upload_id", Integer, primary_key=True, autoincrement=False),
    Column("run_id", Integer, nullable=False),
    Index("ix_loans_upload", "upload_id"),
)

members = Table(
    "members",
    metadata,
    Column("shelf", SmallInteger, primary_key=True, server_default="0"),
    Column("lane_id", Integer, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("attempt_no", Integer, primary_key=True, autoincrement=False),
    Column("run_id", Integer, nullable=False),
    Column("batch_id", Integer),
    Column("changes", JsonText),
    Column("reason", Text, nullable=False),
    Column("not_before", UtcDateTime),
    _partial("ix_members_free", "lane_id", "seq", where="batch_id IS NULL"),
    Index("ix_members_batch", "batch_id", "seq"),
)

attempts = Table(
    "attempts",
    metadata,
    Column("shelf", SmallInteger, primary_key=True, server_default="0"),
    Column("batch_id", Integer, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("lane_id", Integer, nullable=False),
    Column("run_id", Integer, nullable=False),
    Column("attempt_no", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("final", Boolean, nullable=False),
    Column("code", Words),
    Column("error", Words),
    Column("answer", Words),
    Column("citations", JsonText),
    Column("finish", Words),
    Column("model", Words),
    Column("request_id", Words),
    Column("input_tokens", Integer),
    Column("output_tokens", Integer),
    Column("cached_tokens", Integer),
    Column("cache_write_tokens", Integer),
    Column("reasoning_tokens", Integer),
    Column("cost", BigInteger),
    Column("cost_kind", Text, nullable=False),
    Column("ran", Boolean, nullable=False),
    Column("reused_from", Text),
    Column("changes", JsonText),
    CheckConstraint(_one_of("state", ATTEMPT_STATES), name="state"),
    CheckConstraint(_one_of("cost_kind", tuple(CostKind)), name="cost_kind"),
    CheckConstraint("state <> 'again' OR NOT final", name="again_is_not_final"),
    CheckConstraint("state <> 'completed' OR answer IS NOT NULL", name="completed_has_answer"),
    _partial(
        *("ix_attempts_final", "shelf", "lane_id", "seq"),
        where="final = 1",  # as SQLAlchemy asks for it: else it is not used
        on_postgres="final",
        unique=True,
    ),
)

events = Table(
    "events",
    metadata,
    Column("id", _big_key(), primary_key=True),
    Column("run_id", Integer, ForeignKey("runs.id"), nullable=False),
    Column("batch_id", Integer),
    Column("key", Text),
    Column("at", UtcDateTime, nullable=False),
    Column("action", Text, nullable=False),
    Column("detail", JsonText, nullable=False, server_default="{}"),
    Index("ix_events_run", "run_id", "id"),
)
