"""The decoder of the Llama family written out, for groups of completions of one prompt.

    products      matrix products of linear layers, forward and backward, by the kernel that is fastest here
    projection    linear layers (with LoRA) as the decoder reads them: in the compute type, fused where that is free
    rows          token rows of a microbatch: every prompt once, nothing padded; which rows attend to which
    attention     attention of packed groups, forward and backward
    flex          the same by one kernel, on a GPU; chooses between the two
    block         one layer, forward and backward
    decoder       all layers: hidden states with gradient
    chosen        log-probabilities of chosen tokens, with gradient, the logits of some rows at a time
    footprint     how many bytes a pass takes; where they are too many, layers are computed twice
    cache         sampling: keys and values, a prompt's once for its group, and one token for every live row
    graph         that token as one CUDA graph, on a GPU

It computes what transformers computes with the same parameters; :func:`decoder_of` proves that when a model is loaded,
and gives None for an architecture that is not of the family, which then runs through transformers' own forward pass.
"""

from openrft.models.decoder.cache import GroupCache
from openrft.models.decoder.chosen import Choice, chosen_and_likeliest, chosen_logprobs
from openrft.models.decoder.decoder import Decoder, build_decoder
from openrft.models.decoder.rows import pack_rows

__all__ = ["Choice", "Decoder", "GroupCache", "build_decoder", "chosen_and_likeliest", "chosen_logprobs", "pack_rows"]
