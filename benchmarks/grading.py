"""What grading costs: grades per second of the sandbox at each of its levels, and grading's share of a training step.

    python benchmarks/grading.py
    python benchmarks/grading.py --rounds 7 --grades 2000 --json grading.json

Everything is measured side by side in one run: rounds are interleaved, medians are printed with their range. "none" is
the same pool without isolation and shows what isolation itself costs; only our own one-line graders run in it.

The step is that of ``examples/arithmetic`` with the bundled tiny model: 8 prompts x 8 completions, sampled, graded and
trained on. "grading" is the time spent inside an inline grader. For graders that wait (processes, networks) it is what
the step takes longer than with one that does next to nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command does: idle threads leave the cores to graders

from openrft.config.graders import parse_grader
from openrft.config.job import read_job
from openrft.graders import ScriptedGrader, build_grader
from openrft.graders.sandbox import Isolation, PythonLimits, WorkerPool, examine_source
from openrft.graders.sandbox.isolation import LEVELS, NONE, survey
from openrft.training.methods.reinforcement import Reinforcement
from openrft.training.optimizer import build_optimizer
from openrft.training.prepare import PreparedReinforcement, prepare
from openrft.training.progress import Silence
from openrft.training.update import update
from openrft.types import Grade, Grader, GradingRequest

EXAMPLE = Path(__file__).parents[1] / "examples" / "arithmetic" / "job.json"
TRIVIAL = "def grade(sample, item):\n    return item['x']\n"
WITH_NUMPY = "import numpy\n\ndef grade(sample, item):\n    return float(numpy.mean([item['x'], item['x']]))\n"
SLEEP_SECONDS = 0.05

GRADERS: dict[str, dict[str, Any]] = {
    "string_check": {
        "type": "string_check", "input": "{{sample.output_text}}", "reference": "{{item.answer}}", "operation": "like",
    },
    "text_similarity": {
        "type": "text_similarity", "input": "{{sample.output_text}}", "reference": "{{item.answer}}",
        "evaluation_metric": "rouge_l",
    },
    "python": {"type": "python", "source": "def grade(sample, item):\n    return len(sample['output_text']) % 3\n"},
}  # fmt: skip


def score(request: GradingRequest) -> float:
    """Differs within a group, so that there is something to train on, and costs next to nothing."""
    return float(len(request.sample.output_text) % 3)


class Stopwatch:
    """A grader that counts the time spent in another."""

    def __init__(self, grader: Grader) -> None:
        self._grader = grader
        self.name, self.is_inline, self.close = grader.name, grader.is_inline, grader.close
        self.seconds = 0.0

    def grade(self, requests: Sequence[GradingRequest]) -> list[Grade]:
        began = time.perf_counter()
        grades = self._grader.grade(requests)
        self.seconds += time.perf_counter() - began
        return grades


class Distant(ScriptedGrader):
    """Takes its time for every answer without using the processor, as a model behind a network does."""

    def __init__(self) -> None:
        super().__init__(self._wait)
        self.is_inline = False

    def _wait(self, request: GradingRequest) -> float:
        time.sleep(SLEEP_SECONDS / 8)
        return score(request)


def measure_sandbox(levels: Sequence[Isolation], grades: int, rounds: int) -> list[dict[str, Any]]:
    """Milliseconds to the first grade and grades per second, by level, workers and source."""
    cases = [(level, workers, "trivial", TRIVIAL) for level in levels for workers in (1, 2)]
    cases += [(levels[0], 2, "numpy", WITH_NUMPY)]
    times: dict[int, list[tuple[float, float, float]]] = {number: [] for number in range(len(cases))}
    for _ in range(rounds):
        for number, (level, workers, _, source) in enumerate(cases):
            times[number].append(_time_pool(source, level, workers, grades))
    rows = []
    for number, (level, workers, name, _) in enumerate(cases):
        cold, warm, rate = zip(*times[number], strict=True)
        rows.append(
            {
                "level": level.name,
                "workers": workers,
                "source": name,
                "cold_first_ms": statistics.median(cold),
                "warm_ms": statistics.median(warm),
                "grades_per_second": statistics.median(rate),
                "range": [min(rate), max(rate)],
            }
        )
    return rows


def _time_pool(source: str, level: Isolation, workers: int, grades: int) -> tuple[float, float, float]:
    pool = WorkerPool(source, PythonLimits(workers=workers), level, imports=examine_source(source).imports)
    try:
        began = time.perf_counter()
        pool.run([({}, {"x": 1.0})])
        cold = time.perf_counter() - began
        pool.run([({}, {"x": 1.0})] * 2 * workers)  # the other workers start too
        began = time.perf_counter()
        pool.run([({}, {"x": 1.0})])
        warm = time.perf_counter() - began
        began = time.perf_counter()
        answers = pool.run([({}, {"x": float(number)}) for number in range(grades)])
        seconds = time.perf_counter() - began
        assert [answer.score for answer in answers] == [float(number) for number in range(grades)]
        return 1000 * cold, 1000 * warm, grades / seconds
    finally:
        pool.close()


def measure_steps(rounds: int) -> list[dict[str, Any]]:
    """Seconds of a training step and grading's part of it, by grader."""
    makers: dict[str, Callable[[], Grader]] = {"nearly nothing": lambda: ScriptedGrader(score)}
    for name, definition in GRADERS.items():
        makers[name] = lambda definition=definition: build_grader(parse_grader(definition))  # type: ignore[misc]
    makers[f"model, {1000 * SLEEP_SECONDS:.0f} ms per 8 answers"] = Distant
    prepared = prepare(read_job(EXAMPLE), Silence())
    prepared.grader.close()
    watches = {name: Stopwatch(make()) for name, make in makers.items()}
    arms = {name: _arm(prepared, watch) for name, watch in watches.items()}
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in makers}
    for number in range(rounds + 1):
        for name, step in arms.items():
            watches[name].seconds = 0.0
            took = step(number)
            if number:  # the first warms up
                seconds[name].append((took, watches[name].seconds))
    for watch in watches.values():
        watch.close()
    rows = []
    for name, measured in seconds.items():
        idle = [took for took, _ in seconds["nearly nothing"]]
        if watches[name].is_inline:
            shares = [inside / took for took, inside in measured]
        else:
            shares = [(took - base) / took for (took, _), base in zip(measured, idle, strict=True)]
        row = {"grader": name, "inline": watches[name].is_inline, "share": statistics.median(shares)}
        step_seconds = statistics.median(took for took, _ in measured)
        rows.append({**row, "step_seconds": step_seconds, "range": [min(shares), max(shares)]})
    return rows


