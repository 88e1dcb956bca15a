"""``random``: a reward that means nothing, ours and not OpenAI's.

It is the control arm of an experiment: what improves under it as well does not come from the grader.
"""

from __future__ import annotations

import hashlib
import json

from openrft.config.graders import RandomSpec
from openrft.graders.base import OneByOne, Scored, name_of
from openrft.types import GradingRequest


def build_random(spec: RandomSpec, where: str, key: str | None = None) -> OneByOne:
    """Uniform in [0, 1), drawn anew for every rollout, and the same again for the same rollout of a resumed run.

    Were it a function of the item and the answer, equal answers would always get equal rewards: something to learn.
    """

    def score(request: GradingRequest) -> Scored:
        named = [spec.seed, request.noise, dict(request.item), request.sample.output_text]
        digest = hashlib.sha256(json.dumps(named, sort_keys=True).encode()).digest()
        # 53 bits are what a float holds exactly, so 1.0 is never reached by rounding.
        return Scored((int.from_bytes(digest[:8], "big") >> 11) / 2**53, f"random, seed {spec.seed}")

    return OneByOne(name_of(spec, key), score, spec.invalid_grade)
