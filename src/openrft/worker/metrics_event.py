"""A step's ``metrics`` event: our metrics, the step's rollouts and its validation pass, in OpenAI's words.

Names and nesting of the data are those of OpenAI's guide. Every key is always there; what was not measured in a step
is null (all validation keys, on steps without validation). Counts are floats, as there. A ``train_mean_reward`` is the
mean over the graded rollouts: one that could not be graded is counted (``train_ungraded_count``) and never taken for a
zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from openrft.store.rows import NewEvent

Plain = Mapping[str, Any]

# OpenAI's event has one duration for all that comes before the update.
_UNTIL_GRADED = ("time/sampling_seconds", "time/grading_seconds", "time/waiting_seconds")
_MODEL_GRADERS = ("score_model", "label_model")
_ERRORS = ("other_error", "sample_parse_error", "invalid_variable_error")
_ERRORS_OF_TYPE = {
    "python": ("python_grader_server_error", "python_grader_runtime_error"),
    "score_model": ("model_grader_server_error",),
    "label_model": ("model_grader_server_error",),
}


@dataclass(frozen=True, slots=True)
class _Leaf:
    """A grader that looks at samples: the job's own, or one part of a multi grader."""

    key: str | None  # None: the job's own
    name: str
    type: str
    model: str | None

    @property
    def label(self) -> dict[str, Any]:
        return {"name": self.name, "type": self.type}

    def of(self, grades: Iterable[Plain]) -> list[Plain]:
        """This grader's part of each whole grade; one that never came to be asked has none."""
        if self.key is None:
            return list(grades)
        return [grade["sub_grades"][self.key] for grade in grades if self.key in grade["sub_grades"]]


@dataclass(frozen=True, slots=True)
class _Side:
    """What training (``train``) or validation (``valid``) sampled: grades by example, and lengths by sample."""

    examples: list[list[Plain]]  # [example][sample], grades as ``Grade.as_plain`` gives them
    reasoning_tokens: list[int] | None

    @property
    def grades(self) -> list[Plain]:
        return [grade for samples in self.examples for grade in samples]


def metrics_event(
    step: int,
    total_steps: int,
    metrics: Plain,
    rollouts: Sequence[Plain],
    evaluation: Plain | None,
    grader: Plain,
) -> NewEvent:
    """The event of step ``step`` (1-based; 0 is the untouched base, which has a validation only).

    ``metrics`` are those of docs/training.md, ``rollouts`` the step's rows as kept in ``rollouts/``, ``evaluation`` its
    sampled pass over the validation rows as kept in ``evaluations/``, ``grader`` the job's grader definition.
    """
    leaves = _leaves(grader)
    train = _train_side(rollouts)
    valid = None if evaluation is None else _valid_side(evaluation)
    sides = {"train": train, "valid": valid}
    reward = _number(metrics, "reward/mean", lambda: _mean([row["reward"] for row in rollouts if not _lacks(row)]))
    valid_reward = None if valid is None else _number(metrics, "valid/reward_mean", lambda: _mean_of_examples(valid))
    usage = _sample_usage(sides)
    data = {
        "step": step,
        "total_steps": total_steps,
        "usage": {"graders": [_usage(leaf, sides) for leaf in leaves], "samples": usage},
        "errors": {"graders": [*(_errors(leaf, sides) for leaf in leaves), *_formula_errors(grader, sides)]},
        "scores": {
            "graders": [_scores(leaf, sides) for leaf in leaves],
            "train_reward_mean": reward,
            "valid_reward_mean": valid_reward,
        },
        "timing": _timing(metrics, leaves, train, measured=valid is not None),
        "train_mean_reward": reward,
        "full_valid_mean_reward": valid_reward,
        "full_valid_mean_parse_error": None
        if valid is None
        else _parse_error(valid, (evaluation or {}).get("parse_error_share")),
        "reasoning_tokens_mean": usage["train_reasoning_tokens_mean"],
        "valid_reasoning_tokens_mean": usage["valid_reasoning_tokens_mean"],
        "completion_tokens_mean": _number(
            metrics, "rollout/completion_tokens_mean", lambda: _mean([len(row["token_ids"]) for row in rollouts])
        ),
        "mean_unresponsive_rewards": _share(rollouts, _is_unresponsive) if rollouts else None,
        "model_graders_token_usage": _usage_by_model(rollouts, evaluation),
        **_ungraded(sides),
        **_losses(metrics),
    }
    return NewEvent(message=_sentence(data), type="metrics", data=_finite(data))


