"""Sampling noise as a function: the same (seed, stream, step, example, sample, position) always gives one
number.

    key of a completion = absorb(seed, stream, step, example, sample)
    uniform at position = mix(key + (position + 1) * GOLDEN) / 2**64, its upper 53 bits

``mix`` is the finalizer of splitmix64 (Steele, Lea and Flood 2014, with Stafford's constants), a bijection on
64-bit integers, so that different positions of one completion never share a hash. Nothing here holds state: a
completion's numbers depend neither on batching nor on what ran before, on this machine or on another. The
values are pinned by a test, because changing them would silently change every run.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from openrft.types import NoiseKey

Keys = NDArray[np.uint64]

_MASK = (1 << 64) - 1
_DOMAIN = 0x6F70656E72667431  # "openrft1": numbers of another scheme would start from another word
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # odd, so that adding its multiples visits every 64-bit value once
_MULTIPLY_1 = np.uint64(0xBF58476D1CE4E5B9)
_MULTIPLY_2 = np.uint64(0x94D049BB133111EB)
_UPPER_53 = np.uint64(11)
_TO_UNIT = 2.0**-53


def completion_keys(noise: NoiseKey, samples: Sequence[int]) -> Keys:
    """One 64-bit key per completion: ``[len(samples)]``."""
    state = np.full(1, _DOMAIN, dtype=np.uint64)
    for word in (noise.seed, noise.stream, noise.step, noise.example):
        state = _absorb(state, np.array([word & _MASK], dtype=np.uint64))
    return _absorb(state, np.array([sample & _MASK for sample in samples], dtype=np.uint64))


def uniforms(keys: Keys, positions: range) -> NDArray[np.float64]:
    """The numbers in [0, 1) for these token positions: ``[R, len(positions)]`` from keys ``[R]``."""
    words = np.array([position & _MASK for position in positions], dtype=np.uint64)
    hashed = _absorb(keys[:, None], words[None, :])
    return (hashed >> _UPPER_53).astype(np.float64) * _TO_UNIT


def _absorb(state: Keys, word: Keys) -> Keys:
    """Fold one word into the state; for one state, different words give different results."""
    return _mix(state + (word + np.uint64(1)) * _GOLDEN)


def _mix(value: Keys) -> Keys:
    value = (value ^ (value >> np.uint64(30))) * _MULTIPLY_1
    value = (value ^ (value >> np.uint64(27))) * _MULTIPLY_2
    return value ^ (value >> np.uint64(31))