def _arm(prepared: PreparedReinforcement, grader: Grader) -> Callable[[int], float]:
    settings, policy = prepared.settings, prepared.policy
    method = Reinforcement(
        settings, policy=policy, engine=prepared.engine, grader=grader, prompts=prepared.train, seed=0
    )
    optimizer = build_optimizer(policy, settings)

    def step(number: int) -> float:
        began = time.perf_counter()
        batch = method.next_batch(number)
        # Without learning: every round of every grader samples from the same weights.
        update(policy, optimizer, batch.minibatches, method.loss, learning_rate=0.0, max_grad_norm=1.0)
        return time.perf_counter() - began

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--grades", type=int, default=1500, help="grades per round and case")
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    arguments = parser.parse_args()
    holds = survey()[-1]
    levels = [*LEVELS, NONE] if not holds.problem and holds.isolation == LEVELS[0] else [holds.isolation, NONE]
    sandbox = measure_sandbox(levels, arguments.grades, arguments.rounds)
    print(f"{'level':>14} {'workers':>7} {'source':>8} {'cold ms':>8} {'warm ms':>8} {'grades/s':>9}   range")
    for row in sandbox:
        low, high = row["range"]
        print(
            f"{row['level']:>14} {row['workers']:>7} {row['source']:>8} {row['cold_first_ms']:>8.0f} "
            f"{row['warm_ms']:>8.1f} {row['grades_per_second']:>9.0f}   {low:.0f} to {high:.0f}"
        )
    steps = measure_steps(3 * arguments.rounds)
    print(f"\n{'grader':>28} {'inline':>6} {'step s':>7} {'grading':>8}   range")
    for row in steps:
        low, high = row["range"]
        print(
            f"{row['grader']:>28} {'yes' if row['inline'] else 'no':>6} {row['step_seconds']:>7.3f} "
            f"{row['share']:>8.1%}   {low:.1%} to {high:.1%}"
        )
    if arguments.json:
        machine = {"system": platform.platform(), "cores": os.cpu_count(), "python": platform.python_version()}
        arguments.json.write_text(json.dumps({"machine": machine, "sandbox": sandbox, "steps": steps}, indent=2))


if __name__ == "__main__":
    main()
