"""Diagnostics: what the importance ratios of an update say about it."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class LossMetrics:
    """Sums over tokens, so that `a + b` of two microbatches is what one batch of both would have given."""

    loss: float
    num_tokens: int
    ratio_sum: float
    ratio_square_sum: float
    ratio_max: float
    log_ratio_sum: float
    log_ratio_max_abs: float
    k3_sum: float
    num_clipped_low: int
    num_clipped_high: int
    num_masked_positive: int  # left out although the advantage is positive
    num_masked_negative: int
    kl_to_reference_sum: float | None = None

    def __add__(self, other: "LossMetrics") -> "LossMetrics":
        """Merge two disjoint microbatches of one batch."""
        kl_sum = None
        if self.kl_to_reference_sum is not None and other.kl_to_reference_sum is not None:
            kl_sum = self.kl_to_reference_sum + other.kl_to_reference_sum
        elif self.kl_to_reference_sum is not other.kl_to_reference_sum:
            raise ValueError("one microbatch has reference log-probabilities, another has none")
        return LossMetrics(
            loss=self.loss + other.loss,
            num_tokens=self.num_tokens + other.num_tokens,
            ratio_sum=self.ratio_sum + other.ratio_sum,
            ratio_square_sum=self.ratio_square_sum + other.ratio_square_sum,
            ratio_max=max(self.ratio_max, other.ratio_max),
            log_ratio_sum=self.log_ratio_sum + other.log_ratio_sum,
            log_ratio_max_abs=max(self.log_ratio_max_abs, other.log_ratio_max_abs),
            k3_sum=self.k3_sum + other.k3_sum,
            num_clipped_low=self.num_clipped_low + other.num_clipped_low,
            num_clipped_high=self.num_clipped_high + other.num_clipped_high,
            num_masked_positive=self.num_masked_positive + other.num_masked_positive,
            num_masked_negative=self.num_masked_negative + other.num_masked_negative,
            kl_to_reference_sum=kl_sum,
        )

    def as_metrics(self) -> dict[str, float]:
        """The batch as named metrics, with `w = pi/mu` the ratio of policy to sampler.

        `policy/ess` is the effective sample size as a share of the tokens, `(sum w)^2 / (N sum w^2)`: 1 when
        all ratios are equal. `policy/k3_to_sampler` is the mean of `w - 1 - log w`, never negative.
        `policy/chi2_to_sampler` is the mean of `w^2`, less 1: the variance that the ratios add.
        """
        ratio_mean, ratio_square_mean = self.ratio_sum / self.num_tokens, self.ratio_square_sum / self.num_tokens
        metrics = {
            "policy/loss": self.loss,
            "policy/ratio_mean": ratio_mean,
            # Rounding may leave less than nothing where all ratios are equal.
            "policy/ratio_std": math.sqrt(max(0.0, ratio_square_mean - ratio_mean * ratio_mean)),
            "policy/ratio_max": self.ratio_max,
            "policy/ess": self._ess(),
            "policy/log_ratio_mean": self.log_ratio_sum / self.num_tokens,
            "policy/k3_to_sampler": self.k3_sum / self.num_tokens,
            "policy/chi2_to_sampler": ratio_square_mean - 1.0,
            "policy/clipped_share": (self.num_clipped_low + self.num_clipped_high) / self.num_tokens,
            "policy/clipped_low_share": self.num_clipped_low / self.num_tokens,
            "policy/clipped_high_share": self.num_clipped_high / self.num_tokens,
            "policy/masked_share": (self.num_masked_positive + self.num_masked_negative) / self.num_tokens,
            "policy/masked_positive_share": self.num_masked_positive / self.num_tokens,
            "policy/masked_negative_share": self.num_masked_negative / self.num_tokens,
        }
        if self.kl_to_reference_sum is not None:
            metrics["policy/kl_to_reference"] = self.kl_to_reference_sum / self.num_tokens
        return metrics

    def mismatch_metrics(self) -> dict[str, float]:
        """The largest `|log w|`: at the weights that sampled, what sampler and trainer round differently."""
        return {"policy/mismatch_max_abs": self.log_ratio_max_abs}

    def _ess(self) -> float:
        if self.ratio_square_sum == 0.0:  # every ratio underflowed: the policy has left what was sampled
            return math.nan
        return self.ratio_sum * self.ratio_sum / (self.num_tokens * self.ratio_square_sum)


@torch.no_grad()
def ratio_diagnostics(
    loss: Tensor,
    log_ratio_N: Tensor,
    *,
    clipped_low_N: Tensor,
    clipped_high_N: Tensor,
    masked_N: Tensor,
    advantages_N: Tensor,
    kl_to_reference_N: Tensor | None = None,
) -> LossMetrics:
    """Sum up a microbatch: its loss [], log-ratios `log pi - log mu` [N], clipped and masked tokens [N].

    What is masked has an advantage other than 0: no objective leaves out a token that nothing pulls at.
    """
    # In float64 on the CPU: a few numbers per token, and squared ratios leave the range of float32.
    log_ratio_N = log_ratio_N.cpu().double()
    ratio_N = log_ratio_N.exp()
    # Near ratio 1 the plain difference would be rounding noise of either sign.
    k3_N = torch.expm1(log_ratio_N) - log_ratio_N
    return LossMetrics(
        loss=loss.item(),
        num_tokens=log_ratio_N.numel(),
        ratio_sum=ratio_N.sum().item(),
        ratio_square_sum=ratio_N.square().sum().item(),
        ratio_max=ratio_N.max().item(),
        log_ratio_sum=log_ratio_N.sum().item(),
        log_ratio_max_abs=log_ratio_N.abs().max().item(),
        k3_sum=k3_N.sum().item(),
        num_clipped_low=int(clipped_low_N.sum()),
        num_clipped_high=int(clipped_high_N.sum()),
        num_masked_positive=int((masked_N & (advantages_N > 0)).sum()),
        num_masked_negative=int((masked_N & (advantages_N < 0)).sum()),
        kl_to_reference_sum=None if kl_to_reference_N is None else kl_to_reference_N.sum().item(),
    )
