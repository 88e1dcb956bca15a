"""Policy losses on flat completion tokens: what is maximized per token, and the sum that is minimized.

Tokens are packed, not padded: N counts the completion tokens of a microbatch that train, in any order, and
`sequence_index_N` says which rollout each belongs to. `mu` is the sampler, `pi` the policy, `w_t = pi/mu` the
ratio of their probabilities of token t, `A` the advantage, `sg` a stop-gradient. The denominator of the ratio
is the sampler's own recorded log-probability, which corrects staleness and a mismatch between engines in one.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from openrft.algorithms.diagnostics import LossMetrics, ratio_diagnostics


@dataclass(frozen=True, kw_only=True, slots=True)
class PackedTokens:
    """The completion tokens of one microbatch. A rollout may not be split over two."""

    logprobs_N: Tensor  # log pi of each sampled token, with gradient; float32 or wider
    sampling_logprobs_N: Tensor  # log mu, as recorded when sampling
    advantages_N: Tensor  # credit of each token, usually that of its rollout
    weights_N: Tensor  # from aggregation, that of its rollout
    sequence_index_N: Tensor  # which rollout, any distinct integers
    reference_logprobs_N: Tensor | None = None  # where KL to a reference is penalized or watched

    def __post_init__(self) -> None:
        shapes = {name: tuple(tensor.shape) for name, tensor in self._tensors().items()}
        if len(set(shapes.values())) != 1 or self.logprobs_N.dim() != 1:
            raise ValueError(f"packed tokens need flat tensors of one length, got {shapes}")
        if self.logprobs_N.numel() == 0:
            raise ValueError("packed tokens need at least one token; leave out an empty microbatch")
        if self.logprobs_N.dtype in (torch.float16, torch.bfloat16):
            raise ValueError(f"log-probabilities need float32 or wider, got {self.logprobs_N.dtype}")

    @property
    def log_ratio_N(self) -> Tensor:
        """`log w_t = log pi - log mu` [N], with gradient."""
        return self.logprobs_N - self.sampling_logprobs_N

    def check_finite(self) -> None:
        """Refuse NaN and infinity by name: a clip or a mask further on could swallow them."""
        for name, tensor in self._tensors().items():
            finite_N = torch.isfinite(tensor)
            if not finite_N.all():
                n = int((~finite_N).nonzero()[0])
                raise FloatingPointError(
                    f"{name} has {int((~finite_N).sum())} of {tensor.numel()} values that are not finite, "
                    f"the first at token {n} of rollout {int(self.sequence_index_N[n])}: {tensor[n].item()}"
                )

    def _tensors(self) -> dict[str, Tensor]:
        tensors = {
            "logprobs_N": self.logprobs_N,
            "sampling_logprobs_N": self.sampling_logprobs_N,
            "advantages_N": self.advantages_N,
            "weights_N": self.weights_N,
            "sequence_index_N": self.sequence_index_N,
        }
        if self.reference_logprobs_N is not None:
            tensors["reference_logprobs_N"] = self.reference_logprobs_N
        return tensors


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenObjective:
    """What an objective makes of each token."""

    values_N: Tensor  # to be maximized, with gradient
    clipped_low_N: Tensor  # True where the lower bound on the ratio took effect
    clipped_high_N: Tensor  # True where the upper one did
    masked_N: Tensor  # True where the token was left out


Objective = Callable[..., TokenObjective]
Penalty = Callable[[Tensor, Tensor], Tensor]
"""Of log-probabilities [N] under policy and reference, how much each token is to pay [N]."""


def reinforce(tokens: PackedTokens) -> TokenObjective:
    """`A log pi`: the plain score function, exact where the sampler is the policy (Williams 1992)."""
    nothing_N = torch.zeros_like(tokens.logprobs_N, dtype=torch.bool)
    return TokenObjective(
        values_N=tokens.advantages_N * tokens.logprobs_N,
        clipped_low_N=nothing_N,
        clipped_high_N=nothing_N,
        masked_N=nothing_N,
    )


def ppo_clip(tokens: PackedTokens, *, clip_low: float, clip_high: float) -> TokenObjective:
    """`min(w A, clip(w, 1 - clip_low, 1 + clip_high) A)`.

    PPO (arXiv 1707.06347, equation 7), taken over by GRPO (arXiv 2402.03300, equation 3); with two bounds,
    DAPO's clip-higher (arXiv 2503.14476, section 3.1). A token that has moved past its bound the way its
    advantage pulls has no gradient.
    """
    return _clipped(tokens, tokens.log_ratio_N.exp(), clip_low=clip_low, clip_high=clip_high)


def sequence_clip(tokens: PackedTokens, *, clip_low: float, clip_high: float) -> TokenObjective:
    """`min(s_t A, clip(s_t, 1 - clip_low, 1 + clip_high) A)` with `s_t = s sg(1 / pi_t) pi_t`.

    `s = sg(exp(mean_t log w_t))` over the rollout's tokens. GSPO (arXiv 2507.18071, equations 5 and 7) in its
    token form (equations 13 and 14): the value of `s_t` is the ratio `s` of the whole sequence, its gradient
    that of the token. With one advantage per rollout this has the same gradient as the sequence form, and it
    needs no change for several.
    """
    log_ratio_N = tokens.log_ratio_N.detach()
    sequences_S, position_N, lengths_S = torch.unique(tokens.sequence_index_N, return_inverse=True, return_counts=True)
    sum_S = log_ratio_N.new_zeros(sequences_S.numel()).index_add_(0, position_N, log_ratio_N)
    mean_N = (sum_S / lengths_S)[position_N]
    ratio_N = (mean_N + tokens.logprobs_N - tokens.logprobs_N.detach()).exp()
    return _clipped(tokens, ratio_N, clip_low=clip_low, clip_high=clip_high)


def truncated_weight(tokens: PackedTokens, *, clip_high: float) -> TokenObjective:
    """`sg(min(w, 1 + clip_high)) A log pi`.

    CISPO (arXiv 2506.13585, equations 4 and 5, with no lower bound as there): the weight is bounded, the
    gradient of no token is dropped.
    """
    ratio_N = tokens.log_ratio_N.detach().exp()
    clipped_N = ratio_N > 1.0 + clip_high
    nothing_N = torch.zeros_like(clipped_N)
    return TokenObjective(
        values_N=ratio_N.clamp(max=1.0 + clip_high) * tokens.advantages_N * tokens.logprobs_N,
        clipped_low_N=nothing_N,
        clipped_high_N=clipped_N,
        masked_N=nothing_N,
    )


def masked_truncated_weight(tokens: PackedTokens, *, clip_high: float, difference_limit: float) -> TokenObjective:
    """`sg(min(w, 1 + clip_high)) M A log pi`, `M = 0` where `sign(A) (pi - mu) > difference_limit`.

    CISPO's weight with the total-variation mask of DPPO (arXiv 2602.04879): a token stops when its
    probability has moved by the limit, so a rare token may multiply its own many times and a frequent one may
    not slide away.
    """
    with torch.no_grad():
        difference_N = tokens.logprobs_N.exp() - tokens.sampling_logprobs_N.exp()
        masked_N = ((tokens.advantages_N > 0) & (difference_N > difference_limit)) | (
            (tokens.advantages_N < 0) & (difference_N < -difference_limit)
        )
    truncated = truncated_weight(tokens, clip_high=clip_high)
    return TokenObjective(
        values_N=truncated.values_N * ~masked_N,
        clipped_low_N=truncated.clipped_low_N,
        clipped_high_N=truncated.clipped_high_N & ~masked_N,
        masked_N=masked_N,
    )


def k1(logprobs_N: Tensor, reference_logprobs_N: Tensor) -> Tensor:
    """`log pi - log ref` [N]: unbiased for KL(pi, ref) on tokens from pi, of either sign; for rewards."""
    return logprobs_N - reference_logprobs_N


def k2(logprobs_N: Tensor, reference_logprobs_N: Tensor) -> Tensor:
    """`(log pi - log ref)^2 / 2` [N]: biased, never negative, and its gradient is that of KL(pi, ref)."""
    return 0.5 * (logprobs_N - reference_logprobs_N).square()


def k3(logprobs_N: Tensor, reference_logprobs_N: Tensor) -> Tensor:
    """`ref/pi - 1 - log(ref/pi)` [N]: unbiased, never negative (GRPO, arXiv 2402.03300, equation 4)."""
    difference_N = reference_logprobs_N - logprobs_N
    return torch.expm1(difference_N) - difference_N


def policy_loss(
    tokens: PackedTokens,
    objective: Objective,
    bounds: Mapping[str, float],
    *,
    kl_beta: float = 0.0,
    penalty: Penalty = k3,
) -> tuple[Tensor, LossMetrics]:
    """`-sum_t weight_t (objective_t - kl_beta penalty_t)` [], and what there is to say about it.

    Whatever is penalized, the metrics tell k3, whose mean is the KL divergence. The gradient of k3 is not that of its
    mean, and k2's is: `(log pi - log ref) grad log pi`, for tokens from pi (arXiv 2512.21852 compares them).

    Losses of the microbatches of a batch add up to that of the batch, and so do their gradients: call
    backward on each as it is. Raises FloatingPointError for a value that is not finite, in what comes in and
    in the loss.
    """
    tokens.check_finite()
    result = objective(tokens, **bounds)
    values_N, kl_N = result.values_N, None
    if tokens.reference_logprobs_N is not None:
        kl_N = k3(tokens.logprobs_N.detach(), tokens.reference_logprobs_N)
        values_N = values_N - kl_beta * penalty(tokens.logprobs_N, tokens.reference_logprobs_N)
    elif kl_beta != 0.0:
        raise ValueError(f"kl_beta is {kl_beta}, which needs reference_logprobs_N; give them or set it to 0")
    loss = -(values_N * tokens.weights_N).sum()
    metrics = ratio_diagnostics(
        loss,
        tokens.log_ratio_N.detach(),
        clipped_low_N=result.clipped_low_N,
        clipped_high_N=result.clipped_high_N,
        masked_N=result.masked_N,
        advantages_N=tokens.advantages_N,
        kl_to_reference_N=kl_N,
    )
    if not math.isfinite(metrics.loss):
        raise FloatingPointError(f"the policy loss is {metrics.loss}, the largest ratio {metrics.ratio_max}")
    return loss, metrics


def _clipped(tokens: PackedTokens, ratio_N: Tensor, *, clip_low: float, clip_high: float) -> TokenObjective:
    advantages_N = tokens.advantages_N
    clipped_ratio_N = ratio_N.clamp(1.0 - clip_low, 1.0 + clip_high)
    above_N = (ratio_N > 1.0 + clip_high) & (advantages_N > 0)
    below_N = (ratio_N < 1.0 - clip_low) & (advantages_N < 0)
    return TokenObjective(
        values_N=torch.minimum(ratio_N * advantages_N, clipped_ratio_N * advantages_N),
        clipped_low_N=below_N,
        clipped_high_N=above_N,
        masked_N=torch.zeros_like(above_N),
    )
