"""The nouns that travel between the parts, and the two seams behind which everything replaceable lives.

    Example ─(Engine.generate)→ Completion ─(Grader.grade)→ Grade
       └────────────── Rollout = completion + grade ──────────────┘
                       RolloutGroup = the rollouts of one prompt; its rewards become advantages

Dimension letters used in names and docstrings everywhere: ``B`` rows of a batch, ``G`` rollouts of a group, ``P``
prompt tokens, ``T`` completion tokens, ``L`` tokens of one whole sequence, ``V`` vocabulary, ``N`` completion tokens of
a batch laid end to end, ``S`` sequences (rollouts) of a batch, ``K`` groups of a batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol

from openrft.errors import GradeErrorKind

FinishReason = Literal["stop", "length"]
"""``stop``: the model ended its turn or a stop string matched; ``length``: cut at ``max_tokens``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """One dataset row. ``item`` is the whole row as graders see it, ``messages`` and ``tools`` included."""

    id: str  # stable over files and order: a hash of the row's content
    index: int  # 0-based position among the file's examples
    line: int  # 1-based line in the file, for error messages
    messages: list[dict[str, Any]]
    item: dict[str, Any]
    tools: list[dict[str, Any]] | None = None
    dialogue: list[dict[str, Any]] | None = None
    """In a supervised row the whole conversation: ``messages``, which end before the last answer, and that answer.
    Answers that do not train have ``weight`` 0.
    """


@dataclass(frozen=True, kw_only=True, slots=True)
class SamplingParams:
    """How completions are drawn. ``temperature`` 0 is greedy; ``top_p`` cuts after the temperature is applied."""

    max_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()  # a completion ends before the first of these strings, which is cut from ``text``
    json_schema: str | None = None
    """A JSON schema as text. The answer (after a reasoning model's thoughts) is JSON that fits it: at every position
    the model's distribution is restricted to the tokens that can still lead there, and renormalized.
    """


@dataclass(frozen=True, kw_only=True, slots=True)
class NoiseKey:
    """Names the random numbers of one prompt's completions.

    The uniform number for token ``position`` of completion ``sample`` is a pure function of
    (seed, stream, step, example, sample, position), so it depends neither on batching nor on what ran before.
    ``stream`` keeps training (0), validation (1) and other uses apart.
    """

    seed: int
    stream: int
    step: int
    example: int


@dataclass(frozen=True, kw_only=True, slots=True)
class GenerationRequest:
    """One prompt, and how many completions of it: the group is prefilled once."""

    id: int  # the caller's own number; comes back on every completion
    prompt_token_ids: list[int]  # [P]
    num_samples: int
    sampling: SamplingParams
    noise: NoiseKey
    first_sample: int = 0  # number of its first completion, for the noise too: a group may be asked for in parts


@dataclass(frozen=True, kw_only=True, slots=True)
class Completion:
    """What the policy produced for one prompt.

    ``token_ids`` end with the end-of-turn token when ``finish_reason`` is ``stop`` by that token.
    ``sampling_logprobs`` are those of the distribution that was sampled: after temperature, schema and top-p.
    """

    request_id: int
    sample_index: int  # first_sample … first_sample + num_samples - 1 of its request
    token_ids: list[int]  # [T], T >= 1
    sampling_logprobs: list[float]  # [T]
    text: str  # decoded, without special tokens and without the stop string
    finish_reason: FinishReason
    policy_version: int  # steps behind the weights that sampled it


