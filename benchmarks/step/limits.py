"""The same work's bare matrix products, as a measured process like any side: what is left when all else costs nothing.

    python -m benchmarks.step.limits CONFIG.json       # then {"do": "step"} a line on stdin; see child.py

Sampling: every prompt once through the layers, then one product per layer and token for all completions together.
Update: forward and the two products of backward, every prompt encoded once for its group. The head is computed where
its result is needed. No attention, norms, activations, sampling or optimizer; weights fused as far as that is possible.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from benchmarks.step.child import Channel, StepClock, peak_memory

MOST_ROWS = 2048  # of one product: larger ones are no faster and leave the cache
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Rows:
    """How many rows go through the layers and through the head."""

    layers: int
    head: int


def prefill_rows(prompts: int, prompt: int) -> Rows:
    """Every prompt once; its last position predicts the first token of all its completions."""
    return Rows(layers=prompts * prompt, head=prompts)


def update_rows(prompts: int, samples: int, prompt: int, completion: int) -> Rows:
    """Every prompt once and every completion but its last token, from which nothing is predicted."""
    inside = prompts * samples * (completion - 1)
    return Rows(layers=prompts * prompt + inside, head=prompts + inside)


def linear_shapes(shape: dict[str, int]) -> list[tuple[int, int]]:
    """(inputs, outputs) of a layer's products: queries with keys and values, output, gate with up, down."""
    hidden, heads = shape["hidden_size"], shape["num_attention_heads"] * shape["head_dim"]
    keys = shape["num_key_value_heads"] * shape["head_dim"]
    inner = shape["intermediate_size"]
    return [(hidden, heads + 2 * keys), (heads, hidden), (hidden, 2 * inner), (inner, hidden)]


def step_flops(shape: dict[str, int], prompts: int, samples: int, prompt: int, completion: int) -> float:
    """Floating point operations of the products of one step: two for each weight and row, thrice in the update."""
    layer = shape["num_hidden_layers"] * sum(inputs * outputs for inputs, outputs in linear_shapes(shape))
    head = shape["hidden_size"] * shape["vocab_size"]
    # Sampling and update send the same rows through the same weights, one prompt after the other or token by token.
    rows = update_rows(prompts, samples, prompt, completion)
    return 2.0 * (rows.layers * layer + rows.head * head) * 4


class Limit:
    """The weights, and the products of one step."""

    def __init__(self, config: dict[str, Any]) -> None:
        shape, dtype = config["shape"], DTYPES[config["precision"]]
        self._config = config
        self._layers = [
            [torch.randn(outputs, inputs, dtype=dtype) for inputs, outputs in linear_shapes(shape)]
            for _ in range(shape["num_hidden_layers"])
        ]
        self._head = [torch.randn(shape["vocab_size"], shape["hidden_size"], dtype=dtype)]
        self._dtype = dtype
        self._buffers: dict[tuple[str, int, int], torch.Tensor] = {}
        self._clock = StepClock()
        self._clock.timed(self, "_sample", "sampling")
        self._clock.timed(self, "_update", "update")

    def step(self) -> dict[str, Any]:
        """All products of one step."""
        config = self._config
        self._clock.start()
        self._sample(config["prompts"], config["samples"], config["prompt"], config["tokens"])
        self._update(update_rows(config["prompts"], config["samples"], config["prompt"], config["tokens"]))
        sequences = config["prompts"] * config["samples"]
        done = {"tokens": sequences * config["tokens"], "prompt_tokens": sequences * config["prompt"], "reward": 0.0}
        return self._clock.stop() | done

    def _sample(self, prompts: int, samples: int, prompt: int, completion: int) -> None:
        rows = prefill_rows(prompts, prompt)
        self._forward(rows)
        for _ in range(completion - 1):
            self._forward(Rows(layers=prompts * samples, head=prompts * samples))

    def _forward(self, rows: Rows) -> None:
        for layer in self._layers:
            self._products(layer, rows.layers)
        self._products(self._head, rows.head)

    def _update(self, rows: Rows) -> None:
        for layer in self._layers:
            self._products(layer, rows.layers, backward=True)
        self._products(self._head, rows.head, backward=True)

    def _products(self, weights: list[torch.Tensor], rows: int, *, backward: bool = False) -> None:
        for begin in range(0, rows, MOST_ROWS):
            count = min(MOST_ROWS, rows - begin)
            for weight in weights:
                outputs, inputs = weight.shape
                x, y = self._buffer("x", count, inputs), self._buffer("y", count, outputs)
                torch.mm(x, weight.t(), out=y)
                if backward:
                    torch.mm(y, weight, out=self._buffer("dx", count, inputs))
                    torch.mm(y.t(), x, out=self._buffer("dw", outputs, inputs))

    def _buffer(self, name: str, rows: int, columns: int) -> torch.Tensor:
        """Memory to compute in, kept: a fresh one would cost page faults, which are no part of a product."""
        key = (name, rows, columns)
        if key not in self._buffers:
            # Small, so that products of products stay finite: denormal and infinite numbers take longer.
            self._buffers[key] = torch.randn(rows, columns).mul_(1e-3).to(self._dtype)
        return self._buffers[key]


def main() -> None:
    config = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    channel = Channel()
    torch.set_num_threads(config["threads"])
    with torch.no_grad():
        limit = Limit(config)
        channel.send(ready=True, memory=peak_memory())
        while channel.receive() is not None:
            channel.send(**limit.step())


if __name__ == "__main__":
    main()
