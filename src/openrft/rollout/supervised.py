"""From a supervised row to tokens: what the policy is shown, and what it is to say after it.

An answer trains exactly as it would have been sampled: after the tokens of the prompt that :func:`render_prompt` makes,
with the tokens that the model's chat template gives the answer up to and including the one that ends the turn.

Several answers of one conversation share their tokens where each prompt begins with what stands before it, which most
templates keep to. Some do not (Qwen3's drops the thoughts of earlier turns): there each answer has its own sequence.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from openrft.errors import InvalidRequest
from openrft.rollout.prompt import render_prompt, template_arguments
from openrft.types import Example


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerSequence:
    """A prompt and what follows it: one answer, or several with the turns between them."""

    prompt_token_ids: list[int]  # [P]
    token_ids: list[int]  # [T] after the prompt
    trained: list[bool]  # [T] True on the tokens of answers that train

    @property
    def num_trained(self) -> int:
        """Tokens that train."""
        return sum(self.trained)

    def cut(self, most_tokens: int) -> AnswerSequence:
        """The same with at most ``most_tokens``, prompt included; nothing may be left to train on."""
        room = max(0, most_tokens - len(self.prompt_token_ids))
        return AnswerSequence(
            prompt_token_ids=self.prompt_token_ids, token_ids=self.token_ids[:room], trained=self.trained[:room]
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Demonstration:
    """A supervised row as tokens."""

    example: Example
    sequences: list[AnswerSequence]

    @property
    def num_trained(self) -> int:
        """Tokens that train."""
        return sum(sequence.num_trained for sequence in self.sequences)

    @property
    def longest(self) -> int:
        """Tokens of the longest sequence, prompt included."""
        return max(len(one.prompt_token_ids) + len(one.token_ids) for one in self.sequences)

    def cut(self, most_tokens: int) -> Demonstration:
        """The same with sequences of at most ``most_tokens``, without those that then have nothing to train."""
        cut = [one.cut(most_tokens) for one in self.sequences]
        return Demonstration(example=self.example, sequences=[one for one in cut if one.num_trained])


def render_demonstration(
    tokenizer: Any, example: Example, stop_ids: Collection[int], *, reasoning_effort: str = "default"
) -> Demonstration:
    """The tokens of a supervised row. ``stop_ids`` are the tokens at which sampling ends.

    Raises :class:`InvalidRequest`, its line named, when the model's chat template cannot write the conversation.
    """
    dialogue = example.dialogue or []
    sequences: list[AnswerSequence] = []
    try:
        for place, message in enumerate(dialogue):
            if message["role"] == "assistant" and message.get("weight") != 0:
                answer = _render_answer(
                    tokenizer, dialogue[: place + 1], example.tools, stop_ids, reasoning_effort=reasoning_effort
                )
                joined = _join(sequences[-1], answer) if sequences else None
                if joined is None:
                    sequences.append(answer)
                else:
                    sequences[-1] = joined
    except InvalidRequest as error:
        raise InvalidRequest(f"line {example.line}: {error.message}", param=error.param) from error
    return Demonstration(example=example, sequences=sequences)


def _render_answer(
    tokenizer: Any,
    messages: Sequence[dict[str, Any]],
    tools: list[dict[str, Any]] | None,
    stop_ids: Collection[int],
    *,
    reasoning_effort: str,
) -> AnswerSequence:
    """The last of ``messages`` after the prompt that the others make."""
    spoken = [_readable(message) for message in messages]
    prompt_ids = render_prompt(tokenizer, spoken[:-1], reasoning_effort=reasoning_effort, tools=tools)
    prompt, whole = (
        _text_of(tokenizer, some, is_prompt, reasoning_effort, tools)
        for some, is_prompt in ((spoken[:-1], True), (spoken, False))
    )
    if not whole.startswith(prompt):
        raise InvalidRequest(
            "the model's chat template writes this answer after another prompt than the one that is sampled from, so "
            "what would be learned is not what would be said; use a model with another template",
            param="messages",
        )
    _check_tools(prompt, whole[len(prompt) :], messages[-1], tools)
    ids = _tokens_after(tokenizer, prompt_ids, prompt, whole)
    ends = [place for place, token in enumerate(ids) if token in stop_ids]
    if not ends:
        # The template ends a turn by text alone; sampling would go on until the tokenizer's own last token.
        kept = len(prompt) + _end_of(whole[len(prompt) :], spoken[-1]["content"])
        ids = [*_tokens_after(tokenizer, prompt_ids, prompt, whole[:kept]), int(tokenizer.eos_token_id)]
    elif tokenizer.decode(ids[ends[0] + 1 :], skip_special_tokens=False).strip():
        end = tokenizer.decode([ids[ends[0]]])
        raise InvalidRequest(f"the answer holds {end}, which ends a turn; remove it", param="messages")
    else:
        ids = ids[: ends[0] + 1]
    return AnswerSequence(prompt_token_ids=prompt_ids, token_ids=ids, trained=[True] * len(ids))


def _join(first: AnswerSequence, second: AnswerSequence) -> AnswerSequence | None:
    """Both as one sequence, the turns between them untrained; None where the second's prompt begins otherwise."""
    before = [*first.prompt_token_ids, *first.token_ids]
    if second.prompt_token_ids[: len(before)] != before:
        return None
    between = second.prompt_token_ids[len(before) :]
    return AnswerSequence(
        prompt_token_ids=first.prompt_token_ids,
        token_ids=[*first.token_ids, *between, *second.token_ids],
        trained=[*first.trained, *[False] * len(between), *second.trained],
    )


