"""A supervised job's steps in OpenAI's words: events, checkpoints and the result file, from literal metrics."""

from __future__ import annotations

import csv
import io
from typing import Any

from openrft.store.rows import CheckpointRow
from openrft.worker.ending import _place_among_checkpoints
from openrft.worker.mirror import checkpoint_metrics
from openrft.worker.supervised_event import supervised_csv, supervised_event

TRAINED = {"train/loss": 0.004, "train/token_accuracy": 0.75, "train/tokens": 120.0, "time/step_seconds": 0.5}
VALIDATED = {"valid/loss": 0.0512, "valid/token_accuracy": 0.5}


def test_a_step_says_what_openais_events_say() -> None:
    event = supervised_event(299, 300, TRAINED)
    assert (event.type, event.message) == ("metrics", "Step 299/300: training loss=0.00")
    assert event.data == {"step": 299, "total_steps": 300, "train_loss": 0.004, "train_mean_token_accuracy": 0.75}


def test_a_step_with_a_validation_says_its_loss_under_both_names() -> None:
    event = supervised_event(300, 300, TRAINED | VALIDATED)
    assert event.message == "Step 300/300: training loss=0.00, validation loss=0.05, full validation loss=0.05"
    assert event.data == {
        "step": 300, "total_steps": 300, "train_loss": 0.004, "train_mean_token_accuracy": 0.75,
        "valid_loss": 0.0512, "valid_mean_token_accuracy": 0.5,
        "full_valid_loss": 0.0512, "full_valid_mean_token_accuracy": 0.5,
    }  # fmt: skip


def test_the_untouched_base_has_a_validation_only() -> None:
    event = supervised_event(0, 300, VALIDATED)
    assert event.message == "Step 0/300: validation loss=0.05, full validation loss=0.05"
    assert "train_loss" not in event.data
    assert supervised_event(0, 300, {}).message == "Step 0/300"  # without a validation file


def test_a_grader_adds_the_mean_reward_of_the_validation_answers() -> None:
    event = supervised_event(10, 20, {**TRAINED, **VALIDATED, "valid/reward_mean": 0.684})
    assert event.message.endswith("full validation loss=0.05, full validation mean reward=0.68")
    assert event.data["full_valid_mean_reward"] == 0.684


def test_what_is_not_a_number_is_not_told_as_one() -> None:
    data = supervised_event(3, 20, {"train/loss": float("nan"), "valid/loss": None}).data
    assert data == {"step": 3, "total_steps": 20}


def test_checkpoints_carry_their_steps_metrics_in_openais_words() -> None:
    assert checkpoint_metrics(300, TRAINED | VALIDATED) == {
        "step": 300.0, "train_loss": 0.004, "train_mean_token_accuracy": 0.75,
        "valid_loss": 0.0512, "valid_mean_token_accuracy": 0.5,
        "full_valid_loss": 0.0512, "full_valid_mean_token_accuracy": 0.5,
    }  # fmt: skip


def table(*events: dict[str, Any]) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(supervised_csv(events))))


def test_the_result_file_has_openais_columns_a_row_for_each_step_and_blanks() -> None:
    base, trained = supervised_event(0, 2, VALIDATED).data, supervised_event(1, 2, TRAINED).data
    rows = table(trained, base)
    assert list(rows[0]) == [
        "step", "train_loss", "train_accuracy", "train_mean_token_accuracy", "valid_loss", "valid_mean_token_accuracy",
        "full_valid_loss", "full_valid_mean_token_accuracy",
    ]  # fmt: skip
    assert [row["step"] for row in rows] == ["0", "1"]
    assert (rows[0]["train_loss"], rows[0]["valid_loss"], rows[0]["full_valid_loss"]) == ("", "0.0512", "0.0512")
    assert (rows[1]["train_accuracy"], rows[1]["train_mean_token_accuracy"]) == ("0.75", "0.75")
    assert rows[1]["valid_loss"] == ""
    assert supervised_csv([]).count("\n") == 1


def test_rewards_have_a_column_where_there_is_a_grader() -> None:
    [row] = table(supervised_event(1, 2, {**TRAINED, "valid/reward_mean": 0.5}).data)
    assert row["full_valid_mean_reward"] == "0.5"


def kept_first(*metrics: dict[str, float | None]) -> list[int]:
    rows = [
        CheckpointRow(
            id=f"c{step}", job_id="j", created_at=0, step=step, model_name="m", artifact="a", epoch=1, metrics=found
        )
        for step, found in enumerate(metrics, start=1)
    ]
    return [row.step for row in sorted(rows, key=_place_among_checkpoints)]


def test_the_best_checkpoints_are_those_of_the_highest_reward_or_else_of_the_lowest_loss_or_else_the_last() -> None:
    losses: list[dict[str, float | None]] = [{"full_valid_loss": loss} for loss in (0.3, 0.1, 0.2)]
    assert kept_first(*losses) == [2, 3, 1]
    rewards = [{**loss, "full_valid_mean_reward": reward} for loss, reward in zip(losses, (0.9, 0.1, 0.5), strict=True)]
    assert kept_first(*rewards) == [1, 3, 2]
    assert kept_first({}, {}, {}) == [3, 2, 1]
