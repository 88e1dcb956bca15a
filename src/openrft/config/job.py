"""A fine-tuning job as people write it: OpenAI's create request, with openrft's own options beside OpenAI's.

``openrft run job.json`` reads exactly this document; file names in it are relative to it. Every hyperparameter may be
left out or be ``"auto"``; ``openrft.training.resolve`` turns each "auto" into a value and says why.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PlainSerializer, PlainValidator, WithJsonSchema, model_validator

from openrft.config.graders import GraderSpec, parse_grader
from openrft.config.response_format import parse_response_format, plain_response_format
from openrft.config.spec import Spec, parse_spec, read_json
from openrft.errors import InvalidRequest

Auto = Literal["auto"]
AlgorithmName = Literal["rft", "rloo", "grpo", "dr_grpo", "dapo", "gspo", "cispo", "reinforce", "maxrl"]


class ReinforcementHyperparameters(Spec):
    """How a reinforcement job samples, learns and is watched. OpenAI's names first, then ours."""

    n_epochs: Annotated[int, Field(ge=1, le=1000)] | Auto = "auto"
    """Passes over the training file."""
    batch_size: Annotated[int, Field(ge=1, le=256)] | Auto = "auto"
    """Prompts per step; ``group_size`` completions are sampled for each."""
    learning_rate_multiplier: Annotated[float, Field(gt=0)] | Auto = "auto"
    """Scales the learning rate that "auto" would choose."""
    compute_multiplier: Annotated[float, Field(gt=0.00001, le=10)] | Auto = "auto"
    """Scales the number of completions per prompt that "auto" would choose."""
    eval_interval: Annotated[int, Field(ge=1)] | Auto = "auto"
    """Steps between two passes over the validation file."""
    eval_samples: Annotated[int, Field(ge=1, le=64)] | Auto = "auto"
    """Completions per validation example at each pass."""
    reasoning_effort: Literal["default", "low", "medium", "high"] = "default"
    """Handed to the chat template of models that know it; "default" hands nothing."""

    algorithm: AlgorithmName = "rft"
    """Which advantage and loss; see the table in docs/training.md."""
    group_size: Annotated[int, Field(ge=2, le=256)] | Auto = "auto"
    """Completions per prompt, compared with one another."""
    num_steps: Annotated[int, Field(ge=1)] | Auto = "auto"
    """Optimizer steps in all; when given, ``n_epochs`` must be "auto"."""
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
    train_truncated: bool = True
    """Whether completions that were cut off train like the others (their grade decides) or are left out."""
    kl_beta: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the penalty for leaving the base model; 0 loads no reference."""
    clip_low: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Lower clip of the importance ratio; None takes the algorithm's own."""
    clip_high: Annotated[float, Field(gt=0)] | None = None
    """Upper clip of the importance ratio; None takes the algorithm's own."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """AdamW's decoupled weight decay."""
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    """Gradients longer than this are scaled down to it."""
    microbatch_tokens: Annotated[int, Field(ge=1)] | Auto = "auto"
    """Most tokens of one forward and backward pass; a smaller number saves memory, the result stays the same."""
    checkpoint_interval: Annotated[int, Field(ge=1)] | Auto = "auto"
    """Steps between two checkpoints; there is one at every validation in any case."""
    max_ungraded_share: Annotated[float, Field(ge=0, le=1)] = 0.2
    """A step in which more rollouts than this could not be graded fails the job."""
    grader_outage_minutes: Annotated[float, Field(ge=0)] = 60.0
    """How long to wait for a grader that is out of reach (a server that is down, say) before its answers count as
    ungraded. Answers are kept meanwhile.
    """
    pass_threshold: float | None = None
    """An answer passes from this score on; None: the grader's own ``pass_threshold``, else 1."""
    ship: Literal["best", "last"] = "best"
    """Which weights become the model: the best by smoothed validation reward, or the last step's."""

    @model_validator(mode="after")
    def _no_contradictions(self) -> ReinforcementHyperparameters:
        if self.num_steps != "auto" and self.n_epochs != "auto":
            raise ValueError("num_steps and n_epochs both say how long to train; give one and leave the other auto")
        if self.learning_rate != "auto" and self.learning_rate_multiplier != "auto":
            raise ValueError("learning_rate and learning_rate_multiplier contradict each other; give one of them")
        if self.group_size != "auto" and self.compute_multiplier != "auto":
            raise ValueError("group_size and compute_multiplier contradict each other; give one of them")
        return self


