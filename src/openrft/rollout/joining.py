"""A wave that completions join and leave while others are being decoded: for serving, where nobody waits for the
slowest.

    join      prompts are read in a forward of their own → first tokens
    step      feed every row's newest token → next tokens, one per row
    leave     rows whose text is complete, or that nobody waits for any more

Forward pass, cache layout, noise and drawing are those of :class:`~openrft.rollout.wave.Wave`, so a row gets the same
tokens as from the native engine, whoever else is in the wave; other rows change logits by float rounding only. Rows may
differ in temperature and top-p. Stop strings are the caller's affair: it follows the texts anyway.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from openrft.models.decoder.cache import PREFILL_TOKENS
from openrft.rollout.constraint import Matcher, SchemaCompiler, StuckAnswers
from openrft.rollout.decoding import prefill_prompts
from openrft.rollout.forward import PolicyForward
from openrft.rollout.joining_cache import JoiningCache
from openrft.rollout.kv_cache import DecodeMask
from openrft.rollout.noise import completion_keys, uniforms
from openrft.rollout.sampling import draw
from openrft.rollout.wave import NOISE_BLOCK
from openrft.types import FinishReason, GenerationRequest


@dataclass(eq=False, kw_only=True, slots=True)
class LiveRow:
    """One completion being sampled."""

    request: GenerationRequest
    sample: int
    rivals: int | None = None  # how many likely tokens to name beside each one drawn; None: not even its own score
    matcher: Matcher | None = None  # where the answer has a schema
    token_ids: list[int] = field(default_factory=list)
    _key: NDArray[Any] = field(init=False)
    _block: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._key = completion_keys(self.request.noise, [self.sample])

    @property
    def num_stored(self) -> int:
        """Tokens whose keys and values are in the cache: all but the newest."""
        return len(self.request.prompt_token_ids) + max(0, len(self.token_ids) - 1)

    def next_uniform(self) -> float:
        """The random number of the token drawn next."""
        position = len(self.token_ids)
        if position % NOISE_BLOCK == 0:
            self._block = uniforms(self._key, range(position, position + NOISE_BLOCK))[0].tolist()
        return self._block[position % NOISE_BLOCK]


@dataclass(frozen=True, slots=True)
class TokenScores:
    """Log-probabilities under the model itself: temperature 1, nothing forbidden."""

    logprob: float
    rivals: list[tuple[int, float]]  # (token id, log-probability), most likely first


@dataclass(frozen=True, slots=True)
class Drawn:
    """A row's newest token. One with a ``finish_reason`` or a ``problem`` has left the wave."""

    row: LiveRow
    token_id: int
    logprob: float  # of the distribution that was sampled
    finish_reason: FinishReason | None
    problem: str | None = None  # why there is no answer: the token means nothing
    scores: TokenScores | None = None


