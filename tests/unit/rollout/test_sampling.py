import math

import pytest
import torch
from scipy import stats

from openrft.rollout.sampling import draw

LOGITS = torch.tensor([0.5, 0.25, 0.125, 0.125]).log()


def draw_one(
    logits: torch.Tensor, uniform: float, *, temperature: float = 1.0, top_p: float = 1.0
) -> tuple[int, float]:
    number = torch.tensor([uniform], dtype=torch.float64)
    tokens, logprobs = draw(logits.unsqueeze(0), number, temperature=temperature, top_p=top_p)
    return int(tokens), float(logprobs)


@pytest.mark.parametrize(
    ("uniform", "token"), [(0.0, 0), (0.499, 0), (0.501, 1), (0.749, 1), (0.751, 2), (0.876, 3), (1 - 2**-53, 3)]
)
def test_the_uniform_number_picks_the_token_under_the_cumulative_distribution(uniform: float, token: int) -> None:
    drawn, logprob = draw_one(LOGITS, uniform)
    assert drawn == token
    assert logprob == pytest.approx(float(LOGITS[token]), abs=1e-6)


def test_temperature_divides_the_logits() -> None:
    _, logprob = draw_one(LOGITS, 0.0, temperature=0.5)  # squares the odds: 16/64, 4/64, 1/64, 1/64
    assert logprob == pytest.approx(math.log(16 / 22), abs=1e-6)


def test_greedy_takes_the_lowest_of_equal_ids_and_tells_its_unscaled_log_probability() -> None:
    token, logprob = draw_one(torch.tensor([0.0, 2.0, 2.0, 1.0]), 0.99, temperature=0)
    assert token == 1
    assert logprob == pytest.approx(2 - math.log(1 + 2 * math.exp(2) + math.exp(1)), abs=1e-6)


@pytest.mark.parametrize(
    ("top_p", "kept"), [(0.1, [0]), (0.5, [0]), (0.51, [0, 1]), (0.75, [0, 1]), (0.8, [0, 1, 2]), (0.95, [0, 1, 2, 3])]
)
def test_top_p_keeps_the_fewest_tokens_that_reach_it(top_p: float, kept: list[int]) -> None:
    drawn = [draw_one(LOGITS, (index + 0.5) / 200, top_p=top_p) for index in range(200)]
    assert sorted({token for token, _ in drawn}) == kept
    mass = sum(math.exp(LOGITS[token]) for token in kept)
    for token, logprob in drawn:
        assert logprob == pytest.approx(float(LOGITS[token]) - math.log(mass), abs=1e-6)


def test_top_p_is_applied_after_the_temperature() -> None:
    logits = torch.tensor([0.4, 0.3, 0.3]).log()
    assert {draw_one(logits, u / 10, temperature=0.1, top_p=0.9)[0] for u in range(10)} == {0}


@pytest.mark.parametrize("top_p", [1.0, 0.999])
@pytest.mark.parametrize("size", [7, 64, 200, 1000])
def test_a_token_of_probability_zero_is_never_drawn(size: int, top_p: float) -> None:
    logits = torch.full((3, size), -torch.inf)
    logits[:, 3] = 0.0
    logits[:, 5] = 0.0
    uniform = torch.tensor([0.0, 0.5, 1 - 2**-53], dtype=torch.float64)
    tokens, logprobs = draw(logits, uniform, temperature=1.0, top_p=top_p)
    assert tokens.tolist() == [3, 5, 5]
    assert logprobs.tolist() == pytest.approx([math.log(0.5)] * 3)


def test_drawing_by_blocks_agrees_with_one_long_sum() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2000, 300, generator=generator) * 3
    uniform = torch.rand(2000, dtype=torch.float64, generator=generator)
    tokens, logprobs = draw(logits, uniform, temperature=0.8, top_p=1.0)
    exact = torch.log_softmax(logits.double() / 0.8, dim=-1)
    expected = torch.searchsorted(exact.exp().cumsum(-1), uniform.unsqueeze(1), right=True).squeeze(1)
    assert torch.equal(tokens, expected)
    assert torch.allclose(logprobs.double(), exact.gather(1, tokens.unsqueeze(1)).squeeze(1), atol=1e-5)


@pytest.mark.parametrize("top_p", [1.0, 0.9])
def test_frequencies_follow_the_probabilities(top_p: float) -> None:
    logits = torch.randn(100, generator=torch.Generator().manual_seed(1))
    count = 50_000
    uniform = torch.rand(count, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    tokens, logprobs = draw(logits.expand(count, -1), uniform, temperature=1.0, top_p=top_p)
    seen = torch.bincount(tokens, minlength=100)
    expected = torch.zeros(100, dtype=torch.float64)
    expected[tokens] = logprobs.double().exp()  # every token with a chance was drawn at least once
    kept = expected > 0
    expected = expected[kept] / expected[kept].sum() * count
    assert stats.chisquare(seen[kept].numpy(), expected.numpy()).pvalue > 0.01


@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 1.0), (1.0, 0.9), (0.0, 1.0)])
@pytest.mark.parametrize("broken", [torch.nan, torch.inf])
def test_broken_logits_give_a_nan_log_probability_in_their_row_only(
    temperature: float, top_p: float, broken: float
) -> None:
    logits = torch.zeros(2, 70)
    logits[0, 66] = broken
    _, logprobs = draw(logits, torch.full((2,), 0.5, dtype=torch.float64), temperature=temperature, top_p=top_p)
    assert torch.isnan(logprobs).tolist() == [True, False]


def test_half_precision_logits_are_normalised_in_single_precision() -> None:
    logits = LOGITS.to(torch.bfloat16)
    _, logprobs = draw(logits.unsqueeze(0), torch.zeros(1, dtype=torch.float64), temperature=1.0, top_p=1.0)
    assert logprobs.dtype == torch.float32
    assert float(logprobs) == pytest.approx(float(torch.log_softmax(logits.float(), -1)[0]), abs=1e-6)
