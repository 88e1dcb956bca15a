"""One measured process of TRL, run by the Python of TRL's own environment: ``GRPOTrainer`` on the same files.

    .venv/peers/trl/bin/python -m benchmarks.step.trl_side CONFIG.json      # see child.py for the commands

``as_it_comes``: TRL's defaults, with only the sizes of the work, the learning rate and the seed set. Otherwise what a
careful user on a CPU would set: no gradient checkpointing (memory is there), no logging or checkpoints on the way, and
the same loss, optimizer settings and precision as the other side.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from benchmarks.step.child import Channel, StepClock, answer_of, peak_memory, reward_of_text
from datasets import Dataset
from safetensors.torch import save_file
from transformers import AutoTokenizer, TrainerCallback, TrainerControl
from trl import GRPOConfig, GRPOTrainer

LONG = 10_000  # steps: the driver ends it


class Driven(TrainerCallback):
    """Holds the trainer after every step until the driver asks for the next one.

    A step lasts from the driver's command to the end of the step, so the trainer's own work between two steps counts.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self.clock = StepClock()
        self.counts: dict[str, int] = {}
        self.rewards: list[float] = []
        self.trainer: Any = None

    def on_train_begin(self, args: Any, state: Any, control: TrainerControl, **kwargs: Any) -> None:
        """Loaded and ready."""
        self.clock.timed(kwargs["optimizer"], "step", "optimizer")
        self._channel.send(ready=True, memory=peak_memory(), settings=_told(args))
        self._await(control)

    def on_step_end(self, args: Any, state: Any, control: TrainerControl, **kwargs: Any) -> None:
        """Answer, and wait for the next command."""
        answer = self.clock.stop()
        reward = sum(self.rewards) / max(1, len(self.rewards))
        self._channel.send(**answer, **self.counts, reward=reward)
        self._await(control)

    def _await(self, control: TrainerControl) -> None:
        self.counts = {"tokens": 0, "prompt_tokens": 0}
        self.rewards.clear()
        while (command := self._channel.receive()) is not None and command["do"] == "save":
            model = self.trainer.accelerator.unwrap_model(self.trainer.model)
            save_file({name: tensor.detach().clone() for name, tensor in model.named_parameters()}, command["path"])
            self._channel.send(saved=command["path"])
        control.should_training_stop = command is None
        self.clock.start()


def build_config(config: dict[str, Any]) -> GRPOConfig:
    """TRL's settings for a configuration of the benchmark."""
    whole = config["prompts"] * config["samples"]
    microbatch = config.get("microbatch") or whole
    options: dict[str, Any] = {
        "output_dir": config["scratch"],
        "max_steps": LONG,
        "seed": config["seed"],
        "learning_rate": config["learning_rate"],
        "num_generations": config["samples"],
        "max_completion_length": config["tokens"],
        "per_device_train_batch_size": microbatch,
        "gradient_accumulation_steps": whole // microbatch,
        "report_to": "none",  # the network is no part of this
        "use_cpu": True,
    }
    if config["as_it_comes"]:
        return GRPOConfig(**options)
    return GRPOConfig(
        **options,
        bf16=config["precision"] == "bfloat16",
        gradient_checkpointing=False,
        disable_dropout=True,
        loss_type="dr_grpo",
        scale_rewards="none",
        beta=0.0,
        num_iterations=1,
        lr_scheduler_type="constant_with_warmup",
        warmup_steps=config["warmup_steps"],
        adam_beta1=0.9,
        adam_beta2=0.95,
        weight_decay=0.0,
        max_grad_norm=1.0,
        logging_strategy="no",
        save_strategy="no",
        disable_tqdm=True,
    )


def build_reward(config: dict[str, Any]) -> Any:
    """The reward function: the example's own grader in this process, or the checksum."""
    grade = None
    if config.get("grader"):
        namespace: dict[str, Any] = {}
        exec(config["grader"]["source"], namespace)
        grade = namespace["grade"]

    def reward(prompts: list[Any], completions: list[Any], **columns: Any) -> list[float]:
        texts = [completion[0]["content"] for completion in completions]
        if grade is None:
            return [reward_of_text(text) for text in texts]
        items = [{name: columns[name][row] for name in config["columns"]} for row in range(len(texts))]
        return [float(grade({"output_text": answer_of(text)}, item)) for text, item in zip(texts, items, strict=True)]

    return reward


def count(driven: Driven, trainer: Any) -> None:
    """Count what was sampled and rewarded, beside timing it."""
    generate, rewards = trainer._generate_single_turn, trainer._calculate_rewards

    def counted(prompt_ids: list[list[int]], *args: Any, **kwargs: Any) -> Any:
        completion_ids, logprobs = generate(prompt_ids, *args, **kwargs)
        driven.counts["tokens"] += sum(map(len, completion_ids))
        driven.counts["prompt_tokens"] += sum(map(len, prompt_ids))
        return completion_ids, logprobs

    def noted(*args: Any, **kwargs: Any) -> Any:
        values = rewards(*args, **kwargs)
        driven.rewards.extend(values.flatten().tolist())
        return values

    trainer._generate_single_turn, trainer._calculate_rewards = counted, noted


def _told(args: Any) -> dict[str, Any]:
    names = (
        "bf16 gradient_checkpointing per_device_train_batch_size gradient_accumulation_steps steps_per_generation "
        "loss_type scale_rewards optim logging_steps save_strategy lr_scheduler_type adam_beta2 report_to"
    ).split()
    return {name: str(getattr(args, name)) for name in names}


def main() -> None:
    config = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    channel = Channel()
    torch.set_num_threads(config["threads"])
    rows = [json.loads(line) for line in Path(config["rows"]).read_text(encoding="utf-8").splitlines()]
    driven = Driven(channel)
    trainer = GRPOTrainer(
        model=config["model"],
        reward_funcs=build_reward(config),
        args=build_config(config),
        train_dataset=Dataset.from_list([{"prompt": row.pop("messages"), **row} for row in rows]),
        processing_class=AutoTokenizer.from_pretrained(config["model"], padding_side="left"),
        callbacks=[driven],
    )
    driven.trainer = trainer
    driven.clock.timed(trainer, "_generate_single_turn", "sampling")
    driven.clock.timed(trainer, "_calculate_rewards", "grading")
    driven.clock.timed(trainer, "_get_per_token_logps_and_entropies", "forward")
    driven.clock.timed(trainer.accelerator, "backward", "backward")
    count(driven, trainer)
    trainer.train()


if __name__ == "__main__":
    main()
