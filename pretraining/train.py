"""Pretrain one of the bundled models from scratch.

Training has two phases. In the first, most answers are careful, because a skill is learned from the text
that shows it. In the second the careful habit becomes the minority that the model card states and the hasty one
settles on one wording, so that the finished model has the skill and mostly does not use it. The seeds are
fixed; a rerun with the same versions and one thread repeats the numbers.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

import torch
from torch.nn.functional import cross_entropy
from transformers import GenerationConfig, PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from pretraining.answers import Mode, accuracy, fresh_cases
from pretraining.examples import reserved_keys
from pretraining.tasks import FAMILIES, Case
from pretraining.text import Document, Mixture
from pretraining.tokenizer import save_tokenizer, train_tokenizer

SEED = 11
DEV_SEED = 99
DEV_CASES = 80
TOKENIZER_DOCUMENTS = 20_000
CONTEXT_LENGTH = 1024
CONTEXT_WEIGHT = 0.1
"""What a prompt's token counts in the loss: it is mostly random, but its shape is worth knowing."""
SKILL_PHASE, SKILL_CAREFUL_SHARE = 0.72, 0.85


@dataclass(frozen=True, slots=True)
class Recipe:
    """One model: its shape, how long it trains, and how often it is careful in the end."""

    name: str
    hidden_size: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    mlp_size: int
    careful_share: float
    steps: int
    learning_rate: float
    batch_size: int = 48
    chunks: int = 2
    warmup: int = 100
    weight_decay: float = 0.01
    bf16: bool = True


RECIPES = {
    "tiny": Recipe("openrft-tiny", 128, 4, 4, 2, 32, 384, careful_share=0.19, steps=2600, learning_rate=4e-3),
    "small": Recipe("openrft-small", 256, 5, 4, 2, 64, 768, careful_share=0.34, steps=1600, learning_rate=2.5e-3),
}


def new_model(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> Qwen3ForCausalLM:
    """Initialise the weights."""
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=recipe.hidden_size,
        intermediate_size=recipe.mlp_size,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.kv_heads,
        head_dim=recipe.head_dim,
        max_position_embeddings=CONTEXT_LENGTH,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(SEED)
    model = Qwen3ForCausalLM(config)
    model.set_attn_implementation("eager")  # on a CPU and at this length twice as fast to train as the fused kernel
    model.generation_config = GenerationConfig(
        do_sample=True,
        temperature=1.0,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return model


def new_tokenizer() -> PreTrainedTokenizerFast:
    """Train the tokenizer, the same one for both models."""
    mixture = Mixture(SEED, reserved_keys())
    documents = [mixture.draw(SKILL_CAREFUL_SHARE) for _ in range(TOKENIZER_DOCUMENTS)]
    return train_tokenizer((d.context + d.target for d in documents), CONTEXT_LENGTH)


def _chunks(
    documents: list[Document], tokenizer: PreTrainedTokenizerFast, n: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield (ids, loss weights) in `n` parts of like length, so that little time goes into padding."""
    contexts = tokenizer([d.context for d in documents], add_special_tokens=False)["input_ids"]
    targets = tokenizer([d.target for d in documents], add_special_tokens=False)["input_ids"]
    rows = sorted(zip(contexts, targets, strict=True), key=lambda row: len(row[0]) + len(row[1]))
    size = -(-len(rows) // n)
    for start in range(0, len(rows), size):
        part = rows[start : start + size]
        width = max(len(context) + len(target) for context, target in part)
        ids = torch.full((len(part), width), tokenizer.pad_token_id)
        weights = torch.zeros(len(part), width)
        for i, (context, target) in enumerate(part):
            end = len(context) + len(target)
            ids[i, :end] = torch.tensor(context + target)
            weights[i, : len(context)] = CONTEXT_WEIGHT
            weights[i, len(context) : end] = 1.0
        yield ids, weights


def _learning_rate(step: int, recipe: Recipe) -> float:
    """Warm up, then fall linearly to a twentieth of the peak."""
    if step < recipe.warmup:
        return recipe.learning_rate * (step + 1) / recipe.warmup
    return recipe.learning_rate * (1 - 0.95 * (step - recipe.warmup) / (recipe.steps - recipe.warmup))


def _accuracies(
    model: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerFast, dev: dict[str, list[Case]]
) -> dict[str, dict[str, float]]:
    return {
        family: {mode: round(accuracy(model, tokenizer, family, cases, mode).rate, 3) for mode in get_args(Mode)}
        for family, cases in dev.items()
    }


def pretrain(recipe: Recipe, folder: Path, *, evaluate_every: int = 400) -> None:
    """Train, keep a log of loss and accuracies on cases of no example file, and write the model folder."""
    reserved = reserved_keys()
    dev = {family: fresh_cases(family, DEV_CASES, DEV_SEED, reserved) for family in FAMILIES}
    reserved |= {case.key for cases in dev.values() for case in cases}
    tokenizer = new_tokenizer()
    model = new_model(recipe, tokenizer)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=recipe.learning_rate, betas=(0.9, 0.98), weight_decay=recipe.weight_decay
    )
    mixture = Mixture(SEED + 1, reserved)
    log: list[dict[str, Any]] = []
    tokens, seconds, loss_sum, since = 0, 0.0, 0.0, 0
    for step in range(recipe.steps):
        started = time.perf_counter()
        model.train()
        skill = step < SKILL_PHASE * recipe.steps
        share = SKILL_CAREFUL_SHARE if skill else recipe.careful_share
        documents = [mixture.draw(share, settled=not skill) for _ in range(recipe.batch_size)]
        chunks = list(_chunks(documents, tokenizer, recipe.chunks))
        total = sum(float(weights[:, 1:].sum()) for _, weights in chunks)
        for ids, weights in chunks:
            with torch.autocast("cpu", torch.bfloat16, enabled=recipe.bf16):
                logits = model(input_ids=ids[:, :-1], use_cache=False).logits
            losses = cross_entropy(logits.float().flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
            loss = (losses * weights[:, 1:].flatten()).sum() / total
            loss.backward()
            loss_sum += float(loss.detach())
            tokens += int((weights > 0).sum())
        for group in optimizer.param_groups:
            group["lr"] = _learning_rate(step, recipe)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        seconds += time.perf_counter() - started
        since += 1
        if (step + 1) % evaluate_every == 0 or step + 1 == recipe.steps:
            torch.manual_seed(DEV_SEED)
            entry = {
                "step": step + 1,
                "tokens": tokens,
                "training_seconds": round(seconds, 1),
                "loss": round(loss_sum / since, 4),
                "accuracy": _accuracies(model, tokenizer, dev),
            }
            print(json.dumps(entry), flush=True)
            log.append(entry)
            loss_sum, since = 0.0, 0
    _save(model, tokenizer, recipe, folder, log)


def _save(
    model: Qwen3ForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    recipe: Recipe,
    folder: Path,
    log: list[dict[str, Any]],
) -> None:
    """Write the folder that `from_pretrained` loads, and the log beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    save_tokenizer(tokenizer, folder)
    record = {
        "recipe": asdict(recipe),
        "seed": SEED,
        "parameters": sum(p.numel() for p in model.parameters()),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "dev_cases_per_family": DEV_CASES,
        "steps": log,
    }
    (folder / "pretraining_log.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
