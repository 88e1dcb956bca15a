"""A job's validation passes as runs of its own eval: what people and OpenAI's notebooks read beside the job.

One eval per job, made at the first pass; one run per pass, called ``Step N``, where ``Step 0`` is the untrained model;
one item per row and sample, unaveraged, with the same ``datasource_item_id`` for all samples of a row.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from openrft.config.graders import GraderSpec, parse_grader
from openrft.graders.base import name_of
from openrft.store import Store
from openrft.store.evals_rows import EvalRunRow, ModelUsage, NewEval, NewOutputItem
from openrft.store.plain import clean_text
from openrft.store.rows import JobRow, Lease
from openrft.worker.eval_grading import result_of, status_of
from openrft.worker.source_rows import normalized_row

_OF_JOBS = uuid.UUID(
    "0d0ae8ad-8b5c-4b0b-9d3c-5f2f6b1f9f57"
)  # criteria of jobs are named from it, the same at each pass


def record_step_eval(
    store: Store,
    lease: Lease,
    job: JobRow,
    step: int,
    evaluation: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
) -> EvalRunRow | None:
    """Record one validation pass (the JSON of an Evaluation) over ``rows``, the validation file's rows in order.

    One transaction. Recorded again by a resumed attempt, the pass takes the place of the first, ids included. None, and
    nothing is done, when somebody has deleted the job's eval or this run. Raises :class:`~openrft.errors.Fenced`.
    """
    kind, grader = _kind_and_grader_of(job)
    spec = parse_grader(grader)
    name = name_of(spec)
    criterion_id = f"{name}-{uuid.uuid5(_OF_JOBS, job.id)}"
    criterion = {**grader, "name": name, "id": criterion_id}
    data_source: dict[str, Any] = {
        "type": "completions",
        "model": job.model,
        "source": {"type": "file_id", "id": job.validation_file},
    }
    if kind == "reinforcement":  # a supervised row's messages end with the answer, and only what is before was asked
        data_source["input_messages"] = {"type": "item_reference", "item_reference": "item.messages"}
    new = NewEval(
        name=f"{kind.capitalize()} Fine Tuning validation runs for {job.id}",
        data_source_config={"type": "custom", "item_schema": {"type": "object"}, "include_sample_schema": True},
        testing_criteria=[criterion],
    )
    return store.eval_items.record_pass_of_job(
        lease,
        new,
        key=f"step-{step}",
        name=f"Step {step}",
        model=job.model,
        data_source=data_source,
        items=list(_items(job, spec, criterion_id, evaluation, rows)),
    )


def _kind_and_grader_of(job: JobRow) -> tuple[str, dict[str, Any]]:
    """The job's method, and its grader as the user gave it; what was kept to be run where that is missing."""
    for place in ("request", "document"):
        method = job.spec.get(place, {}).get("method") or {}
        kind = method.get("type", "")
        grader = method.get(kind, {}).get("grader")
        if grader is not None:
            return kind, {key: value for key, value in grader.items() if value is not None}
    raise ValueError(f"job {job.id} has no grader")


def _items(
    job: JobRow,
    spec: GraderSpec,
    criterion_id: str,
    evaluation: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
) -> Iterator[NewOutputItem]:
    for row in evaluation["rows"]:
        number = int(row["index"])
        content = normalized_row(rows[number])
        for index in range(len(row["scores"])):
            grade = _grade(row, index)
            results = [result_of(criterion_id, spec, grade)]
            yield NewOutputItem(
                row=number,
                sample_index=index,
                status=status_of(results),
                datasource_item=content,
                results=results,
                sample=_sample(job, row, index),
                usage=_usage(job, row, index, grade),
            )


def _grade(row: Mapping[str, Any], index: int) -> Mapping[str, Any]:
    """The whole grade of a sample, or as much of it as older evaluations hold."""
    if row.get("grades"):
        whole: Mapping[str, Any] = row["grades"][index]
        return whole
    error = row["errors"][index]
    if error is None:
        return {"score": row["scores"][index]}
    kind, _, message = error.partition(": ")
    return {"score": None, "error": {"kind": kind, "message": message}}


def _sample(job: JobRow, row: Mapping[str, Any], index: int) -> dict[str, Any]:
    """As OpenAI's server shows a rollout: no input, because the prompt is in the row."""
    tokens = row["completion_tokens"][index]
    return {
        "input": [],
        "output": [
            {"role": "assistant", "content": clean_text(row["outputs"][index], longest=1 << 20), "tool_calls": None}
        ],
        "finish_reason": "length" if row["truncated"][index] else "stop",
        "model": job.model,
        # How long the prompt was is not part of an evaluation.
        "usage": {"total_tokens": None, "completion_tokens": tokens, "prompt_tokens": None, "cached_tokens": 0},
        "error": None,
        **dict.fromkeys(("temperature", "max_completion_tokens", "top_p", "seed")),
    }


def _usage(job: JobRow, row: Mapping[str, Any], index: int, grade: Mapping[str, Any]) -> dict[str, ModelUsage]:
    usage = {job.model: ModelUsage(invocations=1, completion_tokens=row["completion_tokens"][index])}
    for model, spent in (grade.get("usage") or {}).items():
        tokens = {name: int(spent.get(name, 0)) for name in ("prompt_tokens", "completion_tokens", "cached_tokens")}
        usage[model] = usage.get(model, ModelUsage()) + ModelUsage(invocations=1, **tokens)
    return usage
