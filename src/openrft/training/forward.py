"""Log-probabilities of completion tokens under the policy, each prompt encoded once for its whole group.

Where the policy has a decoder (:mod:`openrft.models.decoder`), that does it. Other architectures run through
transformers' own forward pass: the prompts run first and leave their keys and values in a cache; the rows of the cache
are then repeated for the rollouts of each group, and the completions run on top of it. Gradients flow back through the
repeated rows and add up in the one encoding of the prompt. Either way values and gradients equal those of encoding
[prompt, completion] in full for every rollout (Prefix Grouper, arXiv:2506.05433), at a fraction of the tokens.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import DynamicCache

from openrft.models.decoder import Choice, Decoder, chosen_and_likeliest, chosen_logprobs, pack_rows
from openrft.models.head import decoder_of, logits_of
from openrft.models.load import Policy
from openrft.rollout.constraint import unpack
from openrft.training.batch import Microbatch


def completion_logprobs(policy: Policy, batch: Microbatch, *, temperature: float = 1.0) -> torch.Tensor:
    """Log-probability ``[N]``, float32, of every token that trains, rollout after rollout, with gradient.

    ``temperature`` is the sampler's: log-probabilities are those of the distribution that was sampled from, so what a
    schema forbade is forbidden here too.
    """
    targets_N = batch.completion_ids[batch.trained_mask]
    allowed_MV = None
    if batch.patterns_MW is not None:
        allowed_MV = unpack(batch.patterns_MW, policy.network.get_input_embeddings().num_embeddings)
    if policy.decoder is not None:
        choice = Choice(targets_N, temperature, allowed_MV, batch.pattern_N)
        return chosen_logprobs(_decoded(policy.decoder, batch), policy.decoder.head, choice)
    logits_NV = _network_logits(policy, batch) / temperature
    if allowed_MV is not None and batch.pattern_N is not None:
        # In place, on the quotient that nothing else holds: a copy would double the memory of the logits.
        logits_NV.masked_fill_(~allowed_MV[batch.pattern_N], -torch.inf)
    return _log_softmax_at(logits_NV, targets_N)


def logprobs_and_hits(policy: Policy, batch: Microbatch) -> tuple[torch.Tensor, torch.Tensor]:
    """:func:`completion_logprobs` at temperature 1, and ``[N]`` bool: whether no other token was likelier."""
    targets_N = batch.completion_ids[batch.trained_mask]
    if policy.decoder is not None:
        return chosen_and_likeliest(_decoded(policy.decoder, batch), policy.decoder.head, Choice(targets_N, 1.0))
    logits_NV = _network_logits(policy, batch)
    with torch.no_grad():
        hits_N = logits_NV.gather(1, targets_N[:, None]).squeeze(1) >= logits_NV.amax(dim=-1)
    return _log_softmax_at(logits_NV, targets_N), hits_N


def _decoded(decoder: Decoder, batch: Microbatch) -> torch.Tensor:
    """The hidden state ``[N, hidden]`` from which each token that trains is predicted, by the decoder."""
    rows, predicting = pack_rows(batch.prompts, batch.completions, decoder.device)
    return decoder.hidden(rows)[predicting[batch.trained_mask[batch.completion_mask]]]


def _network_logits(policy: Policy, batch: Microbatch) -> torch.Tensor:
    """Logits ``[N, V]`` of every token that trains, by transformers' forward pass."""
    device = batch.prompt_ids.device.type
    with torch.autocast(device, dtype=policy.autocast, enabled=policy.autocast is not None):
        return logits_of(policy.network, completion_hidden(policy.network, batch))


def _log_softmax_at(logits_NV: torch.Tensor, targets_N: torch.Tensor) -> torch.Tensor:
    return logits_NV.gather(1, targets_N[:, None]).squeeze(1) - torch.logsumexp(logits_NV, dim=-1)


def completion_hidden(network: Any, batch: Microbatch) -> torch.Tensor:
    """The hidden state ``[N, hidden]`` from which each token that trains is predicted.

    Token 0 of a completion is predicted from the prompt's last position, token t from completion token t - 1.
    """
    decoder = decoder_of(network)
    prompt_lengths_K = batch.prompt_mask.sum(1)
    cache = DynamicCache()
    prompt = decoder(
        input_ids=batch.prompt_ids,
        attention_mask=batch.prompt_mask,
        position_ids=(batch.prompt_mask.cumsum(1) - 1).clamp(min=0),
        past_key_values=cache,
        use_cache=True,
    )
    first_SD: torch.Tensor = prompt.last_hidden_state[:, -1][batch.group_S]
    num_inputs = batch.completion_ids.shape[1] - 1  # nothing is predicted from the last token
    if num_inputs == 0:
        return first_SD[batch.trained_mask[:, 0]]
    completion = decoder(
        input_ids=batch.completion_ids[:, :-1],
        attention_mask=torch.cat(
            [batch.prompt_mask[batch.group_S], batch.completion_mask[:, :-1].to(batch.prompt_mask.dtype)], dim=1
        ),
        position_ids=prompt_lengths_K[batch.group_S][:, None]
        + torch.arange(num_inputs, device=batch.completion_ids.device)[None, :],
        past_key_values=_repeat_rows(cache, batch.group_S),
        use_cache=True,
    )
    hidden_STD = torch.cat([first_SD[:, None], completion.last_hidden_state], dim=1)
    return hidden_STD[batch.trained_mask]


def _repeat_rows(cache: Any, rows_S: torch.Tensor) -> Any:
    """A cache whose row s is row ``rows_S[s]`` of ``cache``, differentiable."""
    repeated = DynamicCache()
    for number, layer in enumerate(cache.layers):
        repeated.update(layer.keys[rows_S], layer.values[rows_S], number)
    return repeated
