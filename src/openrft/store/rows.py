"""What the store answers with: one frozen dataclass per kind of row, and the page that lists come in.

Times are whole Unix seconds. None of them holds a secret: an :class:`ApiKey` is what is known about a key, not the key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

Scope = Literal["read", "write", "admin"]
"""What a key may do; each includes those before it."""

SCOPES: tuple[Scope, ...] = ("read", "write", "admin")

JobStatus = Literal["validating_files", "queued", "running", "paused", "succeeded", "failed", "cancelled"]
"""OpenAI's statuses. ``succeeded``, ``failed`` and ``cancelled`` are for good."""

JOB_STATUSES: tuple[JobStatus, ...] = (
    "validating_files",
    "queued",
    "running",
    "paused",
    "succeeded",
    "failed",
    "cancelled",
)
TERMINAL: frozenset[JobStatus] = frozenset({"succeeded", "failed", "cancelled"})

FileStatus = Literal["uploaded", "processed", "error"]

UploadStatus = Literal["pending", "completed", "cancelled", "expired"]

UPLOAD_STATUSES: tuple[UploadStatus, ...] = ("pending", "completed", "cancelled", "expired")

Level = Literal["info", "warn", "error"]

RowT = TypeVar("RowT")


@dataclass(frozen=True, kw_only=True, slots=True)
class Page(Generic[RowT]):
    """A part of a list. The next part is asked for with ``after`` = the id of the last item."""

    items: list[RowT]
    has_more: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Project:
    """Everything else belongs to exactly one project and is seen by no other."""

    id: str
    name: str
    created_at: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ApiKey:
    """What is known about a key. The key itself is shown once, when it is made, and not kept."""

    id: str
    project_id: str
    name: str
    hint: str  # its last four characters, for people who hold several
    scope: Scope
    created_at: int
    last_used_at: int | None  # to the minute
    revoked_at: int | None

    def allows(self, scope: Scope) -> bool:
        """Whether the key may do what needs ``scope``."""
        return SCOPES.index(self.scope) >= SCOPES.index(scope)


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredFile:
    """A file that somebody uploaded or a job made; its bytes are the artifact ``artifact``."""

    id: str
    project_id: str
    filename: str  # what the uploader called it: for people, never a path
    purpose: str
    bytes: int
    sha256: str
    artifact: str
    status: FileStatus
    status_details: str | None
    created_at: int
    expires_at: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Upload:
    """A large file that comes in parts. ``file_id`` is the file that they became."""

    id: str
    project_id: str
    filename: str
    purpose: str
    mime_type: str
    bytes: int  # as announced; the parts have to add up to it
    expires_after: int | None  # seconds from its making after which the file is gone
    status: UploadStatus
    created_at: int
    expires_at: int
    file_id: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class UploadPart:
    """A part of an upload; its bytes are the artifact ``artifact``."""

    id: str
    upload_id: str
    bytes: int
    artifact: str
    created_at: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Permission:
    """That a project may use the model of another project's checkpoint."""

    id: str
    checkpoint_id: str
    project_id: str
    created_at: int


@dataclass(frozen=True, kw_only=True, slots=True)
class JobError:
    """Why a job failed, in the three fields of OpenAI's job object."""

    code: str
    message: str
    param: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class NewJob:
    """A job as asked for. ``spec`` is the whole document; what is listed or filtered by stands beside it."""

    model: str
    training_file: str
    validation_file: str | None
    seed: int
    spec: Mapping[str, Any]
    suffix: str | None = None
    metadata: Mapping[str, str] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class JobRow:
    """A fine-tuning job, what became of it, and where it stands in the queue."""

    id: str
    project_id: str
    created_at: int
    model: str
    training_file: str
    validation_file: str | None
    suffix: str | None
    seed: int
    spec: dict[str, Any]
    metadata: dict[str, str] | None
    status: JobStatus
    resolved: dict[str, Any] | None  # the options that "auto" became
    started_at: int | None  # when a worker first took it
    finished_at: int | None
    estimated_finish: int | None
    fine_tuned_model: str | None
    trained_tokens: int | None
    result_files: list[str]
    error: JobError | None
    step: int | None  # the last one recorded
    total_steps: int | None
    checkpoint_step: int | None  # the last one with a checkpoint: a new attempt starts there
    cancel_requested: bool
    pause_requested: bool
    epoch: int  # grows with every attempt; a worker writes only under its own
    owner: str | None
    attempts: int
    created_by: str | None  # the id of the key; of older jobs nobody knows
    crash_count: int  # of the job's own making, since its last progress
    lost_count: int  # workers that vanished, since its last progress
    not_before: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Lease:
    """The right to write about one job: plain values, for handing to a child process."""

    job_id: str
    epoch: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """A job that a worker has taken."""

    lease: Lease
    job: JobRow


@dataclass(frozen=True, kw_only=True, slots=True)
class Wishes:
    """What people have asked of a running job since: the answer to a worker's beat."""

    cancel: bool
    pause: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class NewEvent:
    """A sentence for people, or a step's numbers. One with a ``key`` is there once, however often it is recorded."""

    message: str
    level: Level = "info"
    type: str = "message"
    data: Mapping[str, Any] = field(default_factory=dict)
    key: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class EventRow:
    """An event of a job. ``sequence`` counts 1, 2, 3, … within the job, in the order they became visible."""

    id: str
    job_id: str
    sequence: int
    created_at: int
    level: Level
    type: str
    message: str
    data: dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class StepRow:
    """One step of a job. ``rollouts`` is the artifact with everything sampled in it."""

    job_id: str
    step: int
    epoch: int
    recorded_at: int
    metrics: dict[str, float | None]  # None where the number was not finite
    rollouts: str | None


Points = Sequence[tuple[int, float | None]]
"""A series: steps and what was measured at each, None where it was not finite."""


@dataclass(frozen=True, slots=True)
class SampledStep:
    """Where a step's rollouts are, and what they come to; ``size`` is None where they have no index yet."""

    step: int
    rollouts: str | None
    size: int | None
    num_errored: int | None
    num_left_out: int | None
    lowest_reward: float | None
    highest_reward: float | None
    longest: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointRow:
    """A checkpoint that is whole, and the name by which it answers. Its files are the artifacts below ``artifact``."""

    id: str
    job_id: str
    step: int
    epoch: int
    created_at: int
    model_name: str  # ``ft:…:ckpt-step-N``, or the plain name for the final model
    artifact: str
    metrics: dict[str, float | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerRow:
    """A worker that is alive."""

    owner: str
    seen_at: int
    capacity: int  # jobs that it takes at once
    running: int


def finite(metrics: Mapping[str, float | None]) -> dict[str, float | None]:
    """``metrics`` with None in place of what JSON cannot spell: NaN and the infinities."""
    return {name: value if value is not None and abs(value) < float("inf") else None for name, value in metrics.items()}


def without(items: Sequence[RowT], limit: int) -> Page[RowT]:
    """The page of at most ``limit`` items, made from a query for one more."""
    return Page(items=list(items[:limit]), has_more=len(items) > limit)