_GRADER = "method.reinforcement.grader"


def _grader(data: Any) -> Any:
    return data if isinstance(data, Spec) else parse_grader(data, where=_GRADER)


def _plain_grader(grader: GraderSpec) -> dict[str, Any]:
    return grader.model_dump(mode="json", exclude_none=True)


def _response_format(data: Any) -> Any:
    return parse_response_format(data, where="method.reinforcement.response_format")


class Reinforcement(Spec):
    """OpenAI's ``method.reinforcement``."""

    # Any: parse_grader checks it, with better messages than a union of all graders would give.
    grader: Annotated[Any, PlainValidator(_grader), PlainSerializer(_plain_grader), WithJsonSchema({"type": "object"})]
    """What scores the answers."""
    response_format: Annotated[
        Any,
        PlainValidator(_response_format),
        PlainSerializer(plain_response_format),
        WithJsonSchema({"type": "object"}),
    ] = None
    """The form that every answer is held to, in training and validation: OpenAI's chat ``response_format``."""
    hyperparameters: ReinforcementHyperparameters = ReinforcementHyperparameters()


class ReinforcementMethod(Spec):
    """OpenAI's ``method`` of type ``reinforcement``."""

    type: Literal["reinforcement"] = "reinforcement"
    reinforcement: Reinforcement


class Job(Spec):
    """One fine-tuning request: OpenAI's ``POST /fine_tuning/jobs`` body, files by path, plus ``test_file``."""

    model: Annotated[str, Field(min_length=1)]
    """A bundled model, a folder, or a name on the Hugging Face hub; looked for in this order."""
    training_file: Annotated[str, Field(min_length=1)]
    validation_file: Annotated[str, Field(min_length=1)]
    """Watched all along; picks the checkpoint."""
    test_file: str | None = None
    """Rows that nothing is chosen by; the report's figures come from them. Ours."""
    suffix: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    seed: Annotated[int, Field(ge=0, le=2147483647)] = 0
    method: ReinforcementMethod
    metadata: dict[str, str] | None = None


def absolute_model(name: str, folder: Path) -> str:
    """The model ``name`` for a job that is kept: a local folder by its absolute path, any other name as it is.

    The order is that of ``openrft.models.catalog.locate_model``: a bundled model wins, then a folder (relative to
    ``folder``), then the hub. Plain names that start with ``openrft-`` are ours and never a folder; write
    ``./openrft-mine`` for a folder that is called so.
    """
    is_ours = name.startswith("openrft-") and os.sep not in name
    path = (folder / os.path.expanduser(name)).absolute()
    return str(path) if name and not is_ours and os.path.isdir(path) else name


def read_job(path: Path) -> Job:
    """Read a job document; file names in it become absolute, taken relative to the document's folder.

    So does ``model`` where it names a folder; see :func:`absolute_model`.

    ``method.reinforcement.grader`` may also be the name of a JSON file. Raises
    :class:`~openrft.errors.InvalidRequest` with file and field.
    """
    data = read_json(path, what="job file")
    if not isinstance(data, dict):
        raise InvalidRequest(f"job file {path} holds {type(data).__name__}, expected an object", param=str(path))
    folder = path.resolve().parent
    for key in ("model", "training_file", "validation_file", "test_file"):
        if isinstance(data.get(key), str) and "\0" in data[key]:
            raise InvalidRequest(f"{key}: holds a NUL character; no file or model can have this name", param=key)
    for key in ("training_file", "validation_file", "test_file"):
        if isinstance(data.get(key), str) and data[key]:
            data[key] = str(folder / data[key])
    method = data.get("method")
    if isinstance(method, dict) and method.get("type") in ("supervised", "dpo"):
        raise InvalidRequest(
            f'method type {method["type"]!r} is not available yet; use "reinforcement"', param="method.type"
        )
    reinforcement = method.get("reinforcement") if isinstance(method, dict) else None
    if isinstance(reinforcement, dict):
        if isinstance(reinforcement.get("grader"), str):
            reinforcement["grader"] = read_json(folder / reinforcement["grader"], what="grader file")
        for later in ("tools", "max_episode_steps"):
            if reinforcement.pop(later, None) is not None:
                raise InvalidRequest(
                    f"method.reinforcement.{later} is not available yet; remove it to run the job without",
                    param=f"method.reinforcement.{later}",
                )
    if isinstance(data.get("model"), str):
        data["model"] = absolute_model(data["model"], folder)
    job: Job = parse_spec(Job, data)
    return job
