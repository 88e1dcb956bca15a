"""What "auto" becomes in a supervised job."""

from __future__ import annotations

import pytest

from openrft.config.supervised import SupervisedHyperparameters
from openrft.errors import InvalidRequest
from openrft.training.memory import Room
from openrft.training.resolve_supervised import SupervisedFacts, SupervisedSettings, resolve_supervised


def facts(**changes: object) -> SupervisedFacts:
    values: dict[str, object] = {
        "num_parameters": 1_000_000, "context_tokens": 1024, "num_train": 400, "num_valid": 40, "longest_prompt": 100,
        "longest_answer": 50,
        "room": Room(
            free_bytes=8 << 30, device_type="cpu", num_parameters=1_000_000, footprint=None, padded_row_bytes=10_000
        ),
    }  # fmt: skip
    return SupervisedFacts(**{**values, **changes})  # type: ignore[arg-type]


def resolved(asked: dict[str, object] | None = None, **changes: object) -> tuple[SupervisedSettings, dict[str, str]]:
    return resolve_supervised(SupervisedHyperparameters.model_validate(asked or {}), None, facts(**changes))


def test_every_auto_is_a_value_with_a_reason() -> None:
    settings, reasons = resolved()
    assert (settings.batch_size, settings.num_steps, settings.n_epochs) == (8, 150, 3.0)
    assert settings.weights == "full"
    assert (settings.warmup_steps, settings.eval_interval, settings.checkpoint_interval) == (5, 15, 15)
    assert settings.early_stopping
    asked = SupervisedHyperparameters().model_dump()
    explained = {name for name, value in asked.items() if value == "auto"} - {"learning_rate_multiplier", "n_epochs"}
    assert explained <= reasons.keys()


@pytest.mark.parametrize(
    ("weights", "parameters", "low", "high"),
    [
        ("full", 1_000_000, 1.9e-3, 2e-3),
        ("lora", 1_000_000, 4.9e-3, 5e-3),
        ("full", 8_000_000_000, 0.99e-5, 1.01e-5),
        ("lora", 4_000_000_000, 1.99e-4, 2.01e-4),
        ("lora", 70_000_000_000, 1.99e-4, 2.01e-4),
    ],
)
def test_the_learning_rate_falls_with_the_size_of_the_model(
    weights: str, parameters: int, low: float, high: float
) -> None:
    settings, _ = resolved({"weights": weights}, num_parameters=parameters)
    assert low <= settings.learning_rate <= high
    doubled, _ = resolved({"weights": weights, "learning_rate_multiplier": 2}, num_parameters=parameters)
    assert doubled.learning_rate == pytest.approx(2 * settings.learning_rate)


@pytest.mark.parametrize(
    ("rows", "steps", "epochs"), [(20, 15, 6.0), (64, 48, 6.0), (100, 48, 3.84), (128, 48, 3.0), (1000, 375, 3.0)]
)
def test_small_files_are_read_up_to_six_times_and_large_ones_three_times(rows: int, steps: int, epochs: float) -> None:
    settings, _ = resolved(num_train=rows)
    assert (settings.num_steps, settings.n_epochs) == (steps, pytest.approx(epochs))


def test_what_is_given_stands() -> None:
    given = {"n_epochs": 2, "batch_size": 10, "learning_rate": 0.1, "warmup_steps": 0, "eval_interval": 7}
    settings, reasons = resolved(given)
    assert (settings.num_steps, settings.learning_rate, settings.warmup_steps, settings.eval_interval) == (
        80,
        0.1,
        0,
        7,
    )
    assert not settings.early_stopping  # the length is given
    assert "learning_rate" not in reasons


def test_a_small_file_is_one_batch_and_its_warm_up_leaves_a_step_at_the_peak() -> None:
    settings, _ = resolved(num_train=3)
    assert (settings.batch_size, settings.num_steps, settings.warmup_steps) == (3, 6, 1)
    alone, _ = resolved({"num_steps": 1})
    assert alone.warmup_steps == 0


@pytest.mark.parametrize(
    ("asked", "part"),
    [
        ({"batch_size": 200, "n_epochs": 1}, "only 100 training examples"),
        ({"warmup_steps": 30, "num_steps": 30}, "never reach its peak"),
    ],
)
def test_what_does_not_fit_is_refused_by_its_name(asked: dict[str, object], part: str) -> None:
    with pytest.raises(InvalidRequest, match=part) as caught:
        resolved(asked, num_train=100)
    assert str(caught.value.param).startswith("method.supervised.hyperparameters.")