def _leaves(grader: Plain) -> list[_Leaf]:
    if grader.get("type") != "multi":
        kind = str(grader.get("type"))
        return [_Leaf(None, grader.get("name") or kind, kind, grader.get("model"))]
    parts: Mapping[str, Plain] = grader["graders"]
    labels = [(part.get("name") or key, part["type"]) for key, part in parts.items()]
    return [
        # Two parts of one name would become one column of the result file.
        _Leaf(key, key if labels.count(label) > 1 else label[0], part["type"], part.get("model"))
        for (key, part), label in zip(parts.items(), labels, strict=True)
    ]


def _train_side(rollouts: Sequence[Plain]) -> _Side | None:
    if not rollouts:
        return None
    grades = [{**row, "seconds": row["grading_seconds"], "usage": row["grading_usage"]} for row in rollouts]
    reasoning = [row["reasoning_tokens"] for row in rollouts if "reasoning_tokens" in row]
    return _Side([[grade] for grade in grades], reasoning if len(reasoning) == len(rollouts) else None)


def _valid_side(evaluation: Plain) -> _Side:
    rows = evaluation["rows"]
    reasoning = [count for row in rows for count in row.get("reasoning_tokens", ())]
    samples = sum(len(row["scores"]) for row in rows)
    return _Side([_grades_of(row) for row in rows], reasoning if len(reasoning) == samples else None)


def _grades_of(row: Plain) -> list[Plain]:
    """The whole grades of an evaluation's row, or, from an older file, what is known of them."""
    if row.get("grades"):
        return list(row["grades"])
    grades: list[Plain] = []
    for score, error in zip(row["scores"], row["errors"], strict=True):
        told = None if error is None else {"kind": error.partition(":")[0], "message": error}
        nothing: Plain = {"replaced": None, "unparsed": False, "usage": {}, "sub_grades": {}}
        grades.append({"score": score, "error": told, **nothing})
    return grades


def _scores(leaf: _Leaf, sides: Mapping[str, _Side | None]) -> dict[str, Any]:
    train, valid = sides["train"], sides["valid"]
    return {
        **leaf.label,
        "train_reward_mean": None if train is None else _mean(_graded(leaf.of(train.grades))),
        "valid_reward_mean": None if valid is None else _mean_of_examples(valid, leaf),
    }


def _usage(leaf: _Leaf, sides: Mapping[str, _Side | None]) -> dict[str, Any]:
    found: dict[str, Any] = {**leaf.label, "model": leaf.model}
    for name, side in sides.items():
        grades = [] if side is None else leaf.of(side.grades)
        for kind in ("prompt_tokens", "completion_tokens"):
            spent = [sum(one[kind] for one in grade["usage"].values()) for grade in grades]
            found |= _mean_and_count(f"{name}_{kind}", spent or None)
    return found


def _sample_usage(sides: Mapping[str, _Side | None]) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for name, side in sides.items():
        found |= _mean_and_count(f"{name}_reasoning_tokens", None if side is None else side.reasoning_tokens)
    return found


def _errors(leaf: _Leaf, sides: Mapping[str, _Side | None]) -> dict[str, Any]:
    kinds = (*_ERRORS, *_ERRORS_OF_TYPE.get(leaf.type, ()))
    found: dict[str, Any] = leaf.label
    for name, side in sides.items():
        told = [] if side is None else [_error_kind(grade, kinds) for grade in leaf.of(side.grades)]
        for kind in kinds:
            found |= _mean_and_count(f"{name}_{kind}", [one == kind for one in told] or None)
    return found


def _formula_errors(grader: Plain, sides: Mapping[str, _Side | None]) -> list[dict[str, Any]]:
    """An entry for a multi grader itself, in steps where its formula failed although no part did."""
    if grader.get("type") != "multi":
        return []
    entry: dict[str, Any] = {"name": grader.get("name") or "multi", "type": "multi"}
    is_there = False
    for name, side in sides.items():
        told = None if side is None else [_is_formula_failure(grade) for grade in side.grades]
        is_there |= any(told or ())
        entry |= _mean_and_count(f"{name}_other_error", told)
    return [entry] if is_there else []


def _is_formula_failure(grade: Plain) -> bool:
    return _failure(grade) is not None and not any(_failure(part) for part in grade["sub_grades"].values())


def _error_kind(grade: Plain, kinds: Sequence[str]) -> str | None:
    if grade["unparsed"]:
        return "sample_parse_error"
    failure = _failure(grade)
    if failure is None:
        return None
    return failure["kind"] if failure["kind"] in kinds else "other_error"


def _failure(grade: Plain) -> Plain | None:
    failure: Plain | None = grade["error"] or grade["replaced"]
    return failure


def _parse_error(side: _Side, structured: float | None) -> float:
    """Share of the samples that did not parse: for a grader, or (``structured``) as the job's response format."""
    return max(_share(side.grades, _has_parse_error), structured or 0.0)


def _has_parse_error(grade: Plain) -> bool:
    if any(_has_parse_error(part) for part in grade["sub_grades"].values()):
        return True
    return _error_kind(grade, _ERRORS) == "sample_parse_error"


