"""What waiting threads cost: how one and several threads compute, alone and beside a busy process.

    python benchmarks/threads.py
    python benchmarks/threads.py --threads 8 --rounds 5 --json threads.json

Each line is a process of its own, because OpenMP reads how to wait once: libgomp's default (spin for milliseconds), a
thousand turns (some 10 µs) and ours (asleep at once). What is timed is ``openrft-tiny`` sampling
8 prompts x 8 completions of 32 tokens, and one forward and backward pass over 64 sequences of 96 tokens. Rounds are
interleaved; printed are medians of wall seconds and of the ratio to one thread in the same round, with its range. The
neighbours are processes that count. On a machine that others use, only ratios mean something.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from openrft.config.waiting import wait_briefly

OURS: dict[str, str] = {}
wait_briefly(OURS)
WAITING = {"default": {}, "1000 turns": {"GOMP_SPINCOUNT": "1000"}, "ours": OURS}
READ_BY_OPENMP = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
PARTS = ("sampling", "update")


def work(threads: int, repeats: int) -> dict[str, float]:
    """Wall seconds of each part in this process: medians of ``repeats`` after a warm-up."""
    import torch

    from openrft.models.load import load_policy
    from openrft.rollout.native import NativeEngine
    from openrft.types import GenerationRequest, NoiseKey, SamplingParams

    torch.set_num_threads(threads)
    policy = load_policy("openrft-tiny", weights="full", device=torch.device("cpu"))
    engine = NativeEngine(policy.network, policy.tokenizer)
    vocabulary = policy.network.get_input_embeddings().num_embeddings
    generator = torch.Generator().manual_seed(0)
    prompts = torch.randint(vocabulary, (8, 48), generator=generator).tolist()
    sequences = torch.randint(vocabulary, (64, 96), generator=generator)
    requests = [
        GenerationRequest(
            id=number, prompt_token_ids=prompt, num_samples=8, sampling=SamplingParams(max_tokens=32),
            noise=NoiseKey(seed=0, stream=0, step=0, example=number),
        )
        for number, prompt in enumerate(prompts)
    ]  # fmt: skip

    def update() -> None:
        policy.network.zero_grad(set_to_none=True)
        logits = policy.network(input_ids=sequences).logits
        torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), sequences[:, 1:].flatten()).backward()

    return {
        "sampling": _median_seconds(lambda: list(engine.generate(requests)), repeats),
        "update": _median_seconds(update, repeats),
    }


def _median_seconds(call: Callable[[], object], repeats: int) -> float:
    call()
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def measure(threads: int, waiting: str, repeats: int) -> dict[str, float]:
    """:func:`work` in a process whose environment says how threads wait."""
    environment = {name: value for name, value in os.environ.items() if name not in READ_BY_OPENMP}
    command = [sys.executable, __file__, "--child", str(threads), "--repeats", str(repeats)]
    done = subprocess.run(command, env={**environment, **WAITING[waiting]}, stdout=subprocess.PIPE, check=True)
    seconds: dict[str, float] = json.loads(done.stdout)
    return seconds


@contextmanager
def busy(count: int) -> Iterator[None]:
    """So many processes that keep a core busy."""
    neighbours = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for neighbour in neighbours:
            neighbour.kill()
            neighbour.wait()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="beside one; default all cores")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3, help="of each part within a process")
    parser.add_argument("--neighbours", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(work(options.child, options.repeats)))
        return
    lines = [(1, "ours"), *((options.threads, waiting) for waiting in WAITING)]
    print(f"load {os.getloadavg()[0]:.1f} of {os.cpu_count()} cores; seconds (times those of one thread)")
    print("| neighbours | threads | waiting | sampling | update |\n| ---: | ---: | --- | ---: | ---: |")
    kept = []
    for neighbours in options.neighbours:
        with busy(neighbours):
            rounds = [[measure(*line, options.repeats) for line in lines] for _ in range(options.rounds)]
        for number, (threads, waiting) in enumerate(lines):
            row: dict[str, object] = {"neighbours": neighbours, "threads": threads, "waiting": waiting}
            cells = []
            for part in PARTS:
                seconds = [one[number][part] for one in rounds]
                ratios = sorted(one[number][part] / one[0][part] for one in rounds)
                row |= {part: seconds, f"{part}_ratio": ratios}
                ratio = f"{statistics.median(ratios):.2f}, {ratios[0]:.2f}-{ratios[-1]:.2f}"
                cells.append(f"{statistics.median(seconds):.3f} ({ratio})")
            kept.append(row)
            print(f"| {neighbours} | {threads} | {waiting} | {' | '.join(cells)} |", flush=True)
    if options.json:
        options.json.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
