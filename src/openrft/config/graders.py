"""The grader definitions that a job may hold (as in OpenAI's grader reference), strict, and how to read one.

All types but ``random`` are OpenAI's. Templates, formulas and Python source are only text here: ``openrft.graders``
reads them when it builds the grader.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from openrft.config.messages import Filled, InputMessage, Number, SamplingOptions
from openrft.config.spec import Problems, Spec, parse_spec
from openrft.config.web import wrong_headers, wrong_web_address
from openrft.errors import InvalidRequest

MAX_SOURCE_BYTES = 256 * 1024
"""OpenAI's limit for the source of a Python grader: smaller than 256 kB."""

FORMULA_FUNCTIONS = ("min", "max", "abs", "floor", "ceil", "exp", "sqrt", "log")
"""The functions of ``calculate_output``; a sub-grader cannot be called like one of them."""

Metric = Literal[
    "fuzzy_match", "bleu", "gleu", "meteor", "cosine", "rouge_1", "rouge_2", "rouge_3", "rouge_4", "rouge_5", "rouge_l"
]


class _GraderOptions(Spec):
    name: str | None = None
    """What metrics and messages call this grader; without it, its key in a multi grader, else its type."""

    pass_threshold: Number | None = None
    """Scores from here on count as passed in metrics and evals. It does not change the reward."""

    invalid_grade: Number | None = None
    """The score to give when grading fails. Without it a failed grade stays without a score, and does not
    train.
    """


class StringCheckSpec(_GraderOptions):
    """1 when a comparison of two texts holds, else 0. Nothing is trimmed."""

    type: Literal["string_check"] = "string_check"
    input: str
    """The text to look at; a template."""
    reference: str
    """The text to compare with; a template."""
    operation: Literal["eq", "ne", "neq", "like", "ilike"]
    """``eq`` equal; ``ne`` (or ``neq``) not equal; ``like`` input contains reference; ``ilike`` without
    regard to case.
    """


class TextSimilaritySpec(_GraderOptions):
    """How alike two texts are, from 0 to 1."""

    type: Literal["text_similarity"] = "text_similarity"
    input: str
    """The text to grade; a template."""
    reference: str
    """The text it should resemble; a template."""
    evaluation_metric: Metric
    """The measure; docs/graders.md says which library computes it, with which settings."""


class PythonSpec(_GraderOptions):
    """Your own ``grade(sample, item)``."""

    type: Literal["python"] = "python"
    source: str
    """Python source, smaller than 256 kB, that defines ``grade`` with exactly two positional parameters."""
    image_tag: str | None = None
    """OpenAI's name for a set of installed packages. Accepted and ignored for now: graders see this
    installation's.
    """

    @field_validator("source")
    @classmethod
    def _limit_source(cls, source: str) -> str:
        size = len(source.encode("utf-8", "surrogatepass"))
        if size >= MAX_SOURCE_BYTES:
            raise ValueError(f"source is {size:,} bytes; it must be smaller than {MAX_SOURCE_BYTES:,} (256 kB)")
        return source


class RandomSpec(_GraderOptions):
    """Ours, not OpenAI's: a reward that means nothing, for control experiments."""

    type: Literal["random"] = "random"
    seed: Annotated[int, Field(strict=True)] = 0
    """The score is uniform in [0, 1), a function of this seed and the rollout, and the same in a resumed run."""


class _ModelGraderOptions(_GraderOptions):
    model: Annotated[str, Field(min_length=1)]
    """A name that openrft.toml maps to a server."""
    input: Filled[InputMessage]
    """The messages for that model; their texts, image addresses and sounds are templates."""
    sampling_params: SamplingOptions | None = None


class ScoreModelSpec(_ModelGraderOptions):
    """A model reads the answer and gives a number."""

    type: Literal["score_model"] = "score_model"
    range: tuple[Number, Number] = (0.0, 1.0)
    """The lowest and the highest score; a number outside becomes the nearer of the two."""

    @field_validator("range")
    @classmethod
    def _ascending(cls, value: tuple[float, float]) -> tuple[float, float]:
        low, high = value
        if low >= high:
            wrong = "upside down" if low > high else "empty"
            raise ValueError(f"the range is {wrong}; write the lower number first, then the higher one, as in [0, 1]")
        return value

    @field_validator("range", mode="before")
    @classmethod
    def _two_numbers(cls, value: Any) -> Any:
        if value is None:
            return (0.0, 1.0)
        numbers = value if isinstance(value, list | tuple) else ()
        if len(numbers) != 2 or not all(type(number) in (int, float) for number in numbers):
            raise ValueError("expected two numbers in ascending order, as in [0, 1]")
        return value


