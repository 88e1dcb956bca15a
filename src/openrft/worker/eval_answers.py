"""One row of a run → what graders see and what the wire shows: sampled from a model, or as the row itself holds it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from openrft.config.evals import SampledRun, TemplateMessages, content_text
from openrft.errors import GraderError, InvalidRequest, OpenRFTError, TooManyRequests, Unavailable
from openrft.rollout.prompt import json_or_none
from openrft.serving.client import ServingClient
from openrft.serving.protocol import Answer, Ask, ModelPlace, Piece, Usage, collect
from openrft.store.evals_rows import ModelUsage
from openrft.template import Template
from openrft.types import Sample
from openrft.worker.source_rows import EvalSourceRow

PATIENCE_SECONDS = 600.0
"""How long a run waits for a model that is starting, restarting or busy, since its last answer."""

DEFAULT_SEED = 42
"""OpenAI's."""


class Halted(Exception):
    """The run is no longer to be worked on."""


@dataclass(frozen=True, slots=True)
class SeenSample(Sample):
    """A sample whose namespace is given as it is, tool calls included."""

    namespace: Mapping[str, Any] = field(default_factory=dict)

    def as_namespace(self) -> dict[str, Any]:
        """See :meth:`openrft.types.Sample.as_namespace`."""
        return dict(self.namespace)


@dataclass(frozen=True, kw_only=True, slots=True)
class Answered:
    """``sample`` for graders, ``wire`` for the output item. An ``error`` means that there is nothing to grade."""

    sample: Sample
    wire: dict[str, Any]
    usage: Mapping[str, ModelUsage] = field(default_factory=dict)
    error: str | None = None


@dataclass(kw_only=True, slots=True)
class Sampler:
    """Answers rows with a model, several at a time."""

    serving: ServingClient
    place: ModelPlace
    data: SampledRun
    halted: threading.Event
    patience_seconds: float = PATIENCE_SECONDS
    heard_at: float = field(default_factory=time.monotonic)  # when the model last answered

    def answer(self, row: EvalSourceRow) -> Answered:
        """The model's answer to a row, or why it has none.

        Raises :class:`Halted` soon after ``halted`` is set, and what keeps the model from answering at all
        (:class:`Unavailable`, :class:`TooManyRequests`) once patience is at its end.
        """
        wire = self._empty_wire()
        try:
            messages = messages_of(self.data, row.item)
            wire["input"] = [{"role": str(one["role"]), "content": _text(one.get("content"))} for one in messages]
            answers, usage = self._complete(self._ask(messages))
        except (Unavailable, TooManyRequests):
            raise
        except OpenRFTError as error:
            wire["error"] = {"code": error.code, "message": error.message}
            return Answered(sample=Sample(output_text=""), wire=wire, error=error.message)
        answer = answers[0] if answers else Answer()
        name = self.data.model
        spent = ModelUsage(
            invocations=1,
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            cached_tokens=usage.cached_tokens,
        )
        wire["output"] = [{"role": "assistant", "content": answer.text, "tool_calls": _calls(answer) or None}]
        wire["finish_reason"] = answer.finish_reason or "stop"
        wire["usage"] = _usage(spent)
        return Answered(sample=self._seen(answer), wire=wire, usage={name: spent})

    def _ask(self, messages: list[dict[str, Any]]) -> Ask:
        options = self.data.sampling_params
        asked = Ask(model=self.place, messages=messages, seed=DEFAULT_SEED)
        if options is None:
            return asked
        return replace(
            asked,
            tools=options.chat_tools or None,
            max_tokens=options.max_completion_tokens,
            temperature=1.0 if options.temperature is None else options.temperature,
            top_p=1.0 if options.top_p is None else options.top_p,
            seed=DEFAULT_SEED if options.seed is None else options.seed,
            response_format=options.response_format,
            reasoning_effort=options.reasoning_effort,
        )

    def _complete(self, ask: Ask) -> tuple[list[Answer], Usage]:
        while True:
            try:
                answers = collect(self._until_halted(ask))
                self.heard_at = time.monotonic()
                return answers
            except (Unavailable, TooManyRequests) as error:
                if time.monotonic() - self.heard_at > self.patience_seconds:
                    raise
                if self.halted.wait(min(5.0, float(error.retry_after))):
                    raise Halted from None

    def _until_halted(self, ask: Ask) -> Iterator[Piece]:
        for piece in self.serving.complete(ask):
            if self.halted.is_set():
                raise Halted
            yield piece

    def _empty_wire(self) -> dict[str, Any]:
        options = self.data.sampling_params
        asked = self._ask([])
        return {
            "input": [],
            "output": [],
            "finish_reason": None,
            "model": self.data.model,
            "usage": _usage(ModelUsage()),
            "error": None,
            "temperature": asked.temperature,
            "max_completion_tokens": None if options is None else options.max_completion_tokens,
            "top_p": asked.top_p,
            "seed": asked.seed,
        }

    def _seen(self, answer: Answer) -> SeenSample:
        options = self.data.sampling_params
        calls = _calls(answer)
        message = {
            "role": "assistant",
            "content": answer.text,
            "refusal": answer.refusal or None,
            "tool_calls": calls or None,
        }
        namespace: dict[str, Any] = {
            "model": self.data.model,
            "choices": [{"index": 0, "message": message, "finish_reason": answer.finish_reason or "stop"}],
            "output_text": answer.text,
            "output_tools": calls,
            "output_reasoning_summary": answer.reasoning or None,
            "output_audio": None,
            "input_tools": [] if options is None else options.chat_tools,
        }
        parsed = json_or_none(answer.text)
        wanted = None if options is None else options.response_format
        # Where JSON was asked for it is there in any case; else only where the answer happens to be JSON.
        if parsed is not None or (wanted is not None and wanted.get("type") != "text"):
            namespace["output_json"] = parsed
        return SeenSample(output_text=answer.text, output_json=parsed, model=self.data.model, namespace=namespace)


