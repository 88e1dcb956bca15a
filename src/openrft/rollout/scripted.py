"""An engine that answers by script: for tests of everything that uses completions, without a model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from openrft.errors import EngineError
from openrft.rollout.stops import StopWatch
from openrft.types import Completion, FinishReason, GenerationRequest

Script = Mapping[str | Callable[[str], bool], Sequence[str]]


class ScriptedEngine:
    """An :class:`openrft.types.Engine` whose completions are written down.

    ``ScriptedEngine({"2+2=": ["4", "5"]}, tokenizer)`` answers a prompt that contains ``2+2=`` with ``4`` as
    sample 0, ``5`` as sample 1, ``4`` as sample 2 and so on. A key may also be a predicate of the decoded
    prompt; the first key that fits is taken. Texts are tokenized without special tokens, end with the
    tokenizer's end token, and obey ``max_tokens`` and stop strings as a real engine's do. Every token gets
    ``logprob``. ``requests`` keeps all that was asked for.
    """

    def __init__(self, script: Script, tokenizer: Any, *, logprob: float = -1.0, version: int = 0) -> None:
        self.requests: list[GenerationRequest] = []
        self.version = version
        self._script = script
        self._tokenizer = tokenizer
        self._logprob = logprob

    def generate(self, requests: Sequence[GenerationRequest]) -> Iterator[Completion]:
        """Yield every completion of every request, in order."""
        self.requests.extend(requests)
        for request in requests:
            texts = self._texts(request)
            for sample in range(request.first_sample, request.first_sample + request.num_samples):
                yield self._completion(request, sample, texts[sample % len(texts)])

    def load_weights(self, version: int) -> None:
        """From now on completions carry this version."""
        self.version = version

    def _texts(self, request: GenerationRequest) -> Sequence[str]:
        prompt = self._tokenizer.decode(request.prompt_token_ids, skip_special_tokens=False)
        for key, texts in self._script.items():
            if key in prompt if isinstance(key, str) else key(prompt):
                return texts
        raise EngineError(f"the script has no answer for the prompt {prompt!r}; its keys are {list(self._script)}")

    def _completion(self, request: GenerationRequest, sample: int, text: str) -> Completion:
        sampling = request.sampling
        token_ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False)
        if self._tokenizer.eos_token_id is not None:
            token_ids = [*token_ids, self._tokenizer.eos_token_id]
        reason: FinishReason = "stop" if len(token_ids) <= sampling.max_tokens else "length"
        token_ids = token_ids[: sampling.max_tokens]
        cut = None
        if sampling.stop:
            watch = StopWatch(sampling.stop, self._tokenizer)
            for length, token_id in enumerate(token_ids, start=1):
                cut = watch.push(token_id)
                if cut is not None:
                    token_ids, reason = token_ids[:length], "stop"
                    break
        return Completion(
            request_id=request.id,
            sample_index=sample,
            token_ids=token_ids,
            sampling_logprobs=[self._logprob] * len(token_ids),
            text=self._tokenizer.decode(token_ids, skip_special_tokens=True) if cut is None else cut,
            finish_reason=reason,
            policy_version=self.version,
        )
