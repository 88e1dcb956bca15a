"""Every error openrft raises on purpose.

    OpenRFTError
    ├── InvalidRequest           an option, a job or a grader definition is wrong: say field, value, fix
    │   ├── DatasetError         rows of a file are wrong: carries every problem, not just the first
    │   └── TooLarge             a request or a file is larger than the server takes
    ├── ModelError               a base model, adapter or export cannot be loaded or written
    ├── GraderError              a grade could not be given: carries one of OpenAI's error kinds
    ├── SandboxUnavailable       this machine cannot isolate a Python grader, so it is not run
    ├── EngineError              completions could not be produced, or not from the weights they should
    ├── CheckpointError          a checkpoint belongs to another model, or cannot be written
    │   └── CheckpointDamaged    a file of it is missing or not what was written; an older one may do
    ├── TrainingDiverged         NaN or Inf in a loss or gradient: the job failed, with its cause
    ├── UngradedError            too many rollouts could not be graded to go on
    ├── NotFound                 there is no such thing in this project
    ├── Unauthorized             the API key is missing, unknown or revoked, or may not do this
    ├── Forbidden                the request may not come this way, or the server not call that address
    ├── TooManyRequests          the server has enough to do: the same request is fine in a while
    ├── StoreError               the database or the folder of files did not take a write or answer a read: says why
    │   └── Fenced               this worker no longer holds the job: stop at once and touch nothing of it
    ├── Unavailable              what answers this is starting or restarting: ask again a little later
    └── JobInterrupted           somebody asked the run to stop; its state was saved and can be resumed
        └── BudgetSpent          the run would spend more than it may; resuming it grants as much again

Each carries ``code`` (a stable word for programs), ``param`` (the field it is about, or None) and the HTTP
status it becomes on the wire; ``to_wire`` gives OpenAI's error envelope. User code raises plain Python; only the
boundary that called it turns that into one of these.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

GradeErrorKind = Literal[
    "formula_parse_error",
    "sample_parse_error",
    "truncated_observation_error",
    "unresponsive_reward_error",
    "invalid_variable_error",
    "other_error",
    "python_grader_server_error",
    "python_grader_runtime_error",
    "model_grader_server_error",
    "model_grader_refusal_error",
    "model_grader_parse_error",
]
"""Why a grade is missing, in the words of OpenAI's graders/run answer."""


_LONGEST_MESSAGE = 16_000


def shown(text: str, limit: int = 80) -> str:
    """``text`` for a message: cut to ``limit`` characters, and half characters, which no file can hold, spelled out."""
    spelled = text[:limit].encode("utf-8", "backslashreplace").decode("utf-8")
    return spelled if len(text) <= limit and len(spelled) <= limit else spelled[: limit - 1] + "…"


class OpenRFTError(Exception):
    """Base of all of them; catching it catches every error that openrft explains."""

    code = "server_error"
    http_status = 500

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        message = shown(message, _LONGEST_MESSAGE)
        super().__init__(message)
        self.message = message
        self.param = None if param is None else shown(param, 1_000)
        if code is not None:
            self.code = code

    def to_wire(self) -> dict[str, Any]:
        """OpenAI's error envelope: ``{"error": {"message", "type", "param", "code"}}``."""
        kind = "invalid_request_error" if self.http_status < 500 else "server_error"
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}


class InvalidRequest(OpenRFTError):
    """An option, a job or a grader definition is wrong."""

    code = "invalid_value"
    http_status = 400


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """One thing that is wrong with one place of a file, and what to do about it."""

    file: str
    line: int | None  # 1-based; None when it is about the whole file
    key: str | None  # path inside the row, e.g. ``messages[2].role``
    code: str  # a stable word, e.g. ``unrecognized_role``
    expected: str
    found: str
    fix: str

    def __str__(self) -> str:
        place = self.file + (f", line {self.line}" if self.line is not None else "")
        key = f', key "{self.key}"' if self.key else ""
        return f"{place}{key}: expected {self.expected}, found {self.found}. {self.fix}"


class DatasetError(InvalidRequest):
    """Rows of a file are wrong. ``problems`` lists all of them, in file order."""

    code = "invalid_training_file"

    def __init__(self, problems: Sequence[Problem], *, param: str | None = None) -> None:
        self.problems = list(problems)
        shown = "\n".join(f"  {problem}" for problem in self.problems[:20])
        more = f"\n  … and {len(self.problems) - 20} more" if len(self.problems) > 20 else ""
        count = f"{len(self.problems)} problem{'s' if len(self.problems) != 1 else ''}"
        super().__init__(f"{count} in the data:\n{shown}{more}", param=param)

    def to_wire(self) -> dict[str, Any]:
        """OpenAI's error envelope with all ``problems`` beside the message, for programs."""
        wire = super().to_wire()
        wire["error"]["problems"] = [asdict(problem) for problem in self.problems]
        return wire