def _is_unresponsive(row: Plain) -> bool:
    """Whether a rollout has no output that could be graded: it is empty, or was cut off while still thinking."""
    return not row["answer"].strip()


def _timing(metrics: Plain, leaves: Sequence[_Leaf], train: _Side | None, *, measured: bool) -> dict[str, Any]:
    step, evaluation = metrics.get("time/step_seconds"), metrics.get("time/evaluation_seconds") if measured else None
    latencies = []
    for leaf in leaves:
        seconds = [] if train is None else [grade["seconds"] for grade in leaf.of(train.grades)]
        of_valid = "time/valid_grade_seconds_mean" + ("" if leaf.key is None else f"/{leaf.key}")
        latencies.append(
            {
                **leaf.label,
                "train_execution_latency_mean": _mean(seconds),
                "valid_execution_latency_mean": metrics.get(of_valid) if measured else None,
            }
        )
    known = [seconds for seconds in (step, evaluation) if seconds is not None]
    until_graded = [metrics[name] for name in _UNTIL_GRADED if name in metrics]
    return {
        "step": {
            "sampling": sum(until_graded) if until_graded else None,
            "training": metrics.get("time/update_seconds"),
            "eval": evaluation,
            "full_iteration": sum(known) if known else None,
        },
        "graders": latencies,
    }


def _usage_by_model(rollouts: Sequence[Plain], evaluation: Plain | None) -> dict[str, dict[str, int]]:
    used: dict[str, dict[str, int]] = {}
    spent_in = [("train", row["grading_usage"]) for row in rollouts]
    spent_in += [("eval", (evaluation or {}).get("usage", {}))]
    kinds = ("prompt_tokens", "completion_tokens", "cached_tokens")
    for side, by_model in spent_in:
        for model, spent in by_model.items():
            nothing = {f"{one}_{kind}": 0 for one in ("train", "eval") for kind in kinds}
            total = used.setdefault(model, nothing)
            for kind in kinds:
                total[f"{side}_{kind}"] += int(spent[kind])
    return used


def _ungraded(sides: Mapping[str, _Side | None]) -> dict[str, float | None]:
    """Ours: how many samples have no score at all, and which share of them all they are."""
    found: dict[str, float | None] = {}
    for name, side in sides.items():
        told = None if side is None else [grade["score"] is None for grade in side.grades]
        found |= _mean_and_count(f"{name}_ungraded", told)
    return found


def _losses(metrics: Plain) -> dict[str, float | None]:
    """What the result file's loss columns show: the objective, and the entropy of what was sampled in nats a token."""
    loss = metrics.get("policy/loss")
    return {"pg_loss_sum": loss, "total_loss_sum": loss, "entropy_loss_sum": metrics.get("policy/entropy")}


def _sentence(data: Plain) -> str:
    # The blank before the first comma is OpenAI's; scripts look for the rest of the sentence.
    parts = [f"Step {data['step']}/{data['total_steps']} "]
    if data["train_mean_reward"] is not None or data["step"] > 0:
        parts.append(f"train mean reward={_two_places(data['train_mean_reward'])}")
    if data["full_valid_mean_parse_error"] is not None:
        parts.append(f"full validation mean reward={_two_places(data['full_valid_mean_reward'])}")
        parts.append(f"full validation mean parse error={_two_places(data['full_valid_mean_parse_error'])}")
    return ", ".join(parts)


def _two_places(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.2f}"


def _mean_of_examples(side: _Side, leaf: _Leaf | None = None) -> float | None:
    """Mean over examples of their graded samples' mean, so that a half-graded one weighs as much as any other."""
    means = [_mean(_graded(samples if leaf is None else leaf.of(samples))) for samples in side.examples]
    return _mean([mean for mean in means if mean is not None])


def _mean_and_count(name: str, values: Sequence[float] | None) -> dict[str, float | None]:
    """``name_mean`` and ``name_count`` (the sum); null when it was not measured."""
    if values is None:
        return {f"{name}_mean": None, f"{name}_count": None}
    return {f"{name}_mean": _mean(values) or 0.0, f"{name}_count": float(sum(values))}


def _graded(grades: Iterable[Plain]) -> list[float]:
    return [grade["score"] for grade in grades if grade["score"] is not None]


def _lacks(row: Plain) -> bool:
    return row["reward"] is None


def _share(things: Sequence[Any], is_one: Callable[[Any], bool]) -> float:
    return sum(map(is_one, things)) / len(things) if things else 0.0


def _number(metrics: Plain, name: str, otherwise: Callable[[], float | None]) -> float | None:
    value: float | None = metrics.get(name)
    return otherwise() if value is None else value


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def _finite(value: Any) -> Any:
    """JSON knows no NaN and no infinity: they become null."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