class JoiningWave:
    """Decodes whatever rows are in it; call it under ``torch.no_grad`` with the model in evaluation mode."""

    def __init__(self, forward: PolicyForward, stop_ids: Sequence[int], compiler: SchemaCompiler | None = None) -> None:
        self._forward = forward
        self._compiler = compiler  # of the schemas that the rows' matchers are from
        self._stop_ids = frozenset(stop_ids)
        self._rows: list[LiveRow] = []
        self._cache = JoiningCache(forward.config)
        self._mask: DecodeMask | None = None  # of the rows and columns as they are; None when they have changed

    @property
    def rows(self) -> Sequence[LiveRow]:
        """Who is in the wave."""
        return self._rows

    @property
    def num_bytes(self) -> int:
        """Memory of the cache."""
        return self._cache.num_bytes

    @property
    def growth(self) -> int:
        """How many bytes more, or fewer, the cache takes after the next step."""
        return self._cache.growth(self._longest())

    @property
    def num_slots(self) -> int:
        """Rows that the cache has memory for."""
        return self._cache.slots

    def join(self, joining: Sequence[LiveRow]) -> list[Drawn]:
        """Read the prompts of new rows and draw their first tokens. Rows of one request share its prompt's reading."""
        ordered = sorted(joining, key=lambda row: len(row.request.prompt_token_ids))
        groups: list[list[LiveRow]] = []
        for row in ordered:
            if groups and groups[-1][0].request is row.request:
                groups[-1].append(row)
            else:
                groups.append([row])
        logits = [self._prefill(chunk) for chunk in _chunks(groups)]
        return self._draw(ordered, torch.cat(logits)) if logits else []

    def step(self) -> list[Drawn]:
        """Feed every row's newest token and draw the next one of each."""
        if not self._rows:
            return []
        if self._cache.make_column(self._longest()):
            self._mask = None
        device = self._forward.device
        mask = self._decode_mask().at(self._cache.columns.length)
        newest = torch.tensor([[row.token_ids[-1]] for row in self._rows], device=device)
        positions = torch.tensor([[row.num_stored] for row in self._rows], device=device)
        logits = self._forward.last_logits(newest, mask, positions, self._cache)
        self._cache.advance()
        return self._draw(list(self._rows), logits)

    def leave(self, leaving: Sequence[LiveRow]) -> None:
        """Take rows out; those that are not in it are fine."""
        gone = set(map(id, leaving))
        kept = [place for place, row in enumerate(self._rows) if id(row) not in gone]
        if len(kept) == len(self._rows):
            return
        # The last rows fill the holes, so that few are copied.
        holes = [place for place in range(len(kept)) if id(self._rows[place]) in gone]
        order = list(range(len(kept)))
        for hole, row in zip(holes, kept[len(kept) - len(holes) :], strict=True):
            order[hole] = row
        self._rows = [self._rows[place] for place in order]
        self._cache.close_rows(order, self._longest())
        self._mask = None

    def _longest(self) -> int:
        return max((row.num_stored for row in self._rows), default=0)

    def _prefill(self, groups: list[list[LiveRow]]) -> Tensor:
        """Logits ``[rows, V]`` of the first tokens of some prompts' rows, which are in the wave from now on."""
        rows = [row for group in groups for row in group]
        prompts = [group[0].request.prompt_token_ids for group in groups]
        width = max(map(len, prompts))
        first = self._cache.open_rows(len(rows), width, self._longest())
        self._mask = None
        device = self._forward.device
        sizes = torch.tensor([len(group) for group in groups], device=device)
        source = torch.repeat_interleave(torch.arange(len(groups), device=device), sizes)
        self._cache.begin_chunk(slice(first, first + len(rows)), source)
        try:
            logits = prefill_prompts(self._forward, prompts, self._cache)
        finally:
            self._cache.end_prefill()
        self._rows += rows
        return logits.index_select(0, source)

    def _decode_mask(self) -> DecodeMask:
        if self._mask is None:
            columns = self._cache.columns
            padding = torch.tensor([columns.length - row.num_stored for row in self._rows], device=self._forward.device)
            self._mask = DecodeMask(
                self._forward.config,
                padding,
                columns.capacity,
                self._forward.dtype,
                ready_made=self._forward.takes_ready_masks,
            )
        return self._mask

    def _draw(self, rows: list[LiveRow], logits: Tensor) -> list[Drawn]:
        """Draw the next token of each row from its logits ``[rows, V]``; rows that end leave the wave."""
        kinds: dict[tuple[float, float], list[int]] = {}
        for place, row in enumerate(rows):
            kinds.setdefault((row.request.sampling.temperature, row.request.sampling.top_p), []).append(place)
        results: dict[int, tuple[int, float]] = {}
        allowed, stuck = self._restrict(rows, logits)
        for (temperature, top_p), places in kinds.items():
            part = allowed if len(kinds) == 1 else allowed[torch.tensor(places, device=logits.device)]
            numbers = [rows[place].next_uniform() for place in places]
            uniform = torch.tensor(numbers, dtype=torch.float64, device=logits.device)
            tokens, logprobs = draw(part, uniform, temperature=temperature, top_p=top_p)
            results |= zip(places, zip(tokens.tolist(), logprobs.tolist(), strict=True), strict=True)
        scores = _scores(rows, logits, {place: token_id for place, (token_id, _) in results.items()})
        drawn = [
            self._drawn(row, *results[place], scores.get(place), stuck.get(place)) for place, row in enumerate(rows)
        ]
        self._follow(drawn)
        self.leave([one.row for one in drawn if one.finish_reason or one.problem])
        return drawn

    def _restrict(self, rows: list[LiveRow], logits: Tensor) -> tuple[Tensor, dict[int, str]]:
        """Logits of what the rows' schemas allow, and which rows they allow nothing any more, with the reason."""
        if self._compiler is None:
            return logits, {}
        matchers = [row.matcher for row in rows]
        try:
            return self._compiler.restrict(logits, matchers), {}
        except StuckAnswers as stuck:
            going_on = [None if place in stuck.reasons else matcher for place, matcher in enumerate(matchers)]
            return self._compiler.restrict(logits, going_on), stuck.reasons

    def _follow(self, drawn: list[Drawn]) -> None:
        """Tell the schemas of the rows that go on their newest token; those that cannot go on get a problem."""
        places = [
            place
            for place, one in enumerate(drawn)
            if one.row.matcher is not None and not (one.finish_reason or one.problem)
        ]
        if self._compiler is None or not places:
            return
        try:
            self._compiler.follow([(drawn[place].row.matcher, drawn[place].token_id) for place in places])
        except StuckAnswers as stuck:
            for number, reason in stuck.reasons.items():
                drawn[places[number]] = replace(drawn[places[number]], problem=reason)

    def _drawn(
        self, row: LiveRow, token_id: int, logprob: float, scores: TokenScores | None, problem: str | None
    ) -> Drawn:
        row.token_ids.append(token_id)
        if math.isnan(logprob):
            problem = "the model gave NaN logits: its weights are NaN or its numbers overflow"
        if problem is not None:
            return Drawn(row, token_id, logprob, None, problem)
        reason: FinishReason | None = None
        if token_id in self._stop_ids:
            reason = "stop"
        elif len(row.token_ids) >= row.request.sampling.max_tokens:
            reason = "length"
        return Drawn(row, token_id, logprob, reason, scores=scores)


