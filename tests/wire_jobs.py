"""Jobs made over the wire, and a worker's part played by hand, for tests of the API."""

from __future__ import annotations

import io
import json
from typing import Any

import openai

from openrft.store import Store
from openrft.store.artifacts import step_artifact
from openrft.store.rollout_index import index_of_file
from openrft.store.rows import JobRow, Lease

GRADER = {
    "type": "string_check",
    "name": "exact",
    "input": "{{sample.output_text}}",
    "reference": "{{item.answer}}",
    "operation": "eq",
}


def upload(client: openai.OpenAI, purpose: str = "fine-tune") -> str:
    """The id of a file of three rows."""
    rows = [{"messages": [{"role": "user", "content": f"{n} + 1?"}], "answer": str(n + 1)} for n in range(3)]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    return client.files.create(file=("rows.jsonl", io.BytesIO(text.encode())), purpose=purpose).id


def method(**more: Any) -> dict[str, Any]:
    """A reinforcement method; ``more`` goes into its inner object."""
    return {"type": "reinforcement", "reinforcement": {"grader": GRADER, **more}}


def supervised(**hyperparameters: Any) -> dict[str, Any]:
    """A supervised method."""
    return {"type": "supervised", "supervised": {"hyperparameters": hyperparameters}}


def body(client: openai.OpenAI, **changes: Any) -> dict[str, Any]:
    """The arguments of ``fine_tuning.jobs.create``; what is changed to None stays as a null."""
    asked = {
        "model": "openrft-tiny",
        "training_file": upload(client),
        "validation_file": upload(client),
        "method": method(),
    }
    return {**asked, **changes}


def run_by_hand(store: Store, project_id: str, job_id: str) -> Lease:
    """Let the job's files be valid and take it, as a worker would."""
    store.jobs.accept(project_id, job_id)
    claim = store.queue.claim("worker")
    assert claim is not None and claim.job.id == job_id
    return claim.lease


def rollout_row(step: int, number: int, **changes: Any) -> dict[str, Any]:
    """A row of a step's rollouts, as a worker keeps it."""
    reward = changes.pop("reward", number / 10)
    return {
        "step": step, "example": f"example-{number % 2}", "line": number % 2 + 1, "sample": number // 2,
        "prompt": [{"role": "user", "content": f"question {number}"}], "output": f"output {step}.{number}",
        "answer": f"output {step}.{number}", "grader": "exact", "score": reward, "error": None, "replaced": None,
        "explanation": "because", "printed": "", "grading_seconds": 0.25, "grading_usage": {}, "unparsed": False,
        "sub_grades": {}, "reward": reward, "advantage": None, "left_out": None, "finish_reason": "stop",
        "reasoning_tokens": 0, "policy_version": step - 1, "prompt_token_ids": [1, 2, 3],
        "token_ids": [7] * (number + 1), "sampling_logprobs": [-0.5] * (number + 1),
        **changes,
    }  # fmt: skip


def record_step(
    store: Store,
    lease: Lease,
    step: int,
    rows: list[dict[str, Any]],
    *,
    is_indexed: bool = True,
    **metrics: float | None,
) -> None:
    """Record a step with its rollouts, and as older versions did without their index."""
    key = step_artifact(lease.job_id, step, lease.epoch)
    lines = [(json.dumps(row) + "\n").encode() for row in rows]
    store.artifacts.write(key, lines)
    index = index_of_file(lines) if is_indexed else None
    measured = {"reward/mean": 0.5, **metrics}
    store.steps.record(lease, step, measured, total_steps=10, rollouts=key, index=index)


def read_job(store: Store, project_id: str, job_id: str) -> JobRow:
    """The job's row."""
    return store.jobs.get(project_id, job_id)