class LabelModelSpec(_ModelGraderOptions):
    """A model reads the answer and picks a label: 1 when it is a passing one, else 0."""

    type: Literal["label_model"] = "label_model"
    labels: Filled[Annotated[str, Field(min_length=1)]]
    """All labels that the model may pick."""
    passing_labels: Filled[str]
    """Those of them that score 1."""

    @field_validator("labels", "passing_labels")
    @classmethod
    def _unique(cls, labels: tuple[str, ...]) -> tuple[str, ...]:
        twice = sorted(label for label, count in Counter(labels).items() if count > 1)
        if twice:
            raise ValueError(f"listed twice: {', '.join(map(repr, twice))}; write each label once")
        return labels

    @field_validator("passing_labels")
    @classmethod
    def _known(cls, passing: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        labels = info.data.get("labels")
        known = passing if labels is None else frozenset(labels)
        unknown = [label for label in passing if label not in known]
        if unknown:
            raise ValueError(f"{', '.join(map(repr, unknown))} not among labels; a passing label is one of labels")
        return passing


class EndpointSpec(_GraderOptions):
    """Your own HTTP server: it gets the sample and the row, and answers with a score."""

    type: Literal["endpoint"] = "endpoint"
    url: str
    """Where the sample is posted: an http or https address."""
    # Headers carry passwords: no repr, and thereby no traceback or log, shows them.
    headers: dict[str, str] | None = Field(default=None, repr=False)
    """Sent with every request."""
    rate_limit: Annotated[Number, Field(gt=0)] | None = None
    """Most requests per second."""


_Part = StringCheckSpec | TextSimilaritySpec | PythonSpec | ScoreModelSpec | LabelModelSpec | EndpointSpec | RandomSpec
PartSpec = Annotated[_Part, Field(discriminator="type")]
"""What a multi grader may hold: everything but another multi grader."""


class MultiSpec(_GraderOptions):
    """Several graders and a formula that makes one score of theirs."""

    type: Literal["multi"] = "multi"
    graders: dict[str, PartSpec] = Field(min_length=1)
    """The parts under the names that the formula uses: a map, not a list."""
    calculate_output: str
    """A formula over those names: ``+ - * / ^``, parentheses, min max abs floor ceil exp sqrt log."""


GraderSpec = Annotated[_Part | MultiSpec, Field(discriminator="type")]


def judging_parts(spec: GraderSpec) -> list[_Part]:
    """The graders that look at answers: the parts of a multi grader, else the grader itself."""
    return list(spec.graders.values()) if isinstance(spec, MultiSpec) else [spec]


GRADER_TYPES: dict[str, type[_GraderOptions]] = {
    "string_check": StringCheckSpec,
    "text_similarity": TextSimilaritySpec,
    "python": PythonSpec,
    "score_model": ScoreModelSpec,
    "label_model": LabelModelSpec,
    "endpoint": EndpointSpec,
    "multi": MultiSpec,
    "random": RandomSpec,
}
"""Every ``type`` of a grader, and its options."""

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def parse_grader(data: Any, where: str = "grader") -> GraderSpec:
    """Read a grader definition; ``where`` is its place in the whole document, for messages.

    Raises :class:`InvalidRequest` that names every wrong field (``grader.graders.style.input``); ``param`` is
    the first.
    """
    problems = Problems()
    spec = _parse(data, where, problems)
    problems.raise_if_any()
    assert spec is not None  # without a problem there is a spec
    return spec  # type: ignore[return-value]  # one of GRADER_TYPES, which are the members of GraderSpec


def _parse(data: Any, where: str, problems: Problems, *, inside_multi: bool = False) -> _GraderOptions | None:
    if isinstance(data, _GraderOptions):
        data = data.model_dump()
    if not isinstance(data, dict):
        problems.add(where, f"expected an object, but got {_json_kind(data)} instead")
        return None
    kind = data.get("type")
    if not isinstance(kind, str) or kind not in GRADER_TYPES:
        problems.add(f"{where}.type", _unknown_type(kind, problems, missing="type" not in data))
        return None
    if kind == "multi" and inside_multi:
        problems.add(
            f"{where}.type",
            "a multi grader cannot hold another one; move its parts up and extend the formula",
        )
        return None
    spec_type = GRADER_TYPES[kind]
    known = {}
    for key, value in data.items():
        if key in spec_type.model_fields:
            known[key] = value
        else:
            problems.add(f"{where}.{key}", _unknown_key(key, kind, list(spec_type.model_fields), problems))
    if kind == "multi" and "graders" in known:
        parts = _parse_parts(known["graders"], f"{where}.graders", problems)
        if parts is None:
            return None
        known["graders"] = parts
    if kind == "endpoint":
        _check_endpoint(known, where, problems)
    if isinstance(known.get("sampling_params"), dict):
        known["sampling_params"] = _known_sampling(known["sampling_params"], f"{where}.sampling_params", problems)
    try:
        return parse_spec(spec_type, known, where=where)
    except InvalidRequest as error:
        problems.take(error)
        return None


def _known_sampling(given: dict[Any, Any], where: str, problems: Problems) -> dict[Any, Any]:
    """The sampling parameters that there are; the others are told here, with the one that was meant."""
    names = ["max_completion_tokens", *SamplingOptions.model_fields]
    for key in (key for key in given if key not in names):
        hint = "" if problems.are_enough else _did_you_mean(str(key), names) or f"; there are {', '.join(names)}"
        problems.add(f"{where}.{key}", f"unknown key{hint}")
    return {key: value for key, value in given.items() if key in names}


def _check_endpoint(known: dict[str, Any], where: str, problems: Problems) -> None:
    """Tell what is wrong with an address or headers here, because pydantic would quote them, passwords included."""
    if known.get("headers") is not None and (wrong := list(wrong_headers(known["headers"]))):
        for place, message in wrong:
            problems.add(f"{where}.headers{place}", message)
        known["headers"] = None
    if "url" in known and (problem := wrong_web_address(known["url"])):
        problems.add(f"{where}.url", problem)
        known["url"] = "https://example.com"  # told already: only the other fields are of interest now


def _parse_parts(data: Any, where: str, problems: Problems) -> dict[str, _GraderOptions] | None:
    """The sub-graders of a multi grader; None when one of them is wrong."""
    if not isinstance(data, dict):
        message = f"expected a map of name to grader, but got {_json_kind(data)} instead"
        problems.add(where, message + ', as in {"accuracy": {"type": "string_check", …}}')
        return None
    parts, is_good = {}, True
    for key, value in data.items():
        if not isinstance(key, str) or not _IDENTIFIER.fullmatch(key) or key in FORMULA_FUNCTIONS:
            reason = "is a function of the formula" if key in FORMULA_FUNCTIONS else "cannot be a name in the formula"
            problems.add(f"{where}.{key}", f"{reason}; use letters, digits and _, as in part_1")
            is_good = False
        part = _parse(value, f"{where}.{key}", problems, inside_multi=True)
        if part is None:
            is_good = False
        else:
            parts[str(key)] = part
    return parts if is_good else None


def _unknown_type(kind: Any, problems: Problems, *, missing: bool) -> str:
    known = ", ".join(GRADER_TYPES)
    if problems.are_enough:
        return "unknown grader type"
    if missing:
        return f"missing; it is required and says which grader this is: {known}"
    if not isinstance(kind, str):
        return f"expected a string, but got {_json_kind(kind)} instead; known types: {known}"
    return f"unknown grader type {kind[:80]!r}; known types: {known}{_did_you_mean(kind, list(GRADER_TYPES))}"


def _unknown_key(key: Any, kind: str, known: list[str], problems: Problems) -> str:
    if problems.are_enough:  # looking for what was meant takes its time
        return "unknown key"
    hint = _did_you_mean(str(key), known) or f"; a {kind} grader has {', '.join(known)}"
    return "unknown key" + hint


def _did_you_mean(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _json_kind(value: Any) -> str:
    names = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number" if isinstance(value, int | float) else type(value).__name__)
