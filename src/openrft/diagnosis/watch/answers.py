"""A step's rollouts as the rules see them: the numbers that every step records, and the answers that show something."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from openrft.diagnosis.watch.alarm import MOST_EVIDENCE, Reference, Source
from openrft.types import Metrics, RolloutGroup

_FEWEST_PAID, _FEWEST_PROMPTS = 8, 4  # to say that one answer is paid for whatever is asked


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """One answer, from training or from a validation pass."""

    source: Source
    step: int
    prompt: tuple[str, int]  # the example's id, and which of the step's groups where it is there twice
    line: int
    sample: int
    text: str
    reward: float | None
    is_cut: bool = False
    has_failed: bool = False  # grading it did, whether or not invalid_grade stands in
    token_ids: Sequence[int] = ()
    monitored: float | None = None  # the monitor grader's score

    @property
    def reference(self) -> Reference:
        """Where to find it."""
        return Reference(source=self.source, step=self.step, example=self.prompt[0], line=self.line, sample=self.sample)


def answers_of_groups(step: int, groups: Sequence[RolloutGroup]) -> list[Answer]:
    """The answers of a step that was just trained on."""
    return [
        Answer(
            source="rollouts",
            step=step,
            prompt=(group.example.id, number),
            line=group.example.line,
            sample=rollout.sample_index,
            text=rollout.sample.output_text,
            reward=rollout.reward,
            is_cut=rollout.completion.finish_reason == "length",
            has_failed=rollout.grade.failure is not None,
            token_ids=rollout.completion.token_ids,
        )
        for number, group in enumerate(groups)
        for rollout in group.rollouts
    ]


def answers_of_rows(rows: Iterable[Mapping[str, Any]]) -> list[Answer]:
    """The answers of a step as the run's folder keeps them: group after group, samples counted from 0 in each."""
    answers, number = [], -1
    for row in rows:
        number += row["sample"] == 0 or number < 0
        answers.append(
            Answer(
                source="rollouts",
                step=row["step"],
                prompt=(row["example"], number),
                line=row["line"],
                sample=row["sample"],
                text=row["answer"],
                reward=row["reward"],
                is_cut=row["finish_reason"] == "length",
                has_failed=row["error"] is not None or row.get("replaced") is not None,
                token_ids=row["token_ids"],
            )
        )
    return answers


def answers_of_validation(evaluation: Mapping[str, Any]) -> list[Answer]:
    """The answers of a validation pass as the run's folder keeps it."""
    return [
        Answer(
            source="validation",
            step=evaluation["step"],
            prompt=(row["example_id"], row["index"]),
            line=row["line"],
            sample=sample,
            text=text,
            reward=row["scores"][sample],
            is_cut=row["truncated"][sample],
            monitored=row["monitor_grades"][sample]["score"] if row.get("monitor_grades") else None,
        )
        for row in evaluation["rows"]
        for sample, text in enumerate(row["outputs"])
    ]


def answer_metrics(groups: Sequence[RolloutGroup], passing_score: float) -> Metrics:
    """What the rules need of a step's answers, as metrics; each only where it can be said."""
    answers = answers_of_groups(0, groups)
    by_prompt = grouped(answers)
    found = {
        "answers/same_failing_share": _mean([float(is_same_failing(one, passing_score)) for one in by_prompt]),
        "answers/failing_truncated_share": _mean([float(one.is_cut) for one in failing(answers, passing_score)]),
        "answers/length_reward_correlation": _mean(
            [value for one in by_prompt if (value := _length_follows(one)) is not None]
        ),
        "answers/top_paid_share": top_paid(answers)[1],
    }
    return {name: value for name, value in found.items() if value is not None}


def grouped(answers: Sequence[Answer]) -> list[list[Answer]]:
    """The answers prompt by prompt."""
    groups: dict[tuple[str, int], list[Answer]] = {}
    for answer in answers:
        groups.setdefault(answer.prompt, []).append(answer)
    return list(groups.values())


def is_same_failing(group: Sequence[Answer], passing_score: float) -> bool:
    """Whether all answers to a prompt are the same text, and it does not pass."""
    rewards = [answer.reward for answer in group if answer.reward is not None]
    is_same = len(group) > 1 and len({answer.text for answer in group}) == 1
    return is_same and bool(rewards) and max(rewards) < passing_score


def failing(answers: Sequence[Answer], passing_score: float) -> list[Answer]:
    """The graded answers that do not pass."""
    return [answer for answer in answers if answer.reward is not None and answer.reward < passing_score]


def top_paid(answers: Sequence[Answer]) -> tuple[str, float | None]:
    """The text that is paid for most often and its share of the well paid answers.

    Well paid is what gets more than the middle between the step's lowest and highest reward. None where those are too
    few, or answer too few prompts, to say anything.
    """
    graded = [(answer.reward, answer) for answer in answers if answer.reward is not None]
    if not graded:
        return "", None
    rewards = [reward for reward, _ in graded]
    middle = (min(rewards) + max(rewards)) / 2
    paid = [answer for reward, answer in graded if reward > middle]
    if len(paid) < _FEWEST_PAID or len({answer.prompt for answer in paid}) < _FEWEST_PROMPTS:
        return "", None
    text, count = Counter(plain_text(answer.text) for answer in paid).most_common(1)[0]
    return text, count / len(paid)


def plain_text(text: str) -> str:
    """Without differences of case and blanks."""
    return " ".join(text.split()).casefold()


def most_paid(answers: Iterable[Answer]) -> list[Answer]:
    """The few best paid of them."""
    return first_few(answers, lambda answer: -(answer.reward or 0.0))


def first_few(answers: Iterable[Answer], rank: Callable[[Answer], float]) -> list[Answer]:
    """The few with the lowest rank: one per prompt as long as there are prompts."""
    ranked = sorted(answers, key=lambda one: (rank(one), one.prompt[1], one.sample))
    firsts: dict[tuple[str, int], Answer] = {}
    for answer in ranked:
        firsts.setdefault(answer.prompt, answer)
    others = [answer for answer in ranked if firsts[answer.prompt] is not answer]
    return [*firsts.values(), *others][:MOST_EVIDENCE]


def _length_follows(group: Sequence[Answer]) -> float | None:
    """Correlation of length and reward among a prompt's answers; None where one of them does not vary."""
    pairs = [(float(len(answer.token_ids)), answer.reward) for answer in group if answer.reward is not None]
    if len(pairs) < 3:
        return None
    length, reward = (math.fsum(values) / len(pairs) for values in zip(*pairs, strict=True))
    across = math.fsum((a - length) * (b - reward) for a, b in pairs)
    size = math.fsum((a - length) ** 2 for a, _ in pairs) * math.fsum((b - reward) ** 2 for _, b in pairs)
    return across / math.sqrt(size) if size > 1e-12 else None


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None
