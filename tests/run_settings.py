"""Resolved hyperparameters with literal values, for tests."""

from __future__ import annotations

from openrft.training.resolve import ReinforcementSettings

MEASURED = ("time/", "throughput/", "memory/")  # metrics of the machine: no two runs have the same


def settings(**changes: object) -> ReinforcementSettings:
    """Defaults for a run of 11 steps, with ``changes``."""
    values: dict[str, object] = {
        "algorithm": "rft", "num_steps": 11, "n_epochs": 1.0, "batch_size": 8, "group_size": 8, "learning_rate": 1.0,
        "learning_rate_schedule": "linear", "warmup_steps": 4, "weights": "full", "lora_rank": 16,
        "precision": "float32",
        "reasoning_effort": "default", "temperature": 1.0, "top_p": 1.0, "stop": (), "max_completion_tokens": 16,
        "train_truncated": True, "kl_beta": 0.0, "clip_low": None, "clip_high": None, "weight_decay": 0.0,
        "max_grad_norm": 1.0, "microbatch_tokens": 100, "eval_interval": 1, "eval_samples": 1, "checkpoint_interval": 1,
        "max_ungraded_share": 0.2, "grader_outage_minutes": 0.0, "pass_threshold": 1.0, "ship": "best",
        "early_stopping": False, "guard": False, "prompt_order": "epochs", "groups_per_update": 8,
        "budget_minutes": None, "budget_tokens": None, "budget_grader_cost": None,
    }  # fmt: skip
    return ReinforcementSettings.model_validate({**values, **changes})