class Engine(Protocol):
    """Produces completions. Each engine passes ``tests/integration/engine_contract.py``."""

    def generate(self, requests: Sequence[GenerationRequest]) -> Iterator[Completion]:
        """Yield every completion of every request, each as soon as it is finished, in no promised order."""
        ...

    def load_weights(self, version: int) -> None:
        """From now on sample from the policy's weights after ``version`` steps.

        Raises :class:`openrft.errors.EngineError` when the engine cannot prove that it does.
        """
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class GradeError:
    """Why there is no score, for people (``message``) and for counters (``kind``)."""

    kind: GradeErrorKind
    message: str
    grader: str
    transient: bool = False  # the grader was out of reach or busy: grading the same answer again may well succeed


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenUsage:
    """Tokens that a model grader spent. ``cached_tokens`` are those of the prompt that the server had seen before."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    cost: float = 0.0  # in the currency of the price table; 0 where no price is known

    def __add__(self, other: TokenUsage) -> TokenUsage:
        return TokenUsage(
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
            cached_tokens=self.cached_tokens + other.cached_tokens,
            cost=self.cost + other.cost,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Grade:
    """A grader's answer: a score, or errors that say why there is none. Never a made-up zero.

    A multi grader's ``sub_grades`` hold the grade of each part under its key; its own ``score`` is None as soon as a
    part that its formula needs is missing.
    """

    grader: str
    score: float | None
    error: GradeError | None = None
    sub_grades: Mapping[str, Grade] = field(default_factory=dict)
    explanation: str = ""  # how the score came about, for people
    printed: str = ""  # what the grader's code printed, cut to size
    seconds: float = 0.0
    usage: Mapping[str, TokenUsage] = field(default_factory=dict)  # by model; a multi grader's is the sum of its parts
    unparsed: bool = False  # the answer was not the JSON that the grader reads, and got 0 for it
    replaced: GradeError | None = None  # the failure that the definition's ``invalid_grade`` stands in for
    was_asked: bool = True  # whether the grader itself answered now: not for an answer from memory or an unparsed one

    def __post_init__(self) -> None:
        if (self.score is None) == (self.error is None):
            raise ValueError(f"a grade has a score or an error, exactly one: {self.score=}, {self.error=}")

    @property
    def failure(self) -> GradeError | None:
        """What went wrong, also where ``invalid_grade`` stands in for it."""
        return self.error or self.replaced

    def as_plain(self) -> dict[str, Any]:
        """Everything that people and programs read of a grade as JSON values, every part whole."""
        return {
            "grader": self.grader,
            "score": self.score,
            "error": None if self.error is None else {"kind": self.error.kind, "message": self.error.message},
            "replaced": None
            if self.replaced is None
            else {"kind": self.replaced.kind, "message": self.replaced.message},
            "explanation": self.explanation,
            "printed": self.printed,
            "seconds": round(self.seconds, 6),
            "usage": {model: asdict(spent) for model, spent in self.usage.items()},
            "unparsed": self.unparsed,
            "sub_grades": {key: part.as_plain() for key, part in self.sub_grades.items()},
        }


def is_outage(grades: Iterable[Grade]) -> bool:
    """Whether most scores that are missing are so because a grader was out of reach."""
    errors = [grade.error for grade in grades if grade.error is not None]
    return 2 * sum(error.transient for error in errors) > len(errors)


def total_usage(grades: Iterable[Grade]) -> dict[str, TokenUsage]:
    """What model graders spent on all of them, by model."""
    total: dict[str, TokenUsage] = {}
    for grade in grades:
        for model, spent in grade.usage.items():
            total[model] = total.get(model, TokenUsage()) + spent
    return total


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """What a grader may see of a completion: the fields of OpenAI's ``sample`` namespace.

    ``output_text`` is the answer; a reasoning model's thoughts (``<think>…</think>``) are in ``reasoning_text``.
    ``output_json`` is the parsed answer when it is JSON, else None.
    """

    output_text: str
    output_json: Any = None
    reasoning_text: str | None = None
    finish_reason: FinishReason = "stop"
    model: str = ""
    is_structured: bool = False  # sampled under a schema: an answer that is not JSON was cut off, and is ``null``

    @property
    def has_parse_error(self) -> bool:
        """The answer was to be JSON and is not."""
        return self.is_structured and self.output_json is None

    def as_namespace(self) -> dict[str, Any]:
        """The dict that templates and Python graders read (the ``sample`` fields of OpenAI's grader reference)."""
        message = {"role": "assistant", "content": self.output_text, "refusal": None, "tool_calls": None}
        namespace: dict[str, Any] = {
            "output_text": self.output_text,
            "output_tools": [],
            "choices": [{"index": 0, "message": message, "finish_reason": self.finish_reason}],
            "model": self.model,
            "output_reasoning_summary": self.reasoning_text,
            "output_audio": None,
        }
        if self.output_json is not None or self.is_structured:
            namespace["output_json"] = self.output_json
        return namespace


@dataclass(frozen=True, kw_only=True, slots=True)
class GradingRequest:
    """One completion to grade: the example's whole row and the sample."""

    item: Mapping[str, Any]
    sample: Sample
    noise: tuple[int, ...] = ()  # names this rollout, the same again in a resumed run: for graders that draw numbers
    repeat: int = 0  # which opinion on the same answer this is: a model grader's cache keeps them apart


class Grader(Protocol):
    """Turns completions into grades."""

    @property
    def name(self) -> str:
        """The grader's name, for metrics and error messages."""
        ...

    @property
    def is_inline(self) -> bool:
        """Whether grading is quick and done in this process: such graders get batches between two sampling steps.

        The others wait for processes or networks, and get their requests on threads of their own.
        """
        ...

    def grade(self, requests: Sequence[GradingRequest]) -> list[Grade]:
        """Grade each request, in order. A failure is a grade with an error; this never raises for one."""
        ...

    def close(self) -> None:
        """Give back processes and connections; grading afterwards is an error."""
        ...


LeftOutReason = Literal["ungraded", "lone", "no_signal", "truncated", "no_choice"]
"""``ungraded``: no score; ``lone``: the only graded one of its group; ``no_signal``: its group's rewards are all equal;
``truncated``: cut at the length limit, where the job says that such rollouts do not train; ``no_choice``: the schema
left one token at every position."""


@dataclass(kw_only=True, slots=True)
class Rollout:
    """A completion with its grade and what training made of it."""

    sample_index: int
    completion: Completion
    sample: Sample
    grade: Grade
    reward: float | None = None  # the number the algorithm used; None when ungraded
    advantage: float | None = None  # credit given to every token; None when left out
    left_out: LeftOutReason | None = None


@dataclass(kw_only=True, slots=True)
class RolloutGroup:
    """The rollouts of one prompt, compared with one another."""

    example: Example
    prompt_token_ids: list[int]  # [P]
    rollouts: list[Rollout]  # in order of ``sample_index``

    @property
    def rewards(self) -> list[float]:
        """Rewards of the graded rollouts, in order."""
        return [rollout.reward for rollout in self.rollouts if rollout.reward is not None]


Metrics = dict[str, float]
"""Numbers of one step by name: ``group/name``, lower case, unit in the name where it is not plain."""


def merge_metrics(parts: Iterable[Metrics]) -> Metrics:
    """Join metrics of different parts of a step; the same name twice is a bug and raises."""
    merged: Metrics = {}
    for part in parts:
        twice = merged.keys() & part.keys()
        if twice:
            raise ValueError(f"metrics recorded twice in one step: {sorted(twice)}")
        merged |= part
    return merged
