"""Every "auto" becomes a value with a reason."""

from __future__ import annotations

import pytest

from openrft.config.graders import parse_grader
from openrft.config.reinforcement import ReinforcementHyperparameters
from openrft.errors import InvalidRequest
from openrft.training.memory import Room
from openrft.training.resolve import ReinforcementFacts, ReinforcementSettings, resolve

GRADER = {"type": "string_check", "input": "{{sample.output_text}}", "reference": "{{item.answer}}", "operation": "eq"}


def resolved(
    facts: dict[str, int] | None = None, grader: dict[str, object] | None = None, **asked: object
) -> tuple[ReinforcementSettings, dict[str, str]]:
    known = {
        "num_parameters": 1_000_000,
        "context_tokens": 1024,
        "num_train": 64,
        "num_valid": 48,
        "longest_prompt": 50,
    }
    room = Room(free_bytes=64 << 30, device_type="cpu", num_parameters=1, footprint=None, padded_row_bytes=1 << 10)
    return resolve(
        ReinforcementHyperparameters.model_validate(asked),
        parse_grader(grader or GRADER),
        ReinforcementFacts(**{**known, **(facts or {})}, room=room),
    )


def test_everything_has_a_value_and_what_was_auto_a_reason() -> None:
    settings, reasons = resolved()
    assert "auto" not in settings.model_dump().values()
    auto = {name for name, field in ReinforcementHyperparameters.model_fields.items() if field.default == "auto"}
    explained = auto - {"n_epochs", "learning_rate_multiplier", "compute_multiplier"}  # these act through others
    assert explained <= reasons.keys()


def test_steps_follow_from_epochs_or_from_the_size_of_the_data() -> None:
    assert resolved(n_epochs=3)[0].num_steps == 24  # 3 * 64 / 8
    assert resolved()[0].num_steps == 96  # 12 passes
    assert resolved({"num_train": 16})[0].num_steps == 40  # at least 40
    assert resolved({"num_train": 5000})[0].num_steps == 400  # at most 400
    settings = resolved(num_steps=10)[0]
    assert (settings.num_steps, settings.n_epochs) == (10, 1.25)


def test_multipliers_scale_what_auto_would_have_chosen() -> None:
    assert resolved(compute_multiplier=2)[0].group_size == 16
    assert resolved(learning_rate_multiplier=0.5)[0].learning_rate == pytest.approx(1.5e-4)


def test_the_learning_rate_falls_with_the_size_of_the_model_and_is_higher_for_an_adapter() -> None:
    rates = [resolved({"num_parameters": n}, weights="full")[0].learning_rate for n in (10**6, 10**8, 10**9, 10**10)]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] == 3e-4
    assert rates[2] == pytest.approx(2e-6)
    assert resolved({"num_parameters": 4 * 10**9})[0].weights == "lora"
    assert resolved({"num_parameters": 4 * 10**9})[0].learning_rate == pytest.approx(4e-5)


def test_the_answer_gets_what_the_context_leaves() -> None:
    assert resolved({"context_tokens": 200})[0].max_completion_tokens == 150
    with pytest.raises(InvalidRequest, match="use at most 150") as caught:
        resolved({"context_tokens": 200}, max_completion_tokens=151)
    assert caught.value.param == "method.reinforcement.hyperparameters.max_completion_tokens"


def test_an_algorithm_that_weighs_what_an_earlier_policy_sampled_makes_an_update_of_every_group() -> None:
    assert resolved(algorithm="rft")[0].groups_per_update == 1
    assert resolved(algorithm="grpo")[0].groups_per_update == 1
    settings, reasons = resolved(algorithm="rloo")
    assert settings.groups_per_update == settings.batch_size == 8
    assert "present policy" in reasons["groups_per_update"]


def test_bounds_are_the_algorithms_own_unless_they_are_given() -> None:
    settings = resolved(algorithm="dapo")[0]
    assert (settings.clip_low, settings.clip_high) == (0.2, 0.28)
    assert resolved(algorithm="dapo", clip_high=0.5)[0].clip_high == 0.5
    settings, reasons = resolved(algorithm="rloo")
    assert (settings.clip_low, settings.clip_high) == (None, None)
    assert reasons["clip_low"] == "rloo has no such bound"


def test_only_where_a_model_grades_is_there_a_penalty_on_leaving_the_base() -> None:
    assert resolved()[0].kl_beta == 0.0
    judge = {"type": "score_model", "name": "j", "model": "m", "input": [{"role": "user", "content": "ok?"}]}
    settings, reasons = resolved(grader=judge)
    assert settings.kl_beta == 0.01
    assert "a model grades" in reasons["kl_beta"]
    assert resolved(grader=judge, kl_beta=0)[0].kl_beta == 0.0


def test_the_group_is_as_large_as_the_answers_of_the_base_ask_for() -> None:
    settings, reasons = resolved({"fitting_group": 16, "fitting_reason": "few differ"})  # type: ignore[dict-item]
    assert (settings.group_size, reasons["group_size"]) == (16, "few differ")
    assert resolved({"fitting_group": 16}, compute_multiplier=0.5)[0].group_size == 8


def test_a_batch_larger_than_the_file_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="only 64 training examples"):
        resolved(batch_size=65)


def test_the_graders_own_threshold_says_what_passes() -> None:
    assert resolved()[0].pass_threshold == 1.0
    assert resolved(grader={**GRADER, "pass_threshold": 0.5})[0].pass_threshold == 0.5
    assert resolved(pass_threshold=0.7)[0].pass_threshold == 0.7


@pytest.mark.parametrize(
    "both",
    [
        {"num_steps": 3, "n_epochs": 1},
        {"learning_rate": 1e-4, "learning_rate_multiplier": 2},
        {"group_size": 4, "compute_multiplier": 2},
    ],
)
def test_options_that_contradict_each_other_are_refused(both: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="give one"):
        ReinforcementHyperparameters.model_validate(both)
