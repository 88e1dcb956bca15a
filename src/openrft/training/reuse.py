"""The untouched base's evaluations, kept for other runs: many jobs differ in what training does, and not in this.

An evaluation is a function of the weights, the rows, the noise, the grader, the code and the machine. A hash over all
of them is its name in a folder that outlives the runs, so that it is found only where computing it would give the same
bytes. Graders that ask a server are no such function: their answers change behind one name, and a base that was graded
last month would be compared with a model that is graded now. Theirs are not kept, nor any with an answer ungraded.

    kept/
    ├── evaluations/     <hash>.json: one evaluation each; the least recently used make room for new ones
    └── threads-….json   which numbers of threads are fastest on this machine (threads.py)
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import torch

import openrft
from openrft.config.graders import (
    EndpointSpec,
    GraderSpec,
    LabelModelSpec,
    ScoreModelSpec,
    TextSimilaritySpec,
    judging_parts,
)
from openrft.config.home import make_private
from openrft.config.settings import read_settings
from openrft.evaluation.evaluation import Evaluation, Mode
from openrft.models.checkpoint import flush_entry
from openrft.models.memory import total_bytes
from openrft.rollout.collect import Prompt
from openrft.rollout.native import stop_ids_of
from openrft.training.prepare import Prepared, sandbox_level
from openrft.training.provenance import describe
from openrft.types import SamplingParams

NO_MATTER = frozenset(
    """
    algorithm num_steps n_epochs batch_size group_size learning_rate learning_rate_schedule warmup_steps
    groups_per_update prompt_order early_stopping guard budget_minutes budget_tokens budget_grader_cost
    train_truncated kl_beta clip_low clip_high weight_decay max_grad_norm microbatch_tokens
    checkpoint_interval eval_interval ship max_ungraded_share grader_outage_minutes pass_threshold
    eval_samples temperature top_p stop max_completion_tokens reasoning_effort
    """.split()
)
"""Hyperparameters that the base's evaluation does not depend on, or (the last line) only through :class:`Pass`. Any
other counts: an adapter that changes nothing still rounds differently."""

FOLDER = "kept/evaluations"
"""Where people find them below a home; what a job tells names no path of the machine."""

_ABANDONED_AFTER = 3600.0  # seconds; a file that is still being written is younger


@dataclass(frozen=True, slots=True)
class Pass:
    """What is evaluated, beside the base and its grader."""

    name: str
    step: int
    mode: Mode
    num_samples: int
    sampling: SamplingParams  # as it is used in this mode
    stream: int
    prompts: Sequence[Prompt]


@dataclass(frozen=True, slots=True)
class Found:
    """An evaluation of an earlier run."""

    evaluation: Evaluation
    made_at: float  # seconds since 1970
    made_by: str  # which run's it was
    seconds: float  # that it took to compute


@dataclass(frozen=True, slots=True)
class Kept:
    """What outlives a run, in one folder; several processes may use it at once."""

    folder: Path
    most_bytes: int  # of evaluations; 0 keeps and finds none
    run: str  # who keeps and looks for them
    owner: str = ""  # nothing of one owner is found for another, who need not know that these rows were ever evaluated

    @property
    def evaluations(self) -> Path:
        """Where the evaluations are."""
        return self.folder / FOLDER.rpartition("/")[2]

    def key(self, prepared: Prepared, asked: Pass) -> str | None:
        """The name of this evaluation of the untouched base; None where it is not to be kept."""
        grader, monitor = prepared.job.method.options.grader, prepared.job.monitor_grader
        if not self.most_bytes or grader is None or asks_a_server(grader):
            return None
        if monitor is not None and asks_a_server(monitor):
            return None
        facts = {"owner": self.owner, "base": _base_facts(prepared), "pass": asdict(asked), "format": 1}
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def find(self, key: str, warn: Callable[[str], None]) -> Found | None:
        """The evaluation under ``key``; None where there is none. A damaged file is set aside, with a warning."""
        path = self.evaluations / f"{key}.json"
        try:
            text = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            warn(f"the evaluation {path.name} cannot be read from {FOLDER} and is computed anew: {error.strerror}")
            return None
        try:
            document = json.loads(text)
            if document["digest"] != _digest(document["evaluation"]):
                raise ValueError("its content is not what was written")
            made = (document["made_at"], document["made_by"], document["seconds"])
            found = Found(Evaluation.from_json(document["evaluation"]), *made)
        except (ValueError, KeyError, TypeError, AttributeError):
            aside = path.with_suffix(".damaged")
            path.replace(aside)
            warn(f"the evaluation {path.name} in {FOLDER} is damaged; set aside as {aside.name}, computed anew")
            return None
        os.utime(path)  # used now
        return found

    def keep(self, key: str, evaluation: Evaluation, seconds: float) -> None:
        """Keep a whole evaluation, and let go of the least recently used ones beyond ``most_bytes``.

        Raises :class:`OSError` where it cannot be written.
        """
        content = evaluation.to_json()
        grades = (grade for row in evaluation.rows for grade in (*row.grades, *row.monitor_grades))
        if evaluation.num_ungraded or any(map(_has_failed, grades)):
            return
        made = {"made_at": time.time(), "made_by": self.run, "seconds": seconds}
        text = json.dumps({**made, "digest": _digest(content), "evaluation": content})
        if len(text) > self.most_bytes:
            return
        make_private(self.evaluations)
        partial = self.evaluations / f"{key}.{os.getpid()}.partial"
        try:
            with partial.open("w", encoding="ascii") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(self.evaluations / f"{key}.json")
        except OSError:
            partial.unlink(missing_ok=True)
            raise
        flush_entry(self.evaluations)
        self._make_room()

    def _make_room(self) -> None:
        facts = []
        for path in self.evaluations.iterdir():
            try:
                status = path.stat()
            except FileNotFoundError:  # another process made room as well
                continue
            facts.append((status.st_mtime, status.st_size, path))
        taken = sum(size for _, size, _ in facts)
        for used_at, size, path in sorted(facts):
            is_abandoned = path.suffix == ".partial" and time.time() - used_at > _ABANDONED_AFTER
            if is_abandoned or (taken > self.most_bytes and path.suffix != ".partial"):
                path.unlink(missing_ok=True)
                taken -= size


def open_kept(folder: Path, *, run: str, owner: str = "") -> Kept:
    """What is kept in ``folder``, as far as the settings of this machine allow."""
    settings = read_settings().evaluation
    most_bytes = settings.kept_megabytes * 1_000_000 if settings.reuse_base else 0
    return Kept(folder, most_bytes, run, owner)


def asks_a_server(grader: GraderSpec) -> bool:
    """Whether what ``grader`` says depends on more than the answer and the row."""
    return any(
        isinstance(part, ScoreModelSpec | LabelModelSpec | EndpointSpec)
        or (isinstance(part, TextSimilaritySpec) and part.evaluation_metric == "cosine")
        for part in judging_parts(grader)
    )


def _base_facts(prepared: Prepared) -> dict[str, Any]:
    """All that the base's answers and grades depend on, beside the pass."""
    policy, settings, grader = prepared.policy, prepared.settings, prepared.job.method.options.grader
    network, device, monitor = policy.network, policy.network.device, prepared.job.monitor_grader
    return {
        "model": policy.name,  # graders see it
        "fingerprint": prepared.base_fingerprint,
        "config": json.loads(network.config.to_json_string(use_diff=False)),
        "tokenizer": _tokenizer_digest(policy.tokenizer),
        "stop_ids": stop_ids_of(network, policy.tokenizer),
        "settings": {name: value for name, value in settings.model_dump(mode="json").items() if name not in NO_MATTER},
        "dtypes": sorted({str(parameter.dtype) for parameter in network.parameters()}),
        "seed": prepared.job.seed,
        "grader": grader.model_dump(mode="json"),
        "monitor": monitor and monitor.model_dump(mode="json"),
        "sandbox": sandbox_level(grader) or sandbox_level(monitor),
        "code": _code_digest(),
        "packages": _packages(),
        "machine": {**describe(prepared)["machine"], "update_threads": None},  # nothing is updated
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else _cpu(),
        "memory": total_bytes(device),  # decides how many rows are decoded together
    }


