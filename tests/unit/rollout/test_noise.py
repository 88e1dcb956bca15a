import math

import numpy as np
import pytest
from scipy import stats

from openrft.rollout.noise import completion_keys, uniforms
from openrft.types import NoiseKey

PINNED = [
    [0.47148356771297895, 0.9275351618112838, 0.6738487953841571],
    [0.5425016604586653, 0.15857393508376072, 0.3026159409222424],
]
PINNED_LARGE = [[0.5018034692894162]]


def numbers(
    *, seed: int = 0, stream: int = 0, step: int = 0, example: int = 0, samples: int = 1, positions: int = 1
) -> np.ndarray:
    noise = NoiseKey(seed=seed, stream=stream, step=step, example=example)
    return uniforms(completion_keys(noise, range(samples)), range(positions))


def test_the_numbers_never_change_silently() -> None:
    assert numbers(samples=2, positions=3).tolist() == PINNED
    noise = NoiseKey(seed=2**64 + 7, stream=1, step=1000, example=12345)
    assert uniforms(completion_keys(noise, [31]), range(4095, 4096)).tolist() == PINNED_LARGE


def test_a_plain_integer_reckoning_gives_the_same_numbers() -> None:
    mask = 2**64 - 1

    def absorb(state: int, word: int) -> int:
        value = (state + (word + 1) * 0x9E3779B97F4A7C15) & mask
        value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & mask
        value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & mask
        return value ^ (value >> 31)

    state = 0x6F70656E72667431
    for word in (5, 1, 2, 3, 4, 6):  # seed, stream, step, example, sample, position
        state = absorb(state, word)
    keys = completion_keys(NoiseKey(seed=5, stream=1, step=2, example=3), [4])
    assert uniforms(keys, range(6, 7)).tolist() == [[(state >> 11) / 2**53]]


def test_numbers_are_in_the_unit_interval_and_uniform() -> None:
    drawn = numbers(samples=200, positions=500).ravel()
    assert drawn.min() >= 0 and drawn.max() < 1
    assert stats.kstest(drawn, "uniform").pvalue > 0.01
    assert abs(drawn.mean() - 0.5) < 4 / math.sqrt(12 * drawn.size)


@pytest.mark.parametrize("name", ["seed", "stream", "step", "example"])
def test_neighbouring_keys_are_independent(name: str) -> None:
    drawn = np.stack([numbers(**{name: value}, positions=2000)[0] for value in range(8)])
    correlations = np.corrcoef(drawn)[np.triu_indices(8, 1)]
    assert np.abs(correlations).max() < 4.5 / math.sqrt(2000)


def test_samples_and_positions_are_independent() -> None:
    drawn = numbers(samples=300, positions=300)
    for pairs in ((drawn[:, :-1], drawn[:, 1:]), (drawn[:-1], drawn[1:])):
        assert abs(np.corrcoef(pairs[0].ravel(), pairs[1].ravel())[0, 1]) < 4.5 / 300


def test_words_do_not_run_into_one_another() -> None:
    drawn = {
        numbers(seed=seed, stream=stream, step=step, example=example)[0, 0]
        for seed in range(6)
        for stream in range(6)
        for step in range(6)
        for example in range(6)
    }
    assert len(drawn) == 6**4


def test_which_samples_and_positions_are_asked_for_together_makes_no_difference() -> None:
    noise = NoiseKey(seed=3, stream=0, step=9, example=4)
    whole = uniforms(completion_keys(noise, range(8)), range(100))
    part = uniforms(completion_keys(noise, [5, 2]), range(64, 100))
    assert (part == whole[[5, 2], 64:]).all()


def test_a_negative_seed_is_a_seed_of_its_own() -> None:
    assert numbers(seed=-1) != numbers(seed=1)
