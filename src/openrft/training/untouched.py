"""The untouched base, for a run that goes back to where it began."""

from __future__ import annotations

import torch

from openrft.models.load import Policy, load_policy


class Untouched:
    """What trains, as it is before the first step.

    An adapter is small, and copied. A whole network is read from its files again: a second one may not fit beside it.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._adapter = (
            None
            if policy.adapter is None
            else {name: parameter.detach().clone() for name, parameter in policy.trained_parameters()}
        )

    def restore(self, optimizer: torch.optim.Optimizer | None = None) -> None:
        """Put the base's weights in place; the optimizer forgets all that it has seen."""
        before = self._adapter
        if before is None:
            network = self._policy.network
            base = load_policy(self._policy.source, device=torch.device("cpu"), dtype=network.dtype)
            before = {name: parameter.detach() for name, parameter in base.network.named_parameters()}
        with torch.no_grad():
            for name, parameter in self._policy.trained_parameters():
                parameter.copy_(before[name])
        if optimizer is not None:
            optimizer.state.clear()
