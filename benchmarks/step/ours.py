"""One measured process of openrft: the product's own preparation, engine, method and update, one step at a time.

python -m benchmarks.step.ours CONFIG.json       # then one JSON command a line on stdin; see child.py
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from benchmarks.step.child import Channel, StepClock, peak_memory, reward_of_text
from safetensors.torch import save_file

from openrft.config.heap import keep_freed_memory
from openrft.config.job import Job
from openrft.config.spec import parse_spec
from openrft.graders import ScriptedGrader
from openrft.rollout.clock import PhaseClock
from openrft.training.loop import Batch
from openrft.training.methods.reinforcement import Reinforcement
from openrft.training.optimizer import build_optimizer, learning_rate_at
from openrft.training.prepare import prepare
from openrft.training.progress import Silence
from openrft.training.threads import calibrate_threads
from openrft.training.update import update


class Ours:
    """A job prepared by the product, and what its loop does in a step, recording and checkpoints apart."""

    def __init__(self, config: dict[str, Any]) -> None:
        began = time.perf_counter()
        prepared = prepare(build_job(config), Silence())
        self.prepare_seconds = time.perf_counter() - began
        self._policy, self._settings = prepared.policy, prepared.settings
        self._optimizer = build_optimizer(self._policy, self._settings)
        scripted = ScriptedGrader(lambda request: reward_of_text(request.sample.output_text))
        self._method = Reinforcement(
            self._settings,
            policy=self._policy,
            engine=prepared.engine,
            grader=prepared.grader if config.get("grader") else scripted,
            prompts=prepared.train,
            seed=config["seed"],
        )
        told = ("precision", "microbatch_tokens", "algorithm")
        self.settings = {name: str(getattr(self._settings, name)) for name in told}
        self._clock = StepClock()
        self._clock.timed(self._method, "loss", "forward")
        self._clock.timed(self._optimizer, "step", "optimizer")
        self._step = 0

    def step(self) -> dict[str, Any]:
        """One step of the loop."""
        phases = PhaseClock()
        self._clock.start()
        batch = self._method.next_batch(self._step, phases)
        with phases.phase("update"):
            update(
                self._policy,
                self._optimizer,
                batch.minibatches,
                self._method.loss,
                learning_rate=learning_rate_at(self._step, self._settings),
                max_grad_norm=self._settings.max_grad_norm,
            )
            self._step += 1
            self._method.after_update(self._step)
        answer = self._clock.stop()
        answer["phases"] = _phases(dict(phases.take()), answer["phases"])
        return answer | _counts(batch)

    def save(self, path: str) -> dict[str, Any]:
        """Write the weights for the evaluator, which is another process."""
        weights = {name: tensor.detach().clone() for name, tensor in self._policy.network.named_parameters()}
        save_file(weights, path)
        return {"saved": path}


def build_job(config: dict[str, Any]) -> Job:
    """The job that a configuration of the benchmark stands for."""
    hyperparameters = {
        "batch_size": config["prompts"],
        "group_size": config["samples"],
        "groups_per_update": config["prompts"],  # the other side makes one update of them, in the order of the file
        "prompt_order": "epochs",
        "max_completion_tokens": config["tokens"],
        "num_steps": 10_000,  # the driver ends it
        "algorithm": config.get("algorithm", "dr_grpo"),
        "learning_rate": config["learning_rate"],
        "learning_rate_schedule": "constant",
        "warmup_steps": config["warmup_steps"],
        "weights": "full",
        "eval_interval": 10_000,
        "precision": config["precision"],
    }
    document = {
        "model": config["model"],
        "training_file": config["rows"],
        "validation_file": config["held_out"],
        "seed": config["seed"],
        "method": {
            "type": "reinforcement",
            "reinforcement": {
                "grader": config.get("grader") or {"type": "random", "name": "replaced"},
                "hyperparameters": hyperparameters,
            },
        },
    }
    return parse_spec(Job, document, where="job")


def _phases(product: dict[str, float], inside: dict[str, float]) -> dict[str, float]:
    """The product's phases, its update cut into forward, backward and optimizer."""
    spent = product.pop("update", 0.0)
    backward = spent - inside.get("forward", 0.0) - inside.get("optimizer", 0.0)
    return {name: seconds for name, seconds in product.items() if seconds} | inside | {"backward": backward}


def _counts(batch: Batch) -> dict[str, Any]:
    rollouts = [rollout for group in batch.groups for rollout in group.rollouts]
    return {
        "tokens": sum(len(rollout.completion.token_ids) for rollout in rollouts),
        "prompt_tokens": sum(len(group.prompt_token_ids) * len(group.rollouts) for group in batch.groups),
        "reward": sum(rollout.reward or 0.0 for rollout in rollouts) / len(rollouts),
    }


def main() -> None:
    config = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    channel = Channel()
    keep_freed_memory()  # as the product's processes do
    torch.set_num_threads(config["threads"])
    calibrate_threads(lambda words: print(words, file=sys.stderr), None, graders_compute=bool(config.get("grader")))
    ours = Ours(config)
    channel.send(ready=True, memory=peak_memory(), prepare=ours.prepare_seconds, settings=ours.settings)
    while (command := channel.receive()) is not None:
        if command["do"] == "save":
            channel.send(**ours.save(command["path"]))
        else:
            channel.send(**ours.step())


if __name__ == "__main__":
    main()
