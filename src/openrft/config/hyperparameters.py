"""Hyperparameters that every training method has: the schedule, what trains, and how the policy is watched."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from openrft.config.spec import Spec

Auto = Literal["auto"]

BUDGET_NAMES = ("budget_minutes", "budget_tokens", "budget_grader_cost")


class TrainingHyperparameters(Spec):
    """What all methods share. OpenAI's names first, then ours; each may be left out."""

    n_epochs: Annotated[int, Field(ge=1, le=1000)] | Auto = "auto"
    """Passes over the training file."""
    batch_size: Annotated[int, Field(ge=1, le=256)] | Auto = "auto"
    """Training rows per step."""
    learning_rate_multiplier: Annotated[float, Field(gt=0)] | Auto = "auto"
    """Scales the learning rate that "auto" would choose."""
    eval_interval: Annotated[int, Field(ge=1)] | Auto = "auto"
    """Steps between two passes over the validation file."""
    eval_samples: Annotated[int, Field(ge=1, le=64)] | Auto = "auto"
    """Completions per validation example at each pass."""
    reasoning_effort: Literal["default", "low", "medium", "high"] = "default"
    """Handed to the chat template of models that know it; "default" hands nothing."""

    num_steps: Annotated[int, Field(ge=1)] | Auto = "auto"
    """Steps in all; when given, ``n_epochs`` must be "auto"."""
    learning_rate: Annotated[float, Field(gt=0, le=1)] | Auto = "auto"
    """Peak learning rate; when given, ``learning_rate_multiplier`` must be "auto"."""
    learning_rate_schedule: Literal["linear", "constant"] = "linear"
    """After the warm-up: ``linear`` falls to a tenth of the peak at the last step."""
    warmup_steps: Annotated[int, Field(ge=0)] | Auto = "auto"
    """Steps over which the learning rate rises to its peak."""
    weights: Literal["full", "lora"] | Auto = "auto"
    """What trains: every weight, or a low-rank adapter beside them."""
    lora_rank: Annotated[int, Field(ge=1, le=512)] = 16
    """Rank of the adapter; its scale alpha is twice the rank."""
    precision: Literal["float32", "bfloat16"] | Auto = "auto"
    """What matrix products are computed in, when sampling and when training; weights stay as they are stored."""
    temperature: Annotated[float, Field(gt=0, le=2)] = 1.0
    """Sampling temperature in training and sampled evaluation."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Nucleus cut in sampled evaluation; training always samples from the whole distribution."""
    stop: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """A completion ends before the first of these strings."""
    max_completion_tokens: Annotated[int, Field(ge=1)] | Auto = "auto"
    """Where a completion is cut off."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """AdamW's decoupled weight decay."""
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    """Gradients longer than this are scaled down to it."""
    microbatch_tokens: Annotated[int, Field(ge=1)] | Auto = "auto"
    """Most tokens of one forward and backward pass; a smaller number saves memory, the result stays the same."""
    checkpoint_interval: Annotated[int, Field(ge=1)] | Auto = "auto"
    """Steps between two checkpoints; there is one at every validation in any case."""
    early_stopping: bool | Auto = "auto"
    """Whether training ends once validation has stopped improving; "auto": yes, unless ``n_epochs`` or ``num_steps``
    is given.
    """
    guard: bool = True
    """Whether a policy that collapses is put back to its last good checkpoint, with half the learning rate."""
    max_ungraded_share: Annotated[float, Field(ge=0, le=1)] = 0.2
    """A step in which more rollouts than this could not be graded fails the job."""
    grader_outage_minutes: Annotated[float, Field(ge=0)] = 60.0
    """How long to wait for a grader that is out of reach (a server that is down, say) before its answers count as
    ungraded. Answers are kept meanwhile.
    """
    pass_threshold: float | None = None
    """An answer passes from this score on; None: the grader's own ``pass_threshold``, else 1."""
    ship: Literal["best", "last"] = "best"
    """Which weights become the model: the best by smoothed validation, or the last step's."""
    budget_minutes: Annotated[float, Field(gt=0)] | None = None
    """Minutes of training after which the job is paused, with everything kept; resuming goes on to the next as many."""
    budget_tokens: Annotated[int, Field(ge=1)] | None = None
    """The same for tokens sampled, in training and evaluation."""
    budget_grader_cost: Annotated[float, Field(gt=0)] | None = None
    """The same for what model graders cost, in the currency of their prices."""

    @model_validator(mode="after")
    def _one_way_to_say_it(self) -> TrainingHyperparameters:
        if self.num_steps != "auto" and self.n_epochs != "auto":
            raise ValueError("num_steps and n_epochs both say how long to train; give one and leave the other auto")
        if self.learning_rate != "auto" and self.learning_rate_multiplier != "auto":
            raise ValueError("learning_rate and learning_rate_multiplier contradict each other; give one of them")
        return self
