"""Checkpoints appear whole or not at all, and restore weights and optimizer bit for bit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from openrft.errors import CheckpointDamaged, CheckpointError
from openrft.models.checkpoint import (
    delete_checkpoint,
    list_checkpoints,
    load_checkpoint,
    save_checkpoint,
    sweep_partials,
)
from openrft.models.load import Policy, load_policy
from random_models import write_random_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_model(tmp_path_factory.mktemp("model"), "qwen3")


def trained_a_little(policy: Policy, steps: int = 2) -> torch.optim.AdamW:
    optimizer = torch.optim.AdamW([tensor for _, tensor in policy.trained_parameters()], lr=1e-2)
    train_on(policy, optimizer, steps)
    return optimizer


def train_on(policy: Policy, optimizer: torch.optim.Optimizer, steps: int) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        policy.network(input_ids=torch.tensor([[1, 2, 3, 4]])).logits.square().mean().backward()
        optimizer.step()


@pytest.mark.parametrize("weights", ["full", "lora"])
def test_training_goes_on_from_a_checkpoint_as_if_it_had_never_stopped(
    model: Path, tmp_path: Path, weights: str
) -> None:
    policy = load_policy(str(model), weights=weights)  # type: ignore[arg-type]
    optimizer = trained_a_little(policy)
    path = save_checkpoint(tmp_path, step=2, policy=policy, optimizer=optimizer, state={"note": "x"})
    train_on(policy, optimizer, 3)

    other = load_policy(str(model), weights=weights, seed=99)  # type: ignore[arg-type]
    its_optimizer = torch.optim.AdamW([tensor for _, tensor in other.trained_parameters()], lr=1e-2)
    assert load_checkpoint(path, policy=other, optimizer=its_optimizer) == {"step": 2, "note": "x"}
    train_on(other, its_optimizer, 3)
    for (name, ours), (_, theirs) in zip(policy.trained_parameters(), other.trained_parameters(), strict=True):
        assert torch.equal(ours, theirs), name


def test_a_damaged_checkpoint_is_refused_by_name(model: Path, tmp_path: Path) -> None:
    policy = load_policy(str(model))
    path = save_checkpoint(tmp_path, step=1, policy=policy, optimizer=trained_a_little(policy), state={})
    weights = path / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x00")
    with pytest.raises(CheckpointDamaged, match=r"damaged: weights\.safetensors does not match"):
        load_checkpoint(path, policy=policy)


def test_a_checkpoint_without_manifest_does_not_exist(model: Path, tmp_path: Path) -> None:
    policy = load_policy(str(model))
    path = save_checkpoint(tmp_path, step=1, policy=policy, optimizer=trained_a_little(policy), state={})
    (path / "manifest.json").unlink()
    assert list_checkpoints(tmp_path) == []


def test_a_checkpoint_of_another_model_is_refused(model: Path, tmp_path: Path) -> None:
    policy = load_policy(str(model))
    path = save_checkpoint(tmp_path, step=1, policy=policy, optimizer=trained_a_little(policy), state={})
    with pytest.raises(CheckpointError, match="another model or adapter"):
        load_checkpoint(path, policy=load_policy(str(model), weights="lora"))


def test_weights_that_are_not_finite_are_never_saved(model: Path, tmp_path: Path) -> None:
    policy = load_policy(str(model))
    optimizer = trained_a_little(policy)
    with torch.no_grad():
        next(policy.trained_parameters())[1][0] = float("nan")
    with pytest.raises(CheckpointError, match="not finite"):
        save_checkpoint(tmp_path, step=1, policy=policy, optimizer=optimizer, state={})
    assert list_checkpoints(tmp_path) == []


def test_deleting_leaves_nothing_behind(model: Path, tmp_path: Path) -> None:
    policy = load_policy(str(model))
    path = save_checkpoint(tmp_path, step=1, policy=policy, optimizer=trained_a_little(policy), state={})
    delete_checkpoint(path)
    assert list(tmp_path.iterdir()) == []


def test_a_process_killed_at_any_moment_of_saving_leaves_the_checkpoint_whole_or_absent(
    model: Path, tmp_path: Path
) -> None:
    """The child saves again and again and is killed at a different moment each time."""
    program = (
        "import sys, torch; from pathlib import Path\n"
        "from openrft.models.load import load_policy; from openrft.models.checkpoint import *\n"
        "policy = load_policy(sys.argv[1]); print('ready', flush=True)\n"
        "optimizer = torch.optim.AdamW([t for _, t in policy.trained_parameters()])\n"
        "for step in range(1, 100000):\n"
        "    save_checkpoint(Path(sys.argv[2]), step=step, policy=policy, optimizer=optimizer, state={})\n"
        "    for old, path in list_checkpoints(Path(sys.argv[2]))[:-2]: delete_checkpoint(path)\n"
    )
    policy = load_policy(str(model))
    for delay in (0.002, 0.011, 0.043):
        child = subprocess.Popen(
            [sys.executable, "-c", program, str(model), str(tmp_path)], stdout=subprocess.PIPE, env={**os.environ}
        )
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(delay)
        child.kill()
        child.wait()
        child.stdout.close()
        for step, path in list_checkpoints(tmp_path):
            assert load_checkpoint(path, policy=policy)["step"] == step
        sweep_partials(tmp_path)
        assert all(json.loads((path / "manifest.json").read_text()) for path in tmp_path.iterdir())
