"""The metrics event of OpenAI's guide on reinforcement fine-tuning, for a job of one model grader, key for key.

Names, nesting and kinds of numbers (counts are floats, but for the last map) are those of the guide's "Full example
training metrics". Its figures are a real job's; here rows are made by which each of them can be worked out by hand.
"""

from __future__ import annotations

from typing import Any

import pytest

from openrft.worker.metrics_event import metrics_event
from openrft.worker.result_file import result_csv

GRADER = {"type": "score_model", "name": "basic_model_grader", "model": "gpt-4o-2024-08-06", "input": []}
LABEL = {"name": "basic_model_grader", "type": "score_model"}
ERRORS = ("other_error", "sample_parse_error", "invalid_variable_error", "model_grader_server_error")

GUIDE: dict[str, Any] = {
    "step": 10,
    "usage": {
        "graders": [
            {
                **LABEL,
                "model": "gpt-4o-2024-08-06",
                "train_prompt_tokens_mean": 241.0,
                "valid_prompt_tokens_mean": 241.0,
                "train_prompt_tokens_count": 120741.0,
                "valid_prompt_tokens_count": 4820.0,
                "train_completion_tokens_mean": 138.0,
                "valid_completion_tokens_mean": 56.0,
                "train_completion_tokens_count": 69138.0,
                "valid_completion_tokens_count": 1120.0,
            }
        ],
        "samples": {
            "train_reasoning_tokens_mean": 3330.0,
            "valid_reasoning_tokens_mean": 1948.0,
            "train_reasoning_tokens_count": 1668330.0,
            "valid_reasoning_tokens_count": 38960.0,
        },
    },
    "errors": {
        "graders": [
            {
                **LABEL,
                **{f"{s}_{e}_{kind}": 0.0 for s in ("train", "valid") for e in ERRORS for kind in ("mean", "count")},
            }
        ]
    },
    "scores": {
        "graders": [{**LABEL, "train_reward_mean": 0.4471057884231537, "valid_reward_mean": 0.675}],
        "train_reward_mean": 0.4471057884231537,
        "valid_reward_mean": 0.675,
    },
    "timing": {
        "step": {
            "eval": 101.69386267662048,
            "sampling": 226.82190561294556,
            "training": 402.43121099472046,
            "full_iteration": 731.5038568973541,
        },
        "graders": [{**LABEL, "train_execution_latency_mean": 2.5, "valid_execution_latency_mean": 4.141402995586395}],
    },
    "total_steps": 20,
    "train_mean_reward": 0.4471057884231537,
    "reasoning_tokens_mean": 3330.0,
    "completion_tokens_mean": 3376.0,
    "full_valid_mean_reward": 0.675,
    "mean_unresponsive_rewards": 0.0,
    "model_graders_token_usage": {
        "gpt-4o-2024-08-06": {
            "eval_cached_tokens": 0,
            "eval_prompt_tokens": 4820,
            "train_cached_tokens": 0,
            "train_prompt_tokens": 120741,
            "eval_completion_tokens": 1120,
            "train_completion_tokens": 69138,
        }
    },
    "full_valid_mean_parse_error": 0.0,
    "valid_reasoning_tokens_mean": 1948.0,
}

OURS = {"train_ungraded_mean", "train_ungraded_count", "valid_ungraded_mean", "valid_ungraded_count",
        "pg_loss_sum", "total_loss_sum", "entropy_loss_sum"}  # fmt: skip

CSV_COLUMNS = (
    "step,train_mean_reward,full_valid_mean_reward,completion_tokens_mean,reasoning_tokens_mean,"
    "mean_unresponsive_rewards,sampling_duration,training_duration,eval_duration,total_duration,pg_loss_sum,"
    "total_loss_sum,entropy_loss_sum,scores/graders/score_model/basic_model_grader/train_reward_mean,"
    "scores/graders/score_model/basic_model_grader/valid_reward_mean"
)


def usage(completion_tokens: int) -> dict[str, Any]:
    return {"gpt-4o-2024-08-06": {"prompt_tokens": 241, "completion_tokens": completion_tokens, "cached_tokens": 0}}


def grade(score: float, tokens: int) -> dict[str, Any]:
    nothing = {"error": None, "replaced": None, "unparsed": False, "sub_grades": {}}
    return {"grader": "g", "score": score, "explanation": "", "printed": "", "usage": usage(tokens), **nothing}


def guides_event() -> Any:
    rows = [
        {**grade(float(number < 224), 138), "reward": float(number < 224), "grading_seconds": 2.5,
         "grading_usage": usage(138), "answer": "yes", "token_ids": [1] * 3376, "reasoning_tokens": 3330}
        for number in range(501)
    ]  # fmt: skip
    scores = [1.0] * 13 + [0.5] + [0.0] * 6
    valid = {
        "rows": [
            {"scores": [it], "errors": [None], "reasoning_tokens": [1948], "grades": [grade(it, 56)]} for it in scores
        ],
        "usage": {"gpt-4o-2024-08-06": {"prompt_tokens": 4820, "completion_tokens": 1120, "cached_tokens": 0}},
    }
    timing = GUIDE["timing"]["step"]
    metrics = {
        "time/sampling_seconds": 200.0,
        "time/grading_seconds": 20.0,
        "time/waiting_seconds": timing["sampling"] - 220.0,
        "time/update_seconds": timing["training"],
        "time/evaluation_seconds": timing["eval"],
        "time/step_seconds": timing["full_iteration"] - timing["eval"],
        "time/valid_grade_seconds_mean": 4.141402995586395,
    }
    return metrics_event(10, 20, metrics, rows, valid, GRADER)


def flat(value: Any, place: str = "") -> dict[str, Any]:
    if isinstance(value, dict):
        return {path: it for key, inner in value.items() for path, it in flat(inner, f"{place}.{key}").items()}
    if isinstance(value, list):
        return {path: it for n, inner in enumerate(value) for path, it in flat(inner, f"{place}[{n}]").items()}
    return {place: value}


def test_the_event_is_the_guides_with_nothing_but_our_own_keys_beside_it() -> None:
    event = guides_event()
    assert event.type == "metrics"
    assert event.message == (
        "Step 10/20 , train mean reward=0.45, full validation mean reward=0.68, full validation mean parse error=0.00"
    )
    assert event.data.keys() - OURS == GUIDE.keys()
    assert event.data.keys() >= OURS
    found = flat({name: value for name, value in event.data.items() if name not in OURS})
    wanted = flat(GUIDE)
    assert found.keys() == wanted.keys()
    assert {name: type(value) for name, value in found.items()} == {name: type(it) for name, it in wanted.items()}
    numbers = {name: value for name, value in wanted.items() if not isinstance(value, str)}
    assert {name: found[name] for name in numbers} == pytest.approx(numbers)
    assert {name: found[name] for name in wanted.keys() - numbers.keys()} == {
        name: wanted[name] for name in wanted.keys() - numbers.keys()
    }


def test_the_result_file_has_the_columns_that_public_code_reads() -> None:
    header, row = result_csv([guides_event().data]).splitlines()
    assert header.startswith(
        CSV_COLUMNS + ",errors/graders/score_model/basic_model_grader/errors/train_other_error_mean,"
    )
    columns = dict(zip(header.split(","), row.split(","), strict=True))
    assert columns["errors/graders/score_model/basic_model_grader/errors/valid_sample_parse_error_count"] == "0.0"
    assert float(columns["total_duration"]) == pytest.approx(731.5038568973541)
    assert columns["step"] == "10"