def _chunks(groups: list[list[LiveRow]]) -> list[list[list[LiveRow]]]:
    """Groups in order of their prompts' lengths, cut so that a chunk's padded prompts hold few enough tokens."""
    chunks: list[list[list[LiveRow]]] = []
    for group in groups:
        width = len(group[0].request.prompt_token_ids)
        if not chunks or (len(chunks[-1]) + 1) * width > PREFILL_TOKENS:
            chunks.append([])
        chunks[-1].append(group)
    return chunks


def _scores(rows: list[LiveRow], logits: Tensor, token_ids: dict[int, int]) -> dict[int, TokenScores]:
    """What the model itself thinks of the tokens drawn, for the rows that want to know."""
    places = [place for place, row in enumerate(rows) if row.rivals is not None]
    if not places:
        return {}
    logprobs = torch.log_softmax(logits[torch.tensor(places, device=logits.device)].float(), dim=-1)
    drawn = torch.tensor([[token_ids[place]] for place in places], device=logits.device)
    own = logprobs.gather(-1, drawn).squeeze(-1).tolist()
    most = max(rows[place].rivals or 0 for place in places)
    best = logprobs.topk(min(most, logprobs.shape[-1]), dim=-1)
    found = {}
    for place, score, ids, values in zip(places, own, best.indices.tolist(), best.values.tolist(), strict=True):
        count = rows[place].rivals or 0
        found[place] = TokenScores(score, list(zip(ids, values, strict=True))[:count])
    return found
