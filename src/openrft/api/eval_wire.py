"""Evals, runs and output items as OpenAI's objects, key for key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from openrft.config.web import masked
from openrft.store.evals_rows import EvalRow, EvalRunRow, OutputItemRow

IMAGE_TAG = "2025-05-08"
"""OpenAI's name for the packages that Python graders see; its server fills it in."""

_TOOL_CALL = {
    "type": "object",
    "properties": {
        "type": {"type": "string", "enum": ["function"]},
        "function": {
            "type": "object",
            "properties": {"name": {"type": "string"}, "arguments": {"type": "string"}},
            "required": ["name", "arguments"],
        },
        "id": {"type": "string"},
    },
    "required": ["type", "function", "id"],
}

_MESSAGE = {
    "type": "object",
    "properties": {
        "role": {"type": "string", "enum": ["assistant"]},
        "content": {"type": ["string", "array", "null"]},
        "refusal": {"type": ["string", "null"]},
        "tool_calls": {"type": ["array", "null"], "items": _TOOL_CALL},
        "function_call": {
            "type": ["object", "null"],
            "properties": {"name": {"type": "string"}, "arguments": {"type": "string"}},
            "required": ["name", "arguments"],
        },
    },
    "required": ["role"],
}

SAMPLE_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "model": {"type": "string"},
        "choices": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "index": {"type": "integer"},
                    "message": _MESSAGE,
                    "finish_reason": {"type": "string"},
                },
                "required": ["index", "message", "finish_reason"],
            },
        },
        "output_text": {"type": "string"},
        "output_json": {"type": ["object", "array", "null"]},
        "output_tools": {"type": "array", "items": _TOOL_CALL},
        "output_reasoning_summary": {"type": ["string", "null"]},
        "output_audio": {"type": ["object", "null"]},
        "input_tools": {"type": "array", "items": {"type": "object"}},
    },
    "required": ["model", "choices"],
}
"""What graders may read of ``sample``, as the answer's ``schema`` tells it."""


def eval_object(row: EvalRow) -> dict[str, Any]:
    """OpenAI's eval object; headers of endpoint graders are masked."""
    return {
        "object": "eval",
        "id": row.id,
        "name": row.name,
        "created_at": row.created_at,
        "metadata": row.metadata or {},
        "data_source_config": _config(row.data_source_config),
        "testing_criteria": [_criterion(one) for one in row.testing_criteria],
    }


def run_object(row: EvalRunRow, address: str) -> dict[str, Any]:
    """OpenAI's run object; ``address`` is where people find the server."""
    tally = row.tally
    return {
        "object": "eval.run",
        "id": row.id,
        "eval_id": row.eval_id,
        "report_url": f"{address.rstrip('/')}/evals/{row.eval_id}/runs/{row.id}",
        "status": row.status,
        "model": row.model,
        "name": row.name,
        "created_at": row.created_at,
        "result_counts": {
            "total": tally.total,
            "errored": tally.errored,
            "failed": tally.failed,
            "passed": tally.passed,
        },
        "per_model_usage": [
            {
                "model_name": model,
                "invocation_count": spent.invocations,
                "prompt_tokens": spent.prompt_tokens,
                "completion_tokens": spent.completion_tokens,
                "total_tokens": spent.prompt_tokens + spent.completion_tokens,
                "cached_tokens": spent.cached_tokens,
            }
            for model, spent in tally.usage.items()
        ],
        "per_testing_criteria_results": [
            {"testing_criteria": criterion, "passed": passed, "failed": failed}
            for criterion, (passed, failed) in tally.criteria.items()
        ],
        "data_source": row.data_source,
        "metadata": row.metadata or {},
        "error": None if row.error is None else {"code": row.error.code, "message": row.error.message},
    }


def item_object(row: OutputItemRow) -> dict[str, Any]:
    """OpenAI's output item."""
    return {
        "object": "eval.run.output_item",
        "id": row.id,
        "run_id": row.run_id,
        "eval_id": row.eval_id,
        "created_at": row.created_at,
        "status": row.status,
        "datasource_item_id": row.row,
        "datasource_item": row.datasource_item,
        "results": row.results,
        "sample": row.sample,
    }


def _config(config: Mapping[str, Any]) -> dict[str, Any]:
    if config["type"] != "custom":
        schema = {"type": "object", "properties": {"sample": SAMPLE_SCHEMA}, "required": ["sample"]}
        return {"type": config["type"], "metadata": config.get("metadata") or {}, "schema": schema}
    properties = {"item": config["item_schema"]}
    if config.get("include_sample_schema"):
        properties["sample"] = SAMPLE_SCHEMA
    return {
        "type": "custom",
        "schema": {"type": "object", "properties": properties, "required": list(properties)},
        "max_items": None,
    }


def _criterion(criterion: Mapping[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = masked(dict(criterion))
    if shown["type"] == "python":
        shown.setdefault("image_tag", IMAGE_TAG)
    if shown["type"] == "endpoint":
        shown["max_rps"] = shown.get("rate_limit")
    return shown | {"grdr_id": None, "inactive_at": None}
