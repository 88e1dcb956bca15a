"""Rollouts and groups with literal rewards, for tests."""

from __future__ import annotations

from collections.abc import Sequence

from openrft.types import Completion, Example, FinishReason, Grade, GradeError, Rollout, RolloutGroup, Sample


def make_rollout(
    number: int, reward: float | None, *, num_tokens: int = 2, finish_reason: FinishReason = "stop"
) -> Rollout:
    """A rollout with this reward; None is a grade that failed."""
    tokens = list(range(10, 10 + num_tokens))
    completion = Completion(
        request_id=0,
        sample_index=number,
        token_ids=tokens,
        sampling_logprobs=[-0.5] * num_tokens,
        text="answer",
        finish_reason=finish_reason,
        policy_version=0,
    )
    error = GradeError(kind="other_error", message="broken", grader="g") if reward is None else None
    return Rollout(
        sample_index=number,
        completion=completion,
        sample=Sample(output_text="answer"),
        grade=Grade(grader="g", score=reward, error=error),
        reward=reward,
    )


def make_group(rewards: Sequence[float | None], *, index: int = 0, lengths: Sequence[int] = ()) -> RolloutGroup:
    """A group with these rewards."""
    messages = [{"role": "user", "content": f"question {index}"}]
    example = Example(id=f"e{index}", index=index, line=index + 1, messages=messages, item={"messages": messages})
    rollouts = [
        make_rollout(number, reward, num_tokens=lengths[number] if lengths else 2)
        for number, reward in enumerate(rewards)
    ]
    return RolloutGroup(example=example, prompt_token_ids=[1, 2, 3], rollouts=rollouts)