class ModelError(OpenRFTError):
    """A base model, adapter or export cannot be loaded or written."""

    code = "model_not_found"
    http_status = 400


class GraderError(OpenRFTError):
    """A grade could not be given. Training drops the rollout; it never becomes a zero."""

    def __init__(
        self,
        message: str,
        *,
        kind: GradeErrorKind = "other_error",
        grader: str | None = None,
        transient: bool = False,
    ) -> None:
        super().__init__(message, code=kind)
        self.kind: GradeErrorKind = kind
        self.grader = grader
        self.transient = transient  # trying again later may help: the grader is out of reach or busy


class SandboxUnavailable(OpenRFTError):
    """User code cannot be isolated on this machine, so it is not run; the message says what is missing."""

    code = "grader_sandbox_unavailable"
    http_status = 422


class EngineError(OpenRFTError):
    """Completions could not be produced, or not from the weights they should come from."""

    code = "engine_error"


class CheckpointError(OpenRFTError):
    """A checkpoint belongs to another model, or cannot be written: its weights may not be finite."""

    code = "invalid_checkpoint"


class CheckpointDamaged(CheckpointError):
    """A file of a checkpoint is missing or not what was written."""


class TrainingDiverged(OpenRFTError):
    """A loss or gradient is NaN or Inf. The job has failed; the last checkpoint is still good."""

    code = "training_diverged"


class UngradedError(OpenRFTError):
    """So many rollouts could not be graded that going on would train on a biased rest.

    ``groups`` are the rollouts of the step that failed, to be kept as evidence. ``is_outage``: the grader was out of
    reach, so that trying again later may help.
    """

    code = "too_many_ungraded"

    def __init__(self, message: str, *, groups: Sequence[Any] = (), is_outage: bool = False) -> None:
        super().__init__(f"{message}. Finished steps are kept: when the grader works again, go on with --resume")
        self.groups = groups
        self.is_outage = is_outage


class NotFound(OpenRFTError):
    """There is no such thing in this project; another project's things look the same as none."""

    code = "not_found"
    http_status = 404


class Unauthorized(OpenRFTError):
    """The API key is missing, unknown or revoked (401), or its scope does not reach this far (403)."""

    code = "invalid_api_key"
    http_status = 401

    def __init__(self, message: str, *, is_known: bool = False) -> None:
        super().__init__(message, code="insufficient_permissions" if is_known else None)
        self.http_status = 403 if is_known else 401


class TooLarge(InvalidRequest):
    """A request or a file is larger than the server takes."""

    code = "too_large"
    http_status = 413


class Forbidden(OpenRFTError):
    """The request may not come this way, whoever sends it; or it wants the server to call what it does not call."""

    code = "forbidden"
    http_status = 403


class TooManyRequests(OpenRFTError):
    """The server has enough to do; the same request is fine after ``retry_after`` seconds."""

    code = "rate_limit_exceeded"
    http_status = 429

    def __init__(self, message: str, *, retry_after: int = 1) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class StoreError(OpenRFTError):
    """The database or the folder of files did not take a write or answer a read.

    Nothing of the operation was done, unless ``code`` is ``store_lost``: then the answer is missing, not the rest.
    """

    code = "store_error"
    http_status = 503


class Fenced(StoreError):
    """Another attempt holds the job, or it has ended: whoever gets this stops at once and touches nothing of it."""

    code = "fenced"


class Unavailable(OpenRFTError):
    """The process that answers this is starting, restarting or out of reach; ask again in ``retry_after`` seconds."""

    code = "unavailable"
    http_status = 503

    def __init__(self, message: str, *, retry_after: int = 1) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class JobInterrupted(OpenRFTError):
    """Somebody asked the run to stop. Its state was saved; ``openrft run --resume`` goes on from it."""

    code = "interrupted"


class BudgetSpent(JobInterrupted):
    """Going on would spend more than the job's budget. Everything is kept; resuming grants as much again.

    ``step`` is the last one that was done, ``spent`` what was spent by then, by what it is measured in.
    """

    code = "budget_spent"

    def __init__(self, message: str, *, step: int, spent: Mapping[str, float]) -> None:
        super().__init__(message)
        self.step = step
        self.spent = dict(spent)
