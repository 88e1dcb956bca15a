"""The judge of both sides' weights: held-out rows, sampled at temperature 1 by the native engine, by the real grader.

    python -m benchmarks.step.evaluator CONFIG.json     # then {"do": "evaluate", "weights": FILE} a line on stdin

It is a process of its own, so that its seconds are in nobody's clock, and the same for both sides: the same rows, the
same random numbers.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from benchmarks.step.child import Channel
from benchmarks.step.ours import build_job
from safetensors.torch import load_file

from openrft.rollout.collect import collect
from openrft.training.prepare import prepare
from openrft.training.progress import Silence
from openrft.training.sampling import evaluation_sampling

STREAM = 7  # random numbers of its own


def main() -> None:
    config: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    channel = Channel()
    torch.set_num_threads(config["threads"])
    prepared = prepare(build_job(config), Silence())
    network = prepared.policy.network
    channel.send(ready=True)
    while (command := channel.receive()) is not None:
        if command["weights"]:
            with torch.no_grad():
                trained = load_file(command["weights"])
                for name, tensor in network.named_parameters():
                    tensor.copy_(trained[name])
            prepared.engine.load_weights(command["step"])
        groups = collect(
            prepared.engine, prepared.grader, prepared.valid, num_samples=1, seed=0, stream=STREAM, step=0,
            sampling=evaluation_sampling(prepared.settings),
        )  # fmt: skip
        passed = [(rollout.reward or 0.0) >= 1.0 for group in groups for rollout in group.rollouts]
        channel.send(accuracy=sum(passed) / len(passed), rows=len(passed))


if __name__ == "__main__":
    main()