def _text_of(
    tokenizer: Any,
    messages: list[dict[str, Any]],
    is_prompt: bool,
    reasoning_effort: str,
    tools: list[dict[str, Any]] | None,
) -> str:
    spoken, options = template_arguments(messages, reasoning_effort=reasoning_effort, tools=tools)
    try:
        text: str = tokenizer.apply_chat_template(spoken, add_generation_prompt=is_prompt, tokenize=False, **options)
    except Exception as error:  # a template is the model's own Jinja code and may raise anything
        raise InvalidRequest(f"the model's chat template refuses the messages: {error}", param="messages") from error
    return text


def _tokens_after(tokenizer: Any, prompt_ids: list[int], prompt: str, whole: str) -> list[int]:
    """Tokens of ``whole`` after those of the prompt.

    Where the tokenizer would merge the end of the prompt with the beginning of the answer, the answer is written alone:
    a sampler cannot take back tokens of its prompt.
    """
    ids = [int(token) for token in tokenizer(whole, add_special_tokens=False)["input_ids"]]
    if ids[: len(prompt_ids)] == prompt_ids:
        return ids[len(prompt_ids) :]
    return [int(token) for token in tokenizer(whole[len(prompt) :], add_special_tokens=False)["input_ids"]]


def _end_of(answer: str, content: str) -> int:
    """Where the message's own text ends in what a template without end-of-turn token made of it."""
    place = answer.rfind(content.strip())
    return place + len(content.strip()) if content.strip() and place >= 0 else len(answer.rstrip())


def _readable(message: dict[str, Any]) -> dict[str, Any]:
    """The message as chat templates want it: arguments of calls as objects, which OpenAI writes as text."""
    calls = [
        {**call, "function": {**call["function"], "arguments": _arguments(call["function"].get("arguments"))}}
        for call in message.get("tool_calls") or ()
        if isinstance(call, dict) and isinstance(call.get("function"), dict)
    ]
    readable = {name: value for name, value in message.items() if name not in ("weight", "tool_calls")}
    readable["content"] = readable.get("content") or ""
    return {**readable, "tool_calls": calls} if calls else readable


def _arguments(written: Any) -> Any:
    try:
        return json.loads(written) if isinstance(written, str) else written
    except ValueError:
        return written


def _check_tools(prompt: str, answer: str, message: dict[str, Any], tools: list[dict[str, Any]] | None) -> None:
    """A template that knows no tools leaves them out in silence: the model would learn to say nothing."""
    for what, text, functions in (
        ("the row's tools", prompt, [tool["function"]["name"] for tool in tools or ()]),
        ("tool_calls", answer, [call.get("function", {}).get("name", "") for call in message.get("tool_calls") or ()]),
    ):
        missing = [name for name in functions if name not in text]
        if missing:
            raise InvalidRequest(
                f"the model's chat template does not write {what} ({missing[0]} is missing); use a model that knows "
                "tools, or remove them",
                param="messages",
            )
