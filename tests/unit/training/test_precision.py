"""What products are computed in: chosen from the model's size and the machine's gain, told, and kept on resume."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from openrft.config.graders import parse_grader
from openrft.config.job import Job, read_job
from openrft.config.reinforcement import ReinforcementHyperparameters
from openrft.errors import InvalidRequest, OpenRFTError
from openrft.models.decoder import products
from openrft.models.load import Policy, load_policy
from openrft.training import prepare, resolve
from openrft.training.batch import GroupToTrain, build_microbatch
from openrft.training.forward import completion_logprobs
from openrft.training.memory import Room
from openrft.training.methods.reinforcement import _reference
from openrft.training.progress import Silence
from openrft.training.run import resume_run, start_run
from random_models import write_random_model
from rollouts import make_rollout
from run_settings import MEASURED, settings
from small_job import read_metrics

GRADER = {"type": "string_check", "input": "{{sample.output_text}}", "reference": "{{item.answer}}", "operation": "eq"}


def resolved(asked: str, num_parameters: int, gain: float) -> tuple[str, str | None]:
    facts = resolve.ReinforcementFacts(
        num_parameters=num_parameters, context_tokens=1024, num_train=64, num_valid=48, longest_prompt=50,
        room=Room(free_bytes=64 << 30, device_type="cpu", num_parameters=1, footprint=None, padded_row_bytes=1 << 10),
        short_type_gain=gain,
    )  # fmt: skip
    hyperparameters = ReinforcementHyperparameters.model_validate({"precision": asked})
    values, reasons = resolve.resolve(hyperparameters, parse_grader(GRADER), facts)
    return values.precision, reasons.get("precision")


def test_models_compute_in_bfloat16_where_the_machine_gains_by_it() -> None:
    reason = "this machine multiplies 3.2 times as fast in bfloat16; weights, norms and softmax stay float32"
    assert resolved("auto", 10_000_000, gain=3.2) == ("bfloat16", reason)
    assert resolved("auto", 1_000_000, gain=1.5)[0] == "bfloat16"


def test_a_machine_that_gains_too_little_computes_in_float32() -> None:
    assert resolved("auto", 10_000_000, gain=0.4) == (
        "float32", "this machine multiplies 0.4 times as fast in bfloat16"
    )  # fmt: skip
    assert resolved("auto", 10_000_000, gain=1.49)[0] == "float32"


@pytest.mark.parametrize("asked", ["float32", "bfloat16"])
@pytest.mark.parametrize(("num_parameters", "gain"), [(1_000, 9.0), (1_000, 0.1), (10**9, 9.0), (10**9, 0.1)])
def test_what_was_asked_for_is_used(asked: str, num_parameters: int, gain: float) -> None:
    assert resolved(asked, num_parameters, gain) == (asked, None)


@pytest.mark.parametrize("wrong", ["float16", "fp32", "bf16", 16, None])
def test_other_types_are_refused(wrong: object) -> None:
    with pytest.raises(ValueError, match="precision"):
        ReinforcementHyperparameters.model_validate({"precision": wrong})


class Notes(Silence):
    """Keeps what is told, and stops a run after a step when asked to."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.told: list[str] = []
        self.stop_after = stop_after

    def note(self, message: str, level: str = "info", data: object = None) -> None:
        self.told.append(message)

    def step(self, step: int, num_steps: int, metrics: dict[str, float]) -> None:
        if step == self.stop_after:
            raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("kind", "precision", "told"),
    [
        ("qwen3", "float32", []),
        ("qwen3", "bfloat16", []),
        ("gemma2", "float32", ["gemma2 models run through transformers' forward pass, slower than openrft's own"]),
        ("gemma2", "bfloat16", ["gemma2 models run through transformers' forward pass, in bfloat16 by autocast"]),
    ],
)
def test_who_computes_and_in_what_is_told(kind: str, precision: str, told: list[str], tmp_path: Path) -> None:
    policy, notes = load_policy(str(write_random_model(tmp_path / "model", kind))), Notes()
    prepare.choose_trained(policy, settings(precision=precision), 0, notes)
    assert notes.told == told
    assert (policy.decoder is None) == (kind == "gemma2")
    assert policy.compute_type == getattr(torch, precision)
    assert policy.network.dtype == torch.float32


