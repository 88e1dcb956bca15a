"""From messages to prompt tokens, and from a completion's text to what a grader may see."""

from __future__ import annotations

import json
import math
from typing import Any

from openrft.errors import InvalidRequest
from openrft.types import Completion, Example, FinishReason, Sample

_THINK, _END_THINK = "<think>", "</think>"


def render_prompt(
    tokenizer: Any,
    messages: list[dict[str, Any]],
    *,
    reasoning_effort: str = "default",
    tools: list[dict[str, Any]] | None = None,
) -> list[int]:
    """Token ids ``[P]`` of a conversation up to where the assistant is to answer, by the model's own chat template.

    ``developer`` is written as ``system``, which is the word chat templates know. Raises :class:`InvalidRequest` when
    the template refuses the conversation.
    """
    spoken, options = template_arguments(messages, reasoning_effort=reasoning_effort, tools=tools)
    try:
        ids = tokenizer.apply_chat_template(
            spoken, add_generation_prompt=True, tokenize=True, return_dict=False, **options
        )
    except Exception as error:  # a template is the model's own Jinja code and may raise anything
        raise InvalidRequest(f"the model's chat template refuses the messages: {error}", param="messages") from error
    return [int(token) for token in ids]


def template_arguments(
    messages: list[dict[str, Any]], *, reasoning_effort: str = "default", tools: list[dict[str, Any]] | None = None
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """(messages, options) as chat templates take them: ``developer`` as ``system``, every content as one text."""
    spoken = [{**message, "role": "system"} if message["role"] == "developer" else message for message in messages]
    spoken = [{**message, "content": _text(message.get("content"))} for message in spoken]
    options: dict[str, Any] = {} if reasoning_effort == "default" else {"reasoning_effort": reasoning_effort}
    if tools:
        options["tools"] = tools
    return spoken, options


def render_example(tokenizer: Any, example: Example, *, reasoning_effort: str = "default") -> list[int]:
    """:func:`render_prompt` of a dataset row, its line named when something is wrong with it."""
    try:
        return render_prompt(tokenizer, example.messages, reasoning_effort=reasoning_effort)
    except InvalidRequest as error:
        raise InvalidRequest(f"line {example.line}: {error.message}", param=error.param) from error


def read_sample(completion: Completion, *, model: str, is_structured: bool = False) -> Sample:
    """What a grader sees of a completion; see :func:`sample_of_text`."""
    return sample_of_text(
        completion.text, finish_reason=completion.finish_reason, model=model, is_structured=is_structured
    )


def count_reasoning_tokens(completion: Completion) -> int:
    """How many of a completion's tokens its thoughts took.

    By their share of its characters, because what was sampled is known by token and the end of the thoughts by text.
    """
    text, num_tokens = completion.text, len(completion.token_ids)
    thoughts, separator, _ = text.partition(_END_THINK)
    if separator:
        return round(num_tokens * len(thoughts + separator) / len(text))
    return num_tokens if text.lstrip().startswith(_THINK) else 0


def sample_of_text(
    text: str, *, finish_reason: FinishReason = "stop", model: str = "", is_structured: bool = False
) -> Sample:
    """What a grader sees of a text.

    A reasoning model's thoughts are no part of its answer: everything up to ``</think>`` goes to ``reasoning_text``. A
    completion that opened its thoughts and was cut before closing them has an empty answer. ``is_structured``: the text
    was sampled under a schema.
    """
    if is_structured and text.startswith("{") and json_or_none(text) is not None:
        # An answer without thoughts, even one that speaks of </think> inside a string.
        return _sample(text, "", finish_reason, model, is_structured)
    reasoning, separator, answer = text.partition(_END_THINK)
    if separator:
        reasoning, answer = reasoning.removeprefix(_THINK).strip(), answer.lstrip("\n ")
    elif text.lstrip().startswith(_THINK):
        reasoning, answer = text.lstrip().removeprefix(_THINK).strip(), ""
    else:
        reasoning, answer = "", text
    return _sample(answer, reasoning, finish_reason, model, is_structured)


def _sample(answer: str, reasoning: str, finish_reason: FinishReason, model: str, is_structured: bool) -> Sample:
    return Sample(
        output_text=answer,
        output_json=json_or_none(answer),
        reasoning_text=reasoning or None,
        finish_reason=finish_reason,
        model=model,
        is_structured=is_structured,
    )


def json_or_none(text: str) -> Any:
    """The object or array that ``text`` spells in JSON, else None: a bare number or string is just an answer."""
    stripped = text.strip()
    if not stripped.startswith(("{", "[")):
        return None
    try:
        return json.loads(stripped, parse_constant=_refuse_number, parse_float=_finite_float)
    except (ValueError, RecursionError):
        return None


def _refuse_number(text: str) -> float:
    """NaN and Infinity are Python's, not JSON's; a grade that is sent on as JSON cannot hold them."""
    raise ValueError(f"{text} is not a number of JSON")


def _finite_float(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _refuse_number(text)


def _text(content: Any) -> str:
    """A message's content as one string; the dataset has refused parts that are not text."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    return "".join(part if isinstance(part, str) else part["text"] for part in content)
