"""AdamW, and its learning rate over the steps."""

from __future__ import annotations

import torch

from openrft.models.load import Policy
from openrft.training.choices import Hyperparameters

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

    Adam's first updates have the size of the learning rate whatever the gradient's noise, hence a warm-up always. A run
    that has gone back to an earlier step scales it (:mod:`openrft.training.course`).
    """
    warmup = settings.warmup_steps
    if step < warmup:
        return settings.learning_rate * (step + 1) / (warmup + 1)
    if settings.learning_rate_schedule == "constant":
        return settings.learning_rate
    progress = (step - warmup) / max(1, settings.num_steps - 1 - warmup)
    return settings.learning_rate * (1 - (1 - FINAL_LEARNING_RATE_SHARE) * min(1.0, progress))


@torch.no_grad()
def relative_update(optimizer: torch.optim.AdamW) -> float:
    """Length of the last step over the length of the weights it led to, before weights of 16 bits are rounded.

    Worked out again from the moments: weights of before would be a second copy of the model.
    """
    moved, reached = [], []
    for group in optimizer.param_groups:
        rate, (beta1, beta2), decay = group["lr"], group["betas"], group["weight_decay"]
        for parameter in group["params"]:
            reached.append(torch.linalg.vector_norm(parameter, dtype=torch.float32))
            if parameter.grad is None:
                continue
            moments = optimizer.state[parameter]
            count = float(moments["step"])
            size = (moments["exp_avg_sq"] / (1 - beta2**count)).sqrt_().add_(group["eps"]).mul_(1 - beta1**count)
            step = (moments["exp_avg"] * rate).div_(size)
            if decay:  # before its step, w was shrunk by rate * decay
                step = step.add_(parameter + step, alpha=rate * decay / (1 - rate * decay))
            moved.append(torch.linalg.vector_norm(step, dtype=torch.float32))
    length = torch.linalg.vector_norm(torch.stack(moved)) / torch.linalg.vector_norm(torch.stack(reached))
    return float(length)
