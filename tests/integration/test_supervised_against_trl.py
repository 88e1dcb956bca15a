"""The supervised method against another implementation: TRL's SFTTrainer on the same rows, model and optimizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from openrft.models.load import Policy, load_policy
from openrft.rollout.native import NativeEngine
from openrft.rollout.supervised import render_demonstration
from openrft.training.methods.supervised import Supervised
from openrft.training.optimizer import build_optimizer
from openrft.training.prompt_order import Epochs
from openrft.training.update import update
from openrft.types import Example
from random_models import byte_tokenizer, write_random_model
from run_settings import settings

STEPS, BATCH, RATE = 8, 4, 2e-3

TEMPLATE = (
    "{% for message in messages %}{{ '<s>' + message.role + ':' }}{% if message.role == 'assistant' %}"
    "{% generation %}{{ message.content + '</s>' }}{% endgeneration %}"
    "{% else %}{{ message.content + '</s>' }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<s>assistant:' }}{% endif %}"
)


def dialogue(number: int, turns: int) -> list[dict[str, Any]]:
    messages = []
    for turn in range(turns):
        messages.append({"role": "user", "content": f"say {number}" + "!" * (number % 5 + turn)})
        messages.append({"role": "assistant", "content": f"I say {number * (turn + 1)}" + " and more" * (number % 3)})
    return messages


def model_folder(tmp_path: Path) -> Path:
    folder = write_random_model(tmp_path / "model", "llama")
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    return folder


def ours(policy: Policy, dialogues: list[list[dict[str, Any]]]) -> list[float]:
    """Our losses, step by step."""
    rows = [
        render_demonstration(
            policy.tokenizer,
            Example(id=str(n), index=n, line=n + 1, messages=messages[:-1], item={}, dialogue=messages),
            {policy.tokenizer.eos_token_id},
        )
        for n, messages in enumerate(dialogues)
    ]
    chosen = settings(batch_size=BATCH, num_steps=STEPS, learning_rate=RATE, microbatch_tokens=200)
    engine = NativeEngine(policy.network, policy.tokenizer, decoder=policy.decoder)
    method = Supervised(chosen, policy=policy, engine=engine, rows=rows, seed=0)
    optimizer = build_optimizer(policy, chosen)
    return [
        update(
            policy, optimizer, method.next_batch(step).minibatches, method.loss, learning_rate=RATE, max_grad_norm=1.0
        )["train/loss"]
        for step in range(STEPS)
    ]


def theirs(policy: Policy, dialogues: list[list[dict[str, Any]]], folder: Path, *, turns: int) -> list[float]:
    """TRL's losses: of prompt and completion for one turn, of all assistant turns for more."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    order = [number for step in range(STEPS) for number in Epochs(len(dialogues), BATCH, 0).numbers(step)]
    rows = [
        {"prompt": dialogues[n][:-1], "completion": dialogues[n][-1:]} if turns == 1 else {"messages": dialogues[n]}
        for n in order
    ]
    config = SFTConfig(
        output_dir=str(folder), per_device_train_batch_size=BATCH, max_steps=STEPS, learning_rate=RATE,
        lr_scheduler_type="constant", adam_beta2=0.95, weight_decay=0.0, max_grad_norm=1.0, bf16=False, use_cpu=True,
        gradient_checkpointing=False, train_sampling_strategy="sequential", assistant_only_loss=turns > 1,
        completion_only_loss=turns == 1, loss_type="nll", report_to="none", save_strategy="no", logging_steps=1,
        disable_tqdm=True, max_length=None,
    )  # fmt: skip
    losses = []

    class Watched(SFTTrainer):  # type: ignore[misc]
        def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
            loss = super().compute_loss(*args, **kwargs)
            losses.append(float((loss[0] if isinstance(loss, tuple) else loss).detach()))
            return loss

    network = policy.network.train()
    Watched(
        model=network, args=config, train_dataset=Dataset.from_list(rows), processing_class=policy.tokenizer
    ).train()
    return losses


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # another library's own
@pytest.mark.parametrize("turns", [1, 3])
def test_losses_and_weights_are_those_of_trl(tmp_path: Path, turns: int) -> None:
    folder = model_folder(tmp_path)
    dialogues = [dialogue(number, turns) for number in range(13)]
    mine, other = load_policy(str(folder)), load_policy(str(folder))
    found, expected = ours(mine, dialogues), theirs(other, dialogues, tmp_path / "trl", turns=turns)
    assert len(expected) == STEPS
    assert found[0] == pytest.approx(expected[0], abs=1e-5)
    assert found == pytest.approx(expected, abs=1e-3)
    assert found[-1] < 0.8 * found[0]  # something was learned, so that tracking says something
    for (name, one), (_, two) in zip(mine.network.named_parameters(), other.network.named_parameters(), strict=True):
        assert torch.allclose(one, two, atol=2e-4), name
