"""Generation in this process, from the policy's own tensors: ``NativeEngine(model, tokenizer)``.

    requests → checked → cut into waves of at most ``max_rows`` completions → each wave decoded (see wave.py)

The engine computes with the parameters that are being trained, so sampling and training see the same weights: an
optimizer step is seen by the next wave. What it adds is the key/value cache, one prefill per prompt for its whole
group, and sampling by named noise. Results do not depend on the waves: batching changes logits only by float rounding
(about 1e-6), which can move a token only where two lie that close together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from openrft.errors import EngineError, InvalidRequest
from openrft.models.decoder import Decoder, GroupCache
from openrft.models.memory import is_out_of_memory, release_memory, total_bytes
from openrft.rollout.constraint import SchemaCompiler
from openrft.rollout.decoding import Decoding, TransformersDecoding
from openrft.rollout.forward import PolicyForward
from openrft.rollout.wave import Member, Wave
from openrft.types import Completion, GenerationRequest

DEFAULT_ROWS = {"cpu": 256, "accelerator": 512}
"""Rows decoded together unless memory allows fewer. On a CPU a token costs 8 % less at 256 rows than 128."""

CACHE_SHARE = 0.125
"""Share of the machine's memory that one wave's cache may take; trainer and graders live beside it."""


class NativeEngine:
    """An :class:`openrft.types.Engine` that samples from a transformers model, plain or wrapped by PEFT.

    ``max_rows`` bounds the completions decoded together; by default 256 on a CPU and 512 on an accelerator,
    and fewer where an eighth of the device's memory does not hold their cache. ``version`` counts the
    steps behind the weights. A completion ends at any end-of-text id that the model's generation
    config or the tokenizer names. With ``decoder``, the model's own (see :mod:`openrft.models.decoder`), every prompt
    is stored once for its group and logits are computed in the decoder's type; without, transformers computes them,
    under ``autocast`` where that is given. A wave that memory does not hold is begun anew with half of its rows, all
    later ones have as many at most, and ``tell`` is told.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        max_rows: int | None = None,
        version: int = 0,
        decoder: Decoder | None = None,
        autocast: torch.dtype | None = None,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        if max_rows is not None and max_rows < 1:
            raise InvalidRequest(f"max_rows is {max_rows}; it must be at least 1", param="max_rows")
        self._forward = PolicyForward(model, autocast)
        self._decoder = decoder
        self._tokenizer = tokenizer
        self._max_rows = max_rows
        self._tell = tell
        self._version = version
        self._stop_ids = stop_ids_of(model, tokenizer)
        self._compiler = schema_compiler(model, tokenizer)

    def generate(self, requests: Sequence[GenerationRequest]) -> Iterator[Completion]:
        """Yield every completion of every request, each as soon as it is finished.

        Wrong requests are refused here, before anything is sampled. The model is in evaluation mode only
        while the iterator computes, not between two completions.
        """
        for request in requests:
            self._check(request)
        return self._generate(list(requests))

    def load_weights(self, version: int) -> None:
        """Record the version: tensors are shared, and no prompt state outlives a call of ``generate``."""
        self._version = version

    def _generate(self, requests: list[GenerationRequest]) -> Iterator[Completion]:
        for members in self._plan(requests):
            yield from self._decode(members)

    def _decode(self, members: list[Member]) -> Iterator[Completion]:
        """The completions of a wave, or of smaller ones where memory does not hold it.

        A smaller wave begins anew with what has not been yielded. A completion's tokens depend on its noise and not on
        who is beside it, so they are those that it had.
        """
        wave: Wave | None = None
        done: set[tuple[int, int]] = set()
        while wave is None or not wave.is_finished:
            finished: list[Completion] | None = None
            try:
                wave = wave or self._wave(members)
                with self._forward.computing():
                    finished = wave.advance()
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
            if finished is None:  # outside of the handler, which would hold on to what is to be given back
                wave = None
                release_memory()
                for fewer in self._fewer_rows(members, done):
                    yield from self._decode(fewer)
                return
            done |= {(completion.request_id, completion.sample_index) for completion in finished}
            yield from finished

    def _wave(self, members: list[Member]) -> Wave:
        stop_ids = torch.tensor(self._stop_ids, dtype=torch.long, device=self._forward.device)
        if self._decoder is not None:
            self._decoder.refresh()
        return Wave(members, self._begin, self._tokenizer, stop_ids, self._version, self._compiler)

    def _fewer_rows(self, members: list[Member], done: set[tuple[int, int]]) -> Iterator[list[Member]]:
        """What is left of a wave that did not fit, in waves of half its rows, as are all from now on."""
        num_rows = sum(len(member.samples) for member in members)
        if num_rows == 1:
            request = members[0].request
            raise EngineError(
                f"a completion of {request.sampling.max_tokens} tokens after a prompt of "
                f"{len(request.prompt_token_ids)} does not fit into memory beside the model; lower "
                "max_completion_tokens, shorten the prompts or take a smaller model",
                code="out_of_memory",
            )
        self._max_rows = num_rows // 2
        if self._tell is not None:
            words = f"{num_rows} completions at once did not fit into memory"
            self._tell(f"{words}; {self._max_rows} at once from here on")
        left = [
            Member(member.request, rest)
            for member in members
            if (rest := [sample for sample in member.samples if (member.request.id, sample) not in done])
        ]
        while left:
            room, wave = self._max_rows, list[Member]()  # which may have fallen again meanwhile
            while left and room:
                request, samples = left[0].request, left[0].samples
                wave.append(Member(request, samples[:room]))
                left[:1] = [Member(request, samples[room:])] if len(samples) > room else []
                room -= len(wave[-1].samples)
            yield wave

    def _begin(self, prompts: list[list[int]], counts: list[int], max_tokens: int) -> Decoding:
        if self._decoder is not None:
            return GroupCache(self._decoder, prompts, counts, max_tokens)
        return TransformersDecoding(self._forward, prompts, counts, max_tokens)

    def _plan(self, requests: list[GenerationRequest]) -> Iterator[list[Member]]:
        """Cut into waves: same temperature and top-p, similar prompt lengths, at most as many rows as fit."""

        def kind(request: GenerationRequest) -> tuple[float, float]:
            return request.sampling.temperature, request.sampling.top_p

        members: list[Member] = []
        rows = 0
        for request in sorted(requests, key=lambda r: (kind(r), -len(r.prompt_token_ids), -r.sampling.max_tokens)):
            if members and kind(members[0].request) != kind(request):
                yield members
                members, rows = [], 0
            samples = range(request.first_sample, request.first_sample + request.num_samples)
            while samples:
                # Lengths fall, so the wave's first request has its longest prompt; the longest answer may
                # come later.
                longest = [member.request for member in members] + [request]
                room = self._rows_that_fit(longest) - rows
                if room > 0:
                    members.append(Member(request, samples[:room]))
                    rows += len(samples[:room])
                    samples = samples[room:]
                if samples:
                    yield members
                    members, rows = [], 0
        if members:
            yield members

    def _rows_that_fit(self, requests: list[GenerationRequest]) -> int:
        """Rows of a wave of these: ``max_rows``, or the default where memory holds their cache."""
        if self._max_rows is not None:
            return self._max_rows
        device = self._forward.device
        rows = DEFAULT_ROWS["cpu" if device.type == "cpu" else "accelerator"]
        columns = max(len(r.prompt_token_ids) for r in requests) + max(r.sampling.max_tokens for r in requests)
        row_bytes = self._forward.token_bytes * columns
        return max(1, min(rows, int(CACHE_SHARE * total_bytes(device)) // row_bytes))

    def _check(self, request: GenerationRequest) -> None:
        """Refuse what cannot be sampled, naming the field, the value and the fix."""
        sampling, prompt = request.sampling, len(request.prompt_token_ids)
        if not prompt:
            raise InvalidRequest(
                f"the prompt of request {request.id} is empty; give at least one token", param="messages"
            )
        if request.num_samples < 1:
            raise InvalidRequest(f"num_samples is {request.num_samples}; it must be at least 1", param="num_samples")
        if sampling.max_tokens < 1:
            raise InvalidRequest(f"max_tokens is {sampling.max_tokens}; it must be at least 1", param="max_tokens")
        if not (math.isfinite(sampling.temperature) and sampling.temperature >= 0):
            raise InvalidRequest(f"temperature is {sampling.temperature}; it must be 0 or more", param="temperature")
        if not 0 < sampling.top_p <= 1:
            raise InvalidRequest(f"top_p is {sampling.top_p}; it must be above 0 and at most 1", param="top_p")
        if "" in sampling.stop:
            raise InvalidRequest("a stop string is empty; leave it out", param="stop")
        size = self._forward.vocabulary_size
        wrong = [token for token in request.prompt_token_ids if not 0 <= token < size]
        if wrong:
            raise InvalidRequest(
                f"the prompt of request {request.id} holds token id {wrong[0]}, but the model's ids are "
                f"0 to {size - 1}; use the tokenizer that belongs to the model",
                param="messages",
            )
        self._check_context(prompt, sampling.max_tokens)
        if sampling.json_schema is not None:
            self._compiler.start(sampling.json_schema, request.prompt_token_ids)

    def _check_context(self, prompt: int, max_tokens: int) -> None:
        context = getattr(self._forward.config, "max_position_embeddings", None)
        if context is None or prompt + max_tokens <= context:
            return
        if prompt >= context:
            raise InvalidRequest(
                f"the prompt has {prompt} tokens and leaves no room in the model's context of {context}; shorten it",
                param="messages",
            )
        raise InvalidRequest(
            f"the prompt has {prompt} tokens and max_tokens is {max_tokens}, together {prompt + max_tokens}, "
            f"but the model's context is {context}; set max_tokens to at most {context - prompt} or shorten "
            "the prompt",
            param="max_tokens",
        )


def stop_ids_of(model: Any, tokenizer: Any) -> list[int]:
    """Every id that ends a completion, by the model's generation config or the tokenizer."""
    named = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    ids = {*(named if isinstance(named, list | tuple) else [named]), getattr(tokenizer, "eos_token_id", None)}
    return sorted(int(token) for token in ids if token is not None)


def schema_compiler(model: Any, tokenizer: Any) -> SchemaCompiler:
    """What holds the answers of ``model`` to schemas."""
    vocabulary_size = int(model.get_input_embeddings().weight.shape[0])
    return SchemaCompiler(tokenizer, vocabulary_size=vocabulary_size, stop_ids=stop_ids_of(model, tokenizer))
