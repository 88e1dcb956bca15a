"""The driver's end of a measured process: which sides there are, how each is started, asked and ended."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.step.workload import Workload

from openrft.config.waiting import wait_briefly

ROOT = Path(__file__).parents[2]
PEERS = Path(sys.prefix) / "peers"  # where scripts/bench puts them
TRL_PYTHON = PEERS / "trl" / "bin" / "python"

MOST_TOKENS = 20_000
"""Tokens of one of TRL's microbatches. Its whole batch at once is slower wherever it is larger than this: W2 at 1M in
float32 takes 28 CPU seconds in one piece and 19 in four."""


class SideFailed(RuntimeError):
    """A measured process ended or did other work than it was asked for."""


@dataclass(frozen=True)
class Side:
    """One way of doing the work."""

    name: str
    module: str  # of this folder: ours, evaluator, limits, or trl_side
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def is_ours(self) -> bool:
        """Whether it runs in openrft's own environment."""
        return self.module != "trl_side"

    @property
    def python(self) -> Path:
        """Its environment's interpreter."""
        return Path(sys.executable) if self.is_ours else TRL_PYTHON


OURS_DEFAULT = Side("openrft", "ours", {"precision": "auto"})
OURS_FLOAT32 = Side("openrft float32", "ours", {"precision": "float32"})
OURS_BFLOAT16 = Side("openrft bfloat16", "ours", {"precision": "bfloat16"})
TRL_DEFAULT = Side("TRL as it comes", "trl_side", {"precision": "bfloat16", "as_it_comes": True})
TRL_FLOAT32 = Side("TRL float32", "trl_side", {"precision": "float32", "as_it_comes": False})
TRL_BFLOAT16 = Side("TRL bfloat16", "trl_side", {"precision": "bfloat16", "as_it_comes": False})

LIMITS = [Side(f"limit {precision}", "limits", {"precision": precision}) for precision in ("float32", "bfloat16")]

COMPARISONS: dict[str, tuple[Side, Side]] = {
    "as it comes": (OURS_DEFAULT, TRL_DEFAULT),
    "equal precision, float32": (OURS_FLOAT32, TRL_FLOAT32),
    "equal precision, bfloat16": (OURS_BFLOAT16, TRL_BFLOAT16),
}
"""What is compared: (ours, the peer)."""


def sides_of(comparisons: dict[str, tuple[Side, Side]]) -> list[Side]:
    """Every side once, ours first."""
    pairs = list(comparisons.values())
    return list({side.name: side for side in [pair[0] for pair in pairs] + [pair[1] for pair in pairs]}.values())


def microbatch_of(workload: Workload, shape: dict[str, int], memory_bytes: float) -> int:
    """Sequences that TRL computes at once: the largest divisor of the batch that is within both limits.

    A token's activations without checkpointing take about 10 hidden and 3 intermediate vectors a layer and 3 rows of
    logits, in float32; a quarter of ``memory_bytes`` is theirs.
    """
    per_layer = 10 * shape["hidden_size"] + 3 * shape["intermediate_size"]
    token_bytes = 4 * (shape["num_hidden_layers"] * per_layer + 3 * shape["vocab_size"])
    room = min(MOST_TOKENS, memory_bytes / 4 / token_bytes) / (workload.prompt + workload.completion)
    fitting = [size for size in range(1, workload.sequences + 1) if workload.sequences % size == 0 and size <= room]
    return max(fitting, default=1)


class Process:
    """A measured process, from its start to its end."""

    def __init__(self, side: Side, config: dict[str, Any], folder: Path) -> None:
        self.side = side
        name = f"{side.name}-{config['name']}".replace(" ", "-")
        path, self._log = folder / f"{name}.json", folder / f"{name}.log"
        scratch = folder / f"{name}-scratch"
        is_product = side.is_ours and side.module != "limits"
        path.write_text(json.dumps({**config, **side.options, "scratch": str(scratch)}, indent=1), encoding="utf-8")
        with self._log.open("w", encoding="utf-8") as log:
            self._process = subprocess.Popen(
                [side.python, "-m", f"benchmarks.step.{side.module}", path],
                cwd=ROOT, env=environment(config["threads"], is_ours=is_product), text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
            )  # fmt: skip
        try:
            self.ready = self._answer()
        except SideFailed:
            self.close()
            raise

    def ask(self, **command: Any) -> dict[str, Any]:
        """One command, one answer. Raises :class:`SideFailed` with the end of its log when the process is gone."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(command) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # the missing answer says it
        return self._answer()

    def close(self) -> None:
        """End it, in peace if it goes by itself."""
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.close()
            self._process.wait(timeout=10)
        except (BrokenPipeError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            end = "".join(self._log.read_text(encoding="utf-8").splitlines(keepends=True)[-8:])
            raise SideFailed(f"{self.side.name} ended with {self._process.returncode}; the end of {self._log}:\n{end}")
        answer: dict[str, Any] = json.loads(line)
        return answer


def environment(threads: int, *, is_ours: bool) -> dict[str, str]:
    """Of a measured process. Peers get what torch gives anybody: that many threads, which spin while they wait.

    Ours gets what the product's own processes set for themselves (see ``ours.main`` for the rest of it).
    """
    values = dict(os.environ)
    values |= {"CUDA_VISIBLE_DEVICES": "", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
    if is_ours:
        wait_briefly(values)
    if not is_ours or threads == 1:
        values |= {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    return values
