"""What a running job looks like, in a terminal and in a file."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from openrft.cli.live import JsonDisplay, LineDisplay, LiveDisplay, StepClock, open_display, step_line

TRAINED = {
    "reward/mean": 0.5,
    "groups/no_signal_share": 0.25,
    "rollout/completion_tokens_mean": 31.4,
    "time/step_seconds": 0.52,
    "throughput/tokens_per_second": 1932.4,
}
VALIDATED = {"valid/reward_mean": 0.6, "valid/reward_low": 0.5, "valid/reward_high": 0.7}


def watch(console: Console) -> None:
    with open_display(console, as_json=False) as display:
        display.phase("loading a model [not markup]")
        display.step(0, 2, VALIDATED)
        display.phase("training", 4)
        for _ in range(5):  # one more than announced: the next step's first
            display.rollout()
        display.step(1, 2, TRAINED)
        display.step(2, 2, {**TRAINED, **VALIDATED})
        display.note("the grader said [bold]", "warn")


def test_a_terminal_gets_a_live_curve_and_the_validations_as_lines_that_stay() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=100, height=40)
    assert isinstance(open_display(console, as_json=False), LiveDisplay)
    watch(console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "valid 0.600 [0.500, 0.700]" in text
    assert "warn: the grader said [bold]" in text
    assert "⠂" in text or "⣀" in text or any("\u2800" <= letter <= "\u28ff" for letter in text)  # a curve was drawn


def test_a_file_gets_plain_lines() -> None:
    console = Console(file=io.StringIO(), width=100)
    assert isinstance(open_display(console, as_json=False), LineDisplay)
    watch(console)
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert lines[0] == "loading a model [not markup] …"
    assert lines[-1] == "warn: the grader said [bold]"
    assert "\x1b" not in "".join(lines)


def test_programs_get_one_json_object_per_line(capsys: pytest.CaptureFixture[str]) -> None:
    with JsonDisplay() as display:
        display.step(1, 2, TRAINED)
        display.note("x", "error")
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert rows == [
        {"type": "step", "step": 1, "num_steps": 2, "metrics": TRAINED},
        {"type": "note", "level": "error", "message": "x"},
    ]


def test_a_step_is_told_in_one_line() -> None:
    assert step_line(1, 20, TRAINED, 100.0) == (
        "step    1/20  reward 0.500  no signal 25%  tokens 31  0.52 s  1932 tokens/s  2 min left"
    )
    assert step_line(20, 20, VALIDATED, 0.0) == "step   20/20  valid 0.600 [0.500, 0.700]"


def test_a_supervised_step_tells_its_loss_in_place_of_a_reward() -> None:
    trained = {"train/loss": 0.51234, "train/token_accuracy": 0.875, "train/tokens": 80, "time/step_seconds": 0.1}
    validated = {"valid/loss": 0.6, "valid/token_accuracy": 0.8}
    told = step_line(2, 20, {**trained, **validated}, None)
    assert told == "step    2/20  loss 0.5123  token accuracy 87.5%  0.10 s  valid loss 0.6000"


def test_the_live_curve_of_a_supervised_run_is_of_its_loss() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=100, height=40)
    with open_display(console, as_json=False) as display:
        display.step(0, 2, {"valid/loss": 6.25})
        display.step(1, 2, {"train/loss": 4.0, "train/token_accuracy": 0.5, "time/step_seconds": 0.1})
        display.step(2, 2, {"valid/loss": 2.5})
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "valid loss 6.2500" in text and "valid loss 2.5000" in text  # lines that stay
    assert "●" in text
    assert "6.44 ┤" in text  # the axis reaches beyond the scores of graders


def test_the_time_left_cannot_be_said_after_one_step() -> None:
    clock = StepClock()
    assert clock.left(1, 10) is None
    left = clock.left(2, 10)
    assert left is not None
    assert left >= 0.0