@cache
def _code_digest() -> str:
    """Of this package's source: the number of a version does not pin what a checkout holds."""
    digest = hashlib.sha256()
    folder = Path(openrft.__file__).parent
    for path in sorted(folder.rglob("*.py")):
        digest.update(f"{path.relative_to(folder)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


@cache
def _packages() -> list[str]:
    """Every installed package with its version: torch's rounding, the metrics' libraries, what a grader imports."""
    return sorted(f"{found.name} {found.version}" for found in distributions())


@cache
def _cpu() -> list[str]:
    """What of the processor decides which kernels run."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n")
    except OSError:
        lines = []
    model = next((line for line in lines if line.startswith("model name")), "")
    return [torch.backends.cpu.get_cpu_capability(), model]


def _tokenizer_digest(tokenizer: Any) -> str:
    """Of what turns tokens into text."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    spelled = backend.to_str() if backend is not None else json.dumps(tokenizer.get_vocab(), sort_keys=True)
    return hashlib.sha256(f"{spelled} {tokenizer.special_tokens_map}".encode("utf-8", "surrogatepass")).hexdigest()


def _digest(evaluation: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(evaluation).encode()).hexdigest()


def _has_failed(grade: Mapping[str, Any]) -> bool:
    """Whether a grade or a part of it stands for a failure, such as a grader's time that was up: it may be luck."""
    parts = grade["sub_grades"].values()
    return bool(grade["error"] or grade["replaced"]) or any(_has_failed(part) for part in parts)
