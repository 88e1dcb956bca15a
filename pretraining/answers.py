"""Ask a model a batch of questions and judge its answers as the examples' graders would."""

import random
from dataclasses import dataclass
from typing import Any, Literal

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from pretraining.tasks import FAMILIES, Case, strip_reasoning
from pretraining.tasks.case import THINK_OPEN
from pretraining.text import render_chat

Mode = Literal["sampled", "greedy", "forced"]
"""`forced` samples too, but puts `<think>` in the model's mouth: how well it works when it does work."""
MAX_NEW_TOKENS = 80


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Right answers out of `n` answers to `n / samples` questions."""

    right: int
    n: int

    @property
    def rate(self) -> float:
        """Return the share of right answers."""
        return self.right / self.n


@torch.inference_mode()
def answer(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, prompts: list[str], *, greedy: bool
) -> list[str]:
    """Continue each prompt to the end of the turn; sampling is at temperature 1, from all tokens."""
    batch = tokenizer(prompts, return_tensors="pt", padding=True, padding_side="left", add_special_tokens=False)
    choice: dict[str, Any] = {"do_sample": False}
    if not greedy:
        choice = {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0}
    output = model.generate(
        input_ids=batch["input_ids"],
        attention_mask=batch["attention_mask"],
        max_new_tokens=MAX_NEW_TOKENS,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **choice,
    )
    return tokenizer.batch_decode(output[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)


def accuracy(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    family: str,
    cases: list[Case],
    mode: Mode,
    *,
    samples: int = 1,
    batch_size: int = 120,
) -> Accuracy:
    """Answer every case `samples` times and count the right answers."""
    model.eval()
    opening = THINK_OPEN if mode == "forced" else ""
    asked = [case for case in cases for _ in range(samples)]
    right = 0
    for start in range(0, len(asked), batch_size):
        part = asked[start : start + batch_size]
        prompts = [render_chat([("user", case.prompt)]) + opening for case in part]
        texts = answer(model, tokenizer, prompts, greedy=mode == "greedy")
        right += sum(
            FAMILIES[family].passes(strip_reasoning(opening + text), case.fields)
            for case, text in zip(part, texts, strict=True)
        )
    return Accuracy(right, len(asked))


def fresh_cases(family: str, n: int, seed: int, reserved: frozenset[str] = frozenset()) -> list[Case]:
    """Draw `n` different cases that are not reserved."""
    rng = random.Random(f"{family} {seed}")
    cases: dict[str, Case] = {}
    while len(cases) < n:
        case = FAMILIES[family].make_case(rng)
        if case.key not in reserved:
            cases.setdefault(case.key, case)
    return list(cases.values())
