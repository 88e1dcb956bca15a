"""Whose metrics a checkpoint shows after its policy was put back to earlier weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from openrft.worker.mirror import _step_of_weights


@pytest.mark.parametrize(("step", "of"), [(10, 0), (11, 11), (30, 20), (40, 20)])
def test_a_checkpoint_shows_the_metrics_of_the_step_that_made_its_weights(tmp_path: Path, step: int, of: int) -> None:
    returns = [{"at": 10, "to": 0, "why": "x"}, {"at": 30, "to": 20, "why": "x"}, {"at": 40, "to": 30, "why": "x"}]
    (tmp_path / "state.json").write_text(json.dumps({"step": step, "returns": returns}))
    assert _step_of_weights(tmp_path, step) == of


def test_without_a_return_it_is_the_checkpoints_own(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text(json.dumps({"step": 7}))
    assert _step_of_weights(tmp_path, 7) == 7
