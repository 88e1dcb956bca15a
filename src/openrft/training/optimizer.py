"""AdamW, and its learning rate over the steps."""

from __future__ import annotations

import torch

from openrft.models.load import Policy
from openrft.training.resolve import Hyperparameters

FINAL_LEARNING_RATE_SHARE = 0.1  # where the linear schedule ends, as a share of the peak


def build_optimizer(policy: Policy, settings: Hyperparameters) -> torch.optim.AdamW:
    """AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101) over what trains; betas as usual for short RL runs."""
    return torch.optim.AdamW(
        [parameter for _, parameter in policy.trained_parameters()],
        lr=settings.learning_rate,
        betas=(0.9, 0.95),
        eps=1e-8,
        weight_decay=settings.weight_decay,
        fused=True,  # one pass over each tensor: three to four times as fast as a pass per operation
    )


def learning_rate_at(step: int, settings: Hyperparameters) -> float:
    """Learning rate of the 0-based ``step``: a linear rise over the warm-up, then flat or falling to a tenth.

    Adam's first updates have the size of the learning rate whatever the gradient's noise, hence a warm-up always.
    """
    warmup = settings.warmup_steps
    if step < warmup:
        return settings.learning_rate * (step + 1) / (warmup + 1)
    if settings.learning_rate_schedule == "constant":
        return settings.learning_rate
    progress = (step - warmup) / max(1, settings.num_steps - 1 - warmup)
    return settings.learning_rate * (1 - (1 - FINAL_LEARNING_RATE_SHARE) * min(1.0, progress))
