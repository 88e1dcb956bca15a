"""Recorded steps and validation passes of runs that never were: healthy ones, and the same with something planted."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence

from openrft.diagnosis.watch.alarm import Alarm
from openrft.diagnosis.watch.answers import Answer
from openrft.diagnosis.watch.history import Facts, ValidationPass
from openrft.diagnosis.watch.rules import RULES
from openrft.diagnosis.watch.watch import Watch

FACTS = Facts(num_train=64, batch_size=8, passing_score=1 - 1e-9)

Level = Callable[[int], float]
Row = dict[str, float]


def learns(step: int) -> float:
    """A score that rises from 0.2 to 0.9 over twenty steps and stays there."""
    return 0.2 + 0.7 * min(1.0, step / 20)


def healthy_row(step: int, level: Level = learns, noise: random.Random | None = None) -> Row:
    """What a step of a healthy run records, eight prompts of eight answers each."""
    now = level(step)
    reward = now if noise is None else sum(noise.random() < now for _ in range(64)) / 64
    return {
        "step": float(step),
        "reward/mean": reward,
        "groups/no_signal_share": now**8 + (1 - now) ** 8,
        "groups/all_pass_share": now**8,
        "groups/all_fail_share": (1 - now) ** 8,
        "groups/trained_share": 1 - now**8 - (1 - now) ** 8,
        "grade/ungraded_share": 0.0,
        "rollout/truncated_share": 0.02,
        "rollout/completion_tokens_mean": 20 + 40 * now,
        "rollout/repeated_4gram_share": 0.02,
        "policy/entropy": 0.4 * (1.001 - now),
        "optimizer/updates": 1.0,
        "optimizer/gradient_norm": 0.5,
        "optimizer/relative_update": 1e-4,
        "answers/same_failing_share": 0.05,
        "answers/failing_truncated_share": 0.1,
        "answers/length_reward_correlation": 0.8,
        "answers/top_paid_share": 0.15,
    }


def validation(
    step: int, score: float, monitor: float | None = None, noise: random.Random | None = None
) -> ValidationPass:
    """A pass over 40 examples with four answers each; without ``noise`` the scores go evenly around the mean."""

    def scores(mean: float) -> dict[str, float]:
        if noise is None:
            return {f"e{n}": mean + (0.05 if n % 2 else -0.05) for n in range(40)}
        return {f"e{n}": sum(noise.random() < mean for _ in range(4)) / 4 for n in range(40)}

    return ValidationPass(step=step, scores=scores(score), monitored={} if monitor is None else scores(monitor))


def told(
    rows: Iterable[Mapping[str, float | None]],
    passes: Sequence[ValidationPass] = (),
    *,
    rollouts: Sequence[Answer] = (),
    answers: Sequence[Answer] = (),
) -> list[Alarm]:
    """What all rules together raise in this run."""
    watch = Watch(FACTS, RULES)
    by_step = {one.step: one for one in passes}
    if 0 in by_step:
        watch.see({"step": 0.0, "valid/pass_share": 0.0}, by_step[0])
    for row in rows:
        watch.see(
            row, by_step.get(int(row["step"] or 0)), rollouts=lambda: rollouts, validation_answers=lambda: answers
        )
    return watch.alarms


def answer(number: int, reward: float | None, text: str = "", *, prompt: int = 0, **changes: object) -> Answer:
    """One answer to prompt ``prompt``."""
    values: dict[str, object] = {
        "source": "rollouts", "step": 1, "prompt": (f"e{prompt}", prompt), "line": prompt + 1, "sample": number,
        "text": text or f"answer {prompt}.{number}", "reward": reward, "token_ids": tuple(range(10)),
    }  # fmt: skip
    return Answer(**(values | changes))  # type: ignore[arg-type]
