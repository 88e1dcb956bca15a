"""Load a base model and make it a policy: the network, its tokenizer, and what of it trains."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from openrft.errors import ModelError
from openrft.models.catalog import locate_model
from openrft.models.decoder import Decoder, build_decoder
from openrft.models.head import check_head

transformers_logging.disable_progress_bar()  # a run has one display, its own

# What a model without a chat template gets: roles as plain words, so that any causal LM can be tried at once.
PLAIN_CHAT_TEMPLATE = (
    "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)


@dataclass(kw_only=True)
class Policy:
    """The weights being trained, with their tokenizer.

    ``network`` is the transformers module that both the engine and the trainer run; with LoRA its linear layers carry
    the adapter in place and ``adapter`` is PEFT's handle on it. ``decoder`` computes with the network's parameters, and
    is None for architectures that run through transformers' own forward pass.
    """

    name: str
    source: str  # folder or hub name it was loaded from
    network: Any  # transformers.PreTrainedModel
    tokenizer: Any  # transformers.PreTrainedTokenizerBase
    adapter: Any = None  # peft.PeftModel, or None when every weight trains
    notes: list[str]  # what a user should know about how it was loaded
    decoder: Decoder | None = None
    autocast: torch.dtype | None = None  # what products are computed in where there is no decoder; None: as stored

    @property
    def context_tokens(self) -> int:
        """The longest sequence, prompt and completion, that the model was made for."""
        return _context_tokens(self.network.config)

    @property
    def num_parameters(self) -> int:
        """All weights, tied ones once."""
        return sum(parameter.numel() for parameter in self.network.parameters())

    @property
    def compute_type(self) -> torch.dtype:
        """What matrix products are computed in."""
        own: torch.dtype = self.network.dtype
        return self.decoder.dtype if self.decoder is not None else self.autocast or own

    def compute_in(self, dtype: torch.dtype) -> None:
        """From now on compute matrix products in ``dtype``; the parameters stay as they are stored."""
        self.decoder = build_decoder(self.network, dtype)
        self.autocast = None if self.decoder is not None or dtype == self.network.dtype else dtype

    def trained_parameters(self) -> Iterator[tuple[str, torch.nn.Parameter]]:
        """Names and tensors of what trains, in a stable order."""
        for name, parameter in self.network.named_parameters():
            if parameter.requires_grad:
                yield name, parameter


def load_tokenizer(name: str) -> tuple[Any, int]:
    """(tokenizer, context in tokens) of a model, without its weights. Raises :class:`ModelError`."""
    source = locate_model(name)
    try:
        tokenizer, config = AutoTokenizer.from_pretrained(source), AutoConfig.from_pretrained(source)
    except Exception as error:  # a third party's files, read by a third party's code
        raise ModelError(f"model {name} cannot be loaded: {_opening(error)}", param="model") from error
    if tokenizer.chat_template is None:
        tokenizer.chat_template = PLAIN_CHAT_TEMPLATE
    return tokenizer, _context_tokens(config)


def _context_tokens(config: Any) -> int:
    return int(getattr(config.get_text_config(), "max_position_embeddings", 2048))


def _opening(error: Exception) -> str:
    """The first two lines of a message, since the first alone may end in a colon."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return " ".join(lines[:2])


def choose_device() -> torch.device:
    """A CUDA device where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def load_policy(
    name: str,
    *,
    weights: Literal["full", "lora", "frozen"] = "full",
    lora_rank: int = 16,
    seed: int = 0,
    device: torch.device | None = None,
    dtype: torch.dtype = torch.float32,
) -> Policy:
    """Load ``name`` (see :func:`~openrft.models.catalog.locate_model`) as a policy.

    The network stays in evaluation mode for good: dropout would make the sampler and the trainer disagree about the
    probabilities of one and the same policy. Only safetensors weights are read and no code of a repository is run.
    ``seed`` draws a fresh adapter's weights. Raises :class:`ModelError` with what to do.
    """
    source = locate_model(name)
    notes: list[str] = []
    try:
        tokenizer = AutoTokenizer.from_pretrained(source)
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            source, dtype=dtype, use_safetensors=True, output_loading_info=True
        )
    except Exception as error:  # a third party's files, read by a third party's code
        raise ModelError(f"model {name} cannot be loaded: {_opening(error)}", param="model") from error
    network, loading = loaded
    # transformers fills what is missing with random numbers, and only prints a table about it.
    lacking = sorted({*map(str, loading["missing_keys"]), *(str(key) for key in loading["mismatched_keys"])})
    if lacking:
        raise ModelError(
            f"model {name} lacks {len(lacking)} of its weights or has them in another shape "
            f"({', '.join(lacking[:3])}); its files do not fit its config.json",
            param="model",
        )
    if getattr(network.config, "is_encoder_decoder", False):
        raise ModelError(f"model {name} is an encoder-decoder; openrft trains decoder-only models", param="model")
    _complete_tokenizer(tokenizer, network, notes)
    network = network.to(device or choose_device()).eval()
    check_head(network)
    policy = Policy(name=name, source=source, network=network, tokenizer=tokenizer, notes=notes)
    network.requires_grad_(weights == "full")
    policy.compute_in(network.dtype)
    if weights == "lora":
        attach_adapter(policy, rank=lora_rank, seed=seed)
    return policy


def cast_weights(policy: Policy, dtype: torch.dtype) -> None:
    """Store the parameters in ``dtype``. Buffers keep theirs: rounded rotary frequencies would mix up far positions."""
    for parameter in policy.network.parameters():
        parameter.data = parameter.data.to(dtype)


def attach_adapter(policy: Policy, *, rank: int, seed: int) -> None:
    """Put a LoRA adapter on every linear layer but the head, with scale alpha/rank = 2.

    A is drawn from ``seed``, B is zero, so that the policy starts as the base model (Hu et al. 2021, arXiv:2106.09685;
    all layers: "LoRA Without Regret", Thinking Machines 2025).
    """
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM"
    )
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        # PEFT reads names that transformers has renamed, and warns about tied heads that it does not touch.
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", UserWarning)
        torch.manual_seed(seed)
        policy.adapter = get_peft_model(policy.network, config).eval()
    policy.compute_in(policy.network.dtype)  # the layers are others now


def _complete_tokenizer(tokenizer: Any, network: Any, notes: list[str]) -> None:
    """Give a tokenizer what training needs and some lack: a chat template, an end of turn, a padding token."""
    if tokenizer.chat_template is None:
        tokenizer.chat_template = PLAIN_CHAT_TEMPLATE
        notes.append(
            'the tokenizer has no chat template: messages are written as "role: content" lines; '
            "an instruction-tuned model learns faster"
        )
    if tokenizer.eos_token_id is None:
        raise ModelError("the tokenizer has no end-of-sequence token; set eos_token in it", param="model")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    vocabulary = network.get_input_embeddings().num_embeddings
    if len(tokenizer) > vocabulary:
        raise ModelError(
            f"the tokenizer has {len(tokenizer)} tokens and the model only {vocabulary} embeddings; "
            "they do not belong together",
            param="model",
        )