def recorded_answer(row: EvalSourceRow) -> Answered:
    """The sample that the row itself holds, whatever of it is there; nothing is sampled."""
    given = row.sample or {}
    choice = _first(given.get("choices"))
    message = choice.get("message")
    message = message if isinstance(message, dict) else {}
    text = given.get("output_text", message.get("content"))
    text = text if isinstance(text, str) else ""
    calls = given.get("output_tools", message.get("tool_calls")) or []
    model = str(given.get("model") or "")
    wire: dict[str, Any] = {
        "input": [],
        "output": [{"role": "assistant", "content": text, "tool_calls": calls or None}] if row.sample else [],
        "finish_reason": choice.get("finish_reason"),
        "model": model,
        "usage": _usage(ModelUsage()),
        "error": None,
        **dict.fromkeys(("temperature", "max_completion_tokens", "top_p", "seed")),
    }
    if row.sample is None:  # graders that read only the item still work; the others say what they miss
        return Answered(sample=SeenSample(output_text="", namespace={}), wire=wire)
    seen = {"output_text": text, "output_tools": calls, **given}
    parsed = given.get("output_json", json_or_none(text))
    if parsed is not None:
        seen["output_json"] = parsed
    sample = SeenSample(output_text=text, output_json=parsed, model=model, namespace=seen)
    return Answered(sample=sample, wire=wire)


def messages_of(data: SampledRun, item: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The conversation that a row becomes. Raises :class:`InvalidRequest` that says what the row lacks."""
    namespaces = {"item": item}
    if isinstance(data.input_messages, TemplateMessages):
        try:
            return [
                {"role": message.role, "content": Template.parse(content_text(message)).render(namespaces)}
                for message in data.input_messages.template
            ]
        except GraderError as error:
            raise InvalidRequest(error.message, param="data_source.input_messages", code="invalid_eval_data") from None
    reference = data.input_messages.item_reference
    (variable,) = Template.parse(f"{{{{{reference}}}}}").variables
    try:
        found = variable.look_up(namespaces)
    except GraderError as error:
        raise InvalidRequest(error.message, param="data_source.input_messages", code="invalid_eval_data") from None
    if isinstance(found, str):
        return [{"role": "user", "content": found}]
    if not isinstance(found, list) or not found or not all(_is_message(one) for one in found):
        message = f"{reference} is not a list of messages, each with a role"
        raise InvalidRequest(message, param="data_source.input_messages", code="invalid_eval_data")
    return [{key: value for key, value in one.items() if value is not None and key != "weight"} for one in found]


def _is_message(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("role"), str)


def _first(choices: Any) -> dict[str, Any]:
    return choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}


def _calls(answer: Answer) -> list[dict[str, Any]]:
    return [
        {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        for call in answer.tool_calls
    ]


def _text(content: Any) -> str:
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return "" if content is None else str(content)


def _usage(spent: ModelUsage) -> dict[str, int]:
    return {
        "total_tokens": spent.prompt_tokens + spent.completion_tokens,
        "completion_tokens": spent.completion_tokens,
        "prompt_tokens": spent.prompt_tokens,
        "cached_tokens": spent.cached_tokens,
    }
