"""The tables, as they are now. ``migrations/`` is how a database gets here; a test compares the two.

``position`` orders what has the same second: it grows with every row and is never seen outside, where ids are used.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.types import TypeEngine

from openrft.store.evals_rows import ITEM_STATUSES, RUN_STATUSES
from openrft.store.rows import JOB_STATUSES, SCOPES, UPLOAD_STATUSES
from openrft.store.webhook_rows import DELIVERY_STATUSES

HEAD = "0003"
"""The newest revision in ``migrations/versions``."""

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _position() -> Column[int]:
    counter: TypeEngine[int] = BigInteger().with_variant(Integer(), "sqlite")  # SQLite counts only INTEGER keys
    return Column("position", counter, primary_key=True, autoincrement=True)


def _one_of(column: str, words: tuple[str, ...]) -> CheckConstraint:
    return CheckConstraint(f"{column} IN ({', '.join(repr(word) for word in words)})", name=column)


projects = Table(
    "projects",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

api_keys = Table(
    "api_keys",
    metadata,
    _position(),
    Column("id", String(64), nullable=False, unique=True),
    Column("project_id", ForeignKey("projects.id"), nullable=False, index=True),
    Column("name", Text, nullable=False),
    Column("sha256", String(64), nullable=False, unique=True),
    Column("hint", String(4), nullable=False),
    Column("scope", String(16), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("last_used_at", BigInteger),
    Column("revoked_at", BigInteger),
    _one_of("scope", SCOPES),
)

# A deleted file stays as a row without its name: jobs refer to it, and somebody may be paging past it.
files = Table(
    "files",
    metadata,
    _position(),
    Column("id", String(64), nullable=False, unique=True),
    Column("project_id", ForeignKey("projects.id"), nullable=False),
    Column("filename", Text, nullable=False),
    Column("purpose", String(64), nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("artifact", Text, nullable=False),
    Column("status", String(16), nullable=False),
    Column("status_details", Text),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("deleted_at", BigInteger),
    Index(None, "project_id", "position"),
)

uploads = Table(
    "uploads",
    metadata,
    _position(),
    Column("id", String(64), nullable=False, unique=True),
    Column("project_id", ForeignKey("projects.id"), nullable=False, index=True),
    Column("filename", Text, nullable=False),
    Column("purpose", String(64), nullable=False),
    Column("mime_type", Text, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("expires_after", BigInteger),
    Column("status", String(16), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("file_id", ForeignKey("files.id")),
    Index(None, "status", "expires_at"),
    _one_of("status", UPLOAD_STATUSES),
)

upload_parts = Table(
    "upload_parts",
    metadata,
    _position(),
    Column("id", String(64), nullable=False, unique=True),
    Column("upload_id", ForeignKey("uploads.id"), nullable=False, index=True),
    Column("bytes", BigInteger, nullable=False),
    Column("artifact", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

jobs = Table(
    "jobs",
    metadata,
    _position(),
    Column("id", String(64), nullable=False, unique=True),
    Column("project_id", ForeignKey("projects.id"), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    # as asked for
    Column("model", Text, nullable=False),
    Column("training_file", Text, nullable=False),
    Column("validation_file", Text),
    Column("suffix", Text),
    Column("seed", BigInteger, nullable=False),
    Column("spec", JSON, nullable=False),
    Column("metadata", JSON(none_as_null=True)),
    # what became of it
    Column("status", String(32), nullable=False),
    Column("resolved", JSON(none_as_null=True)),
    Column("started_at", BigInteger),
    Column("finished_at", BigInteger),
    Column("estimated_finish", BigInteger),
    Column("fine_tuned_model", Text),
    Column("trained_tokens", BigInteger),
    Column("result_files", JSON, nullable=False),
    Column("error", JSON(none_as_null=True)),
    Column("step", Integer),
    Column("total_steps", Integer),
    Column("checkpoint_step", Integer),
    # wishes of people, for the worker's next beat
    Column("cancel_requested", Boolean, nullable=False),
    Column("pause_requested", Boolean, nullable=False),
    # the queue
    Column("epoch", Integer, nullable=False),
    Column("owner", Text),
    Column("boot_id", String(64)),
    Column("lease_until", Double),
    Column("lease_seconds", Double),
    Column("heartbeat_at", BigInteger),
    Column("attempts", Integer, nullable=False),
    Column("crash_count", Integer, nullable=False),
    Column("lost_count", Integer, nullable=False),
    Column("not_before", BigInteger),
    Column("last_sequence", Integer, nullable=False),
    # last, because it was added to tables that were there
    Column("created_by", String(64)),
    Index(None, "project_id", "position"),
    Index(None, "status", "position"),
    _one_of("status", JOB_STATUSES),
)

job_metadata = Table(
    "job_metadata",
    metadata,
    Column("job_id", ForeignKey("jobs.id"), primary_key=True),
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

job_steps = Table(
    "job_steps",
    metadata,
    Column("job_id", ForeignKey("jobs.id"), primary_key=True),
    Column("step", Integer, primary_key=True, autoincrement=False),
    Column("epoch", Integer, nullable=False),
    Column("recorded_at", BigInteger, nullable=False),
    Column("metrics", JSON, nullable=False),
    Column("rollouts", Text),
)

# What was sampled in a step, in numbers: as a whole here, rollout by rollout in ``columns``; see rollout_index.py.
rollout_index = Table(
    "rollout_index",
    metadata,
    Column("job_id", String(64), primary_key=True),
    Column("step", Integer, primary_key=True, autoincrement=False),
    Column("size", Integer, nullable=False),
    Column("num_errored", Integer, nullable=False),
    Column("num_left_out", Integer, nullable=False),
    Column("lowest_reward", Double),
    Column("highest_reward", Double),
    Column("longest", Integer, nullable=False),
    Column("examples", Text, nullable=False),
    Column("columns", LargeBinary, nullable=False),
    ForeignKeyConstraint(["job_id", "step"], [job_steps.c.job_id, job_steps.c.step]),
)

job_events = Table(
    "job_events",
    metadata,
    Column("job_id", ForeignKey("jobs.id"), primary_key=True),
    Column("sequence", Integer, primary_key=True, autoincrement=False),
    Column("id", String(64), nullable=False, unique=True),
    Column("created_at", BigInteger, nullable=False),
    Column("level", String(16), nullable=False),
    Column("type", String(32), nullable=False),
    Column("message", Text, nullable=False),
    Column("data", JSON, nullable=False),
    Column("key", String(128)),
    UniqueConstraint("job_id", "key"),
)

checkpoints = Table(
    "checkpoints",
    metadata,
    _position(),
    Column("id", String(64), nullable=False, unique=True),
    Column("job_id", ForeignKey("jobs.id"), nullable=False),
    Column("step", Integer, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("model_name", Text, nullable=False),
    Column("artifact", Text, nullable=False),
    Column("metrics", JSON, nullable=False),
    Column("deleted_at", BigInteger),
    UniqueConstraint("job_id", "model_name"),
    Index(None, "model_name"),
)

checkpoint_permissions = Table(
    "checkpoint_permissions",
    metadata,
    _position(),
    Column("id", String(64), nullable=False, unique=True),
    Column("checkpoint_id", ForeignKey("checkpoints.id"), nullable=False),
    Column("project_id", ForeignKey("projects.id"), nullable=False, index=True),
    Column("created_at", BigInteger, nullable=False),
    UniqueConstraint("checkpoint_id", "project_id"),
)


# A deleted eval or run stays as a row, without its items: somebody may be paging past it.
evals = Table(
    "evals",
    metadata,
    _position(),
    Column("id", String(64), nullable=False, unique=True),
    Column("project_id", ForeignKey("projects.id"), nullable=False),
    Column("job_id", ForeignKey("jobs.id"), unique=True),
    Column("name", Text),
    Column("metadata", JSON(none_as_null=True)),
    Column("data_source_config", JSON, nullable=False),
    Column("testing_criteria", JSON, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("deleted_at", BigInteger),
    Index(None, "project_id", "position"),
)

eval_runs = Table(
    "eval_runs",
    metadata,
    _position(),
    Column("id", String(64), nullable=False, unique=True),
    Column("eval_id", ForeignKey("evals.id"), nullable=False),
    Column("key", String(64)),
    Column("name", Text),
    Column("metadata", JSON(none_as_null=True)),
    Column("model", Text),
    Column("data_source", JSON, nullable=False),
    Column("status", String(16), nullable=False),
    Column("error", JSON(none_as_null=True)),
    Column("tally", JSON, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("started_at", BigInteger),
    Column("finished_at", BigInteger),
    Column("deleted_at", BigInteger),
    # the queue
    Column("epoch", Integer, nullable=False),
    Column("owner", Text),
    Column("boot_id", String(64)),
    Column("lease_until", Double),
    Column("lease_seconds", Double),
    Column("lost_count", Integer, nullable=False),
    UniqueConstraint("eval_id", "key"),
    Index(None, "eval_id", "position"),
    Index(None, "status", "position"),
    _one_of("status", RUN_STATUSES),
)

# The rows that an eval was run on, each content once: runs and samples share them.
eval_source_items = Table(
    "eval_source_items",
    metadata,
    Column("eval_id", ForeignKey("evals.id"), primary_key=True),
    Column("digest", String(64), primary_key=True),
    Column("content", JSON, nullable=False),
)

eval_output_items = Table(
    "eval_output_items",
    metadata,
    _position(),
    Column("id", String(64), nullable=False, unique=True),
    Column("run_id", ForeignKey("eval_runs.id"), nullable=False),
    Column("row", Integer, nullable=False),
    Column("sample_index", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("status", String(16), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("results", JSON, nullable=False),
    Column("sample", JSON, nullable=False),
    UniqueConstraint("run_id", "row", "sample_index"),
    Index(None, "run_id", "position"),
    _one_of("status", ITEM_STATUSES),
)

workers = Table(
    "workers",
    metadata,
    Column("owner", String(200), primary_key=True),
    Column("boot_id", String(64), nullable=False),
    Column("seen", Double, nullable=False),
    Column("seen_at", BigInteger, nullable=False),
    Column("capacity", Integer, nullable=False),
    Column("running", Integer, nullable=False),
)

webhook_endpoints = Table(
    "webhook_endpoints",
    metadata,
    _position(),
    Column("id", String(64), nullable=False, unique=True),
    Column("project_id", ForeignKey("projects.id"), nullable=False),
    Column("url", Text, nullable=False),
    Column("name", Text),
    Column("event_types", JSON, nullable=False),
    Column("secret", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("deleted_at", BigInteger),
    Index(None, "project_id", "position"),
)

# One row for each endpoint that is to hear of an event. The body is kept, so that every attempt sends the same bytes.
webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    _position(),
    Column("endpoint_id", ForeignKey("webhook_endpoints.id"), nullable=False),
    Column("object_id", String(64), nullable=False),
    Column("event_id", String(64), nullable=False),
    Column("type", String(64), nullable=False),
    Column("body", Text, nullable=False),
    Column("status", String(16), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_at", BigInteger),
    Column("delivered_at", BigInteger),
    Column("problem", Text),
    UniqueConstraint("endpoint_id", "object_id"),
    Index(None, "status", "next_at"),
    _one_of("status", DELIVERY_STATUSES),
)