@pytest.mark.parametrize("kind", ["qwen3", "gemma2"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_reference_computes_as_the_policy_does(kind: str, precision: str, tmp_path: Path) -> None:
    """Before the first step they are one and the same: rounding must not look like a distance between them."""
    policy: Policy = load_policy(str(write_random_model(tmp_path / "model", kind)))
    policy.compute_in(getattr(torch, precision))
    rollouts = [make_rollout(number, 1.0, num_tokens=3 + number) for number in range(3)]
    group = GroupToTrain(
        prompt_token_ids=[5, 6, 7, 8], rollouts=rollouts, advantages=[1.0] * 3, token_weights=[1.0] * 3
    )
    batch = build_microbatch([group], pad_id=0, device=torch.device("cpu"))
    reference = _reference(policy)
    found = completion_logprobs(policy, batch, temperature=0.7).detach()
    assert (reference(batch, 0.7) - found).abs().max() < 1e-6
    with torch.no_grad():
        for _, tensor in policy.trained_parameters():
            tensor += 0.1 * torch.randn_like(tensor)
    moved = completion_logprobs(policy, batch, temperature=0.7).detach()
    assert (reference(batch, 0.7) - found).abs().max() < 1e-6
    assert (moved - found).abs().max() > 0.01


def write_job(folder: Path, **hyperparameters: Any) -> Job:
    folder.mkdir()
    for name, count in (("train", 8), ("valid", 3)):
        rows = [{"messages": [{"role": "user", "content": f"{name} {number}"}]} for number in range(count)]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = "def grade(sample, item):\n    return sum(c.isalpha() for c in sample['output_text']) / 16"
    options = {
        "num_steps": 4, "batch_size": 3, "group_size": 4, "max_completion_tokens": 12, "eval_interval": 4,
        "learning_rate": 0.003, "checkpoint_interval": 1, **hyperparameters,
    }  # fmt: skip
    job = {
        "model": str(write_random_model(folder / "model", "qwen3")), "training_file": "train.jsonl",
        "validation_file": "valid.jsonl", "seed": 5, "method": {"type": "reinforcement", "reinforcement": {
            "grader": {"type": "python", "source": source}, "hyperparameters": options}},
    }  # fmt: skip
    (folder / "job.json").write_text(json.dumps(job))
    return read_job(folder / "job.json")


def recorded(folder: Path) -> list[dict[str, Any]]:
    """Metrics but the machine's."""
    return [
        {name: value for name, value in row.items() if not name.startswith(MEASURED)} for row in read_metrics(folder)
    ]


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which auto takes bfloat16 for every model, and that multiplies with torch's own kernel."""
    monkeypatch.setattr(prepare, "short_type_gain", lambda device: 4.0)
    monkeypatch.setattr(products, "_chosen", "torch")


def test_a_resumed_run_computes_as_it_did_whatever_the_machine_gains_now(
    short: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = write_job(tmp_path / "job")
    start_run(job, tmp_path / "calm", Silence())
    with pytest.raises(KeyboardInterrupt):
        start_run(job, tmp_path / "stopped", Notes(stop_after=2))
    config = json.loads((tmp_path / "stopped/config.json").read_text())
    assert config["hyperparameters"]["precision"] == "bfloat16"
    assert config["reasons"]["precision"].startswith("this machine multiplies 4.0 times as fast")
    assert config["machine"]["products"] == "torch"

    monkeypatch.setattr(prepare, "short_type_gain", lambda device: 0.5)
    monkeypatch.setattr(products, "_chosen", "onednn")
    notes = Notes()
    resume_run(tmp_path / "stopped", notes)
    assert products.kernel() == "torch"
    assert recorded(tmp_path / "stopped") == recorded(tmp_path / "calm")
    assert not [words for words in notes.told if "round differently" in words]


def test_a_new_run_on_the_machine_as_it_is_now_takes_float32(
    short: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare, "short_type_gain", lambda device: 0.5)
    start_run(write_job(tmp_path / "job"), tmp_path / "run", Silence())
    config = json.loads((tmp_path / "run/config.json").read_text())
    assert config["hyperparameters"]["precision"] == "float32"


def test_a_run_of_a_version_without_precisions_is_not_resumed_in_another_one(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        start_run(write_job(tmp_path / "job"), tmp_path / "run", Notes(stop_after=1))
    for name, path in (
        ("job.json", ("method", "reinforcement", "hyperparameters")),
        ("config.json", ("hyperparameters",)),
    ):
        document = part = json.loads((tmp_path / "run" / name).read_text())
        for key in path:
            part = part[key]
        del part["precision"]
        (tmp_path / "run" / name).write_text(json.dumps(document))
    with pytest.raises(OpenRFTError, match="resolves precision differently than when the run began") as caught:
        resume_run(tmp_path / "run", Silence())
    assert not isinstance(caught.value, InvalidRequest)
