"""A wave: completions that are decoded together, from their prompts' prefill until the last one is finished.

    prefill     every prompt once                       → logits of its completions' first tokens
    repeat      draw one token per row → finished rows become completions → forward all rows by one token
    compact     when enough rows have finished, the others go on without them

Where logits come from is the decoding's matter (see decoding.py); here tokens are drawn and completions end.

The loop does no Python work per row except for rows that finish (and rows with stop strings, whose text is
followed).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from openrft.errors import EngineError
from openrft.rollout.constraint import Matcher, SchemaCompiler
from openrft.rollout.decoding import Decoding
from openrft.rollout.noise import completion_keys, uniforms
from openrft.rollout.sampling import draw
from openrft.rollout.stops import StopWatch
from openrft.types import Completion, FinishReason, GenerationRequest

NOISE_BLOCK = 64
"""Positions whose random numbers are computed at once."""

COMPACT_SHARE = 16
"""Compact when one row in so many has finished. Between 8 and 64 it makes no difference; never costs twice as much."""

GPU_COMPACT_SHARE = 4
"""The same on a GPU, where a row more costs little and other shapes a new graph."""


@dataclass(frozen=True, slots=True)
class Member:
    """Completions of one request."""

    request: GenerationRequest
    samples: Sequence[int]  # sample indices, counted as the noise counts them


@dataclass(slots=True)
class Row:
    """One completion being sampled."""

    request: GenerationRequest
    sample: int
    watch: StopWatch | None
    matcher: Matcher | None = None  # where the answer has a schema
    text: str | None = None  # set when a stop string was completed


Begin = Callable[[list[list[int]], list[int], int], Decoding]
"""A decoding of prompts, with how many rows of each, and at most how many tokens."""


class Wave:
    """Decodes its members' completions; all of them share temperature and top-p."""

    def __init__(
        self,
        members: Sequence[Member],
        begin: Begin,
        tokenizer: Any,
        stop_ids: Tensor,
        version: int,
        compiler: SchemaCompiler,
    ) -> None:
        self._members = sorted(members, key=lambda member: len(member.request.prompt_token_ids))
        self._tokenizer = tokenizer
        self._stop_ids = stop_ids  # [E]
        self._version = version
        self._compiler = compiler
        self._sampling = self._members[0].request.sampling
        self._rows = [self._row(member, sample) for member in self._members for sample in member.samples]
        self._keys = np.concatenate([completion_keys(m.request.noise, list(m.samples)) for m in self._members])
        device, size = stop_ids.device, len(self._rows)
        limits = [row.request.sampling.max_tokens for row in self._rows]
        self._steps = max(limits)
        self._limit_values = frozenset(limits)
        self._step = 0  # tokens drawn so far in every row
        self._limits = torch.tensor(limits, device=device)  # [R]
        self._live = torch.ones(size, dtype=torch.bool, device=device)
        self._num_live = size
        self._watching = any(row.watch for row in self._rows)
        self._has_schemas = any(row.matcher is not None for row in self._rows)
        self._tokens = torch.empty(size, self._steps, dtype=torch.long, device=device)
        self._logprobs = torch.empty(size, self._steps, dtype=torch.float32, device=device)
        self._uniforms = torch.empty(0)  # [R, NOISE_BLOCK]
        prompts = [member.request.prompt_token_ids for member in self._members]
        self._decoding = begin(prompts, [len(member.samples) for member in self._members], self._steps)

    @property
    def is_finished(self) -> bool:
        """No completion is left to sample."""
        return self._num_live == 0

    def advance(self) -> list[Completion]:
        """Draw tokens until at least one completion is finished, and return those that are."""
        while True:
            if self._step:
                logits = self._decoding.next_logits(self._tokens[:, self._step - 1])
            else:
                logits = self._decoding.read_prompts()
            finished = self._draw(logits)
            if finished:
                share = COMPACT_SHARE if logits.device.type == "cpu" else GPU_COMPACT_SHARE
                if not self.is_finished and (len(self._rows) - self._num_live) * share >= len(self._rows):
                    self._compact()
                return finished

    def _row(self, member: Member, sample: int) -> Row:
        request, sampling = member.request, member.request.sampling
        watch = StopWatch(sampling.stop, self._tokenizer) if sampling.stop else None
        matcher = sampling.json_schema and self._compiler.start(sampling.json_schema, request.prompt_token_ids)
        return Row(request, sample, watch, matcher or None)

    def _draw(self, logits: Tensor) -> list[Completion]:
        """Draw each row's next token; returns the completions that it finishes."""
        temperature, top_p = self._sampling.temperature, self._sampling.top_p
        place = self._step % NOISE_BLOCK
        if place == 0:
            block = uniforms(self._keys, range(self._step, self._step + NOISE_BLOCK))
            self._uniforms = torch.from_numpy(block).to(logits.device)
        if self._has_schemas:  # here, because an accelerator is still busy with the forward pass meanwhile
            logits = self._compiler.restrict(logits, [row.matcher for row in self._rows])
        tokens, logprobs = draw(logits, self._uniforms[:, place], temperature=temperature, top_p=top_p)
        self._tokens[:, self._step] = tokens
        self._logprobs[:, self._step] = logprobs
        self._step += 1
        broken = torch.isnan(logprobs)
        stopped = (tokens.unsqueeze(1) == self._stop_ids).any(dim=1)
        ended = stopped | broken
        if self._step in self._limit_values:
            ended |= self._limits == self._step
        if self._watching:
            self._follow_texts(tokens, ended)
        ended &= self._live
        if self._has_schemas:
            self._follow_answers(tokens, self._live & ~ended)
        slots = ended.nonzero().flatten().tolist()  # the only wait for the device in a step
        if not slots:
            return []
        if bool((broken & self._live).any()):
            raise EngineError(_nan_message(self._step, self._version))
        reasons = stopped.tolist()
        self._live &= ~ended
        self._num_live -= len(slots)
        return [self._completion(slot, "stop" if reasons[slot] else "length") for slot in slots]

    def _follow_texts(self, tokens: Tensor, ended: Tensor) -> None:
        """Mark rows in ``ended`` whose text now contains one of their stop strings."""
        for slot, (row, token_id, live) in enumerate(
            zip(self._rows, tokens.tolist(), self._live.tolist(), strict=True)
        ):
            if live and row.watch is not None:
                row.text = row.watch.push(token_id)
                if row.text is not None:
                    ended[slot] = True

    def _follow_answers(self, tokens: Tensor, going_on: Tensor) -> None:
        """Tell the matchers of the rows that go on their newest token; the others need none any more."""
        drawn = []
        for row, token_id, goes_on in zip(self._rows, tokens.tolist(), going_on.tolist(), strict=True):
            if not goes_on:
                row.matcher = None
            elif row.matcher is not None:
                drawn.append((row.matcher, token_id))
        self._compiler.follow(drawn)

    def _completion(self, slot: int, reason: FinishReason) -> Completion:
        row = self._rows[slot]
        token_ids = self._tokens[slot, : self._step].tolist()
        cut = row.text
        return Completion(
            request_id=row.request.id,
            sample_index=row.sample,
            token_ids=token_ids,
            sampling_logprobs=self._logprobs[slot, : self._step].tolist(),
            text=self._tokenizer.decode(token_ids, skip_special_tokens=True) if cut is None else cut,
            finish_reason=reason if cut is None else "stop",
            policy_version=self._version,
        )

    def _compact(self) -> None:
        """Go on without the rows that have finished."""
        order = self._decoding.compact(self._live.tolist())
        self._rows = [self._rows[row] for row in order]
        self._keys = self._keys[order]
        of = torch.tensor(order, device=self._live.device)
        for name in ("_tokens", "_logprobs", "_limits", "_live", "_uniforms"):
            setattr(self, name, getattr(self, name)[of])


def _nan_message(step: int, version: int) -> str:
    return (
        f"the model gave NaN logits for token {step} of a completion (policy version {version}): its weights "
        "are NaN or its numbers overflow. Nothing was sampled from them; "
        "lower the learning rate or use float32"
    )
