"""A rehearsal of a job: the base model answers some rows, the grader is tried in every way, nothing is trained.

prepare   as for a run: data, lengths, grader and "auto" are checked by the same code
sample    some rows, in batches of the job's size, with the job's sampling; graded meanwhile
repeat    the same answers graded again: how much of a score is the grader's chance
attack    answers that no model should be paid for, on the same rows
conclude  numbers and intervals; openrft.diagnosis draws the findings and the verdict
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from openrft.config.graders import GraderSpec, judging_parts
from openrft.config.job import Job
from openrft.diagnosis.exploits import Attack, Row, build_attacks, hold_to_form
from openrft.diagnosis.findings import findings, verdict
from openrft.diagnosis.projection import Latency, measure
from openrft.diagnosis.rehearsal import Finding, Rehearsal, Verdict
from openrft.rollout.clock import PhaseClock, WatchedGrader
from openrft.rollout.collect import GRADING_THREADS, Prompt, collect
from openrft.rollout.native import schema_compiler
from openrft.rollout.prompt import sample_of_text
from openrft.training.prepare import PreparedReinforcement, prepare
from openrft.training.progress import Progress
from openrft.training.rehearsal_numbers import conclude, last_message
from openrft.training.run_folder import grade_fields
from openrft.training.sampling import training_sampling
from openrft.types import Grade, Grader, GradingRequest, RolloutGroup

# Random numbers of their own: training has 0, evaluation 1 and 2, chat 3.
REHEARSAL_STREAM, REPEAT_STREAM, ATTACK_STREAM = 4, 5, 6

DEFAULT_ROWS = 20
MOST_DEFAULT_SAMPLES = 8
MODEL_KINDS = {"score_model", "label_model"}  # their opinion may differ from time to time
COSTLY_KINDS = MODEL_KINDS | {"endpoint"}  # each grade costs money, or somebody else's time
COSTLY_ROWS = 4  # for attacks on such a grader
MODEL_OPINIONS = 3
MODEL_ANSWERS = 24  # that are graded more than once
PATIENCE_SECONDS = 60.0  # for repeating, and for attacking, at the pace that was measured; rows are left out beyond it

_GRADING_BATCH = 8


@dataclass(frozen=True, kw_only=True)
class Rehearsed:
    """What a rehearsal found, and everything that was sampled and graded for it."""

    rehearsal: Rehearsal
    findings: list[Finding]
    verdict: Verdict
    groups: list[RolloutGroup]
    repeated: dict[tuple[int, int], list[Grade]]  # further opinions, by (group, sample)
    attacks: list[tuple[Attack, list[Grade | None]]]  # a grade per attacked row, None where the attack has no text


def rehearse(
    job: Job,
    progress: Progress,
    *,
    num_rows: int | None = None,
    num_samples: int | None = None,
    num_exploit_rows: int | None = None,
) -> Rehearsed:
    """Sample the base model on ``num_rows`` training rows, grade, and say whether the job can learn.

    Raises what :func:`~openrft.training.prepare.prepare` raises for a job that is wrong.
    """
    prepared = prepare(job, progress)
    try:
        return rehearse_prepared(
            prepared, progress, num_rows=num_rows, num_samples=num_samples, num_exploit_rows=num_exploit_rows
        )
    finally:
        prepared.grader.close()


def rehearse_prepared(
    prepared: PreparedReinforcement,
    progress: Progress,
    *,
    num_rows: int | None = None,
    num_samples: int | None = None,
    num_exploit_rows: int | None = None,
) -> Rehearsed:
    """:func:`rehearse` with everything loaded already."""
    settings = prepared.settings
    kinds = grader_kinds(prepared.job.reinforcement.grader)
    prompts = choose_rows(prepared.train, num_rows or DEFAULT_ROWS, seed=prepared.job.seed)
    samples = num_samples or min(settings.group_size, MOST_DEFAULT_SAMPLES)
    progress.phase(f"rehearsing {len(prompts)} prompts: sampling and grading", len(prompts) * samples)
    groups, latency = _sample(prepared, prompts, samples, progress)
    repeated: dict[tuple[int, int], list[Grade]] = {}
    attacks: list[tuple[Attack, list[Grade | None]]] = []
    if any(group.rewards for group in groups):
        repeated = _repeat(prepared, groups, kinds, latency, progress)
        most = num_exploit_rows or (COSTLY_ROWS if kinds & COSTLY_KINDS else len(groups))
        attacks = _attack(prepared, groups[:most], kinds, None if num_exploit_rows else latency, progress)
    rehearsal = conclude(
        prepared, groups, repeated, attacks, latency, num_samples=samples, has_opinions=bool(kinds & MODEL_KINDS)
    )
    found = findings(rehearsal)
    return Rehearsed(
        rehearsal=rehearsal,
        findings=found,
        verdict=verdict(rehearsal, found),
        groups=groups,
        repeated=repeated,
        attacks=attacks,
    )


def grader_kinds(spec: GraderSpec) -> set[str]:
    """The types of a grader and of its parts."""
    return {spec.type, *(part.type for part in judging_parts(spec))}


def choose_rows(prompts: Sequence[Prompt], count: int, *, seed: int) -> list[Prompt]:
    """``count`` of the prompts by chance, in the file's order: a file may be sorted by difficulty."""
    numbers = random.Random(f"rehearsal {seed}").sample(range(len(prompts)), min(count, len(prompts)))
    return [prompts[number] for number in sorted(numbers)]


def _sample(
    prepared: PreparedReinforcement, prompts: Sequence[Prompt], num_samples: int, progress: Progress
) -> tuple[list[RolloutGroup], Latency]:
    """Groups as training makes them: as many prompts at once as a step has, so that the pace is a step's pace."""
    settings, spans = prepared.settings, list[tuple[float, float]]()
    grader = WatchedGrader(prepared.grader, lambda began, ended, _: spans.append((began, ended)))
    groups: list[RolloutGroup] = []
    clock = PhaseClock()
    for step, start in enumerate(range(0, len(prompts), settings.batch_size)):
        groups += collect(
            prepared.engine,
            grader,
            prompts[start : start + settings.batch_size],
            num_samples=num_samples,
            sampling=training_sampling(settings, prepared.json_schema),
            seed=prepared.job.seed,
            stream=REHEARSAL_STREAM,
            step=step,
            model=prepared.policy.name,
            on_rollout=progress.rollout,
            clock=clock,
        )
    spent = clock.take()
    grades = [rollout.grade for group in groups for rollout in group.rollouts]
    latency = measure(
        [grade.seconds for grade in grades],
        spans,
        collect_seconds=sum(spent.values()),
        waiting_seconds=spent["grading"] + spent["waiting"],
    )
    return groups, latency


def _repeat(
    prepared: PreparedReinforcement,
    groups: Sequence[RolloutGroup],
    kinds: set[str],
    latency: Latency,
    progress: Progress,
) -> dict[tuple[int, int], list[Grade]]:
    """Further grades of the same answers: one of each, or of a model several of some.

    Each is asked for as another rollout's (``noise``) and another opinion (``repeat``): what a grader draws by chance,
    it draws anew.
    """
    places = [(place, number) for place, group in enumerate(groups) for number in range(len(group.rollouts))]
    opinions = 2
    most = _affordable(len(places), latency, least=_GRADING_BATCH)
    if kinds & MODEL_KINDS:
        opinions, most = MODEL_OPINIONS, min(most, MODEL_ANSWERS)
    places = places[:: -(-len(places) // most)]
    requests = [
        GradingRequest(
            item=groups[place].example.item,
            sample=groups[place].rollouts[number].sample,
            noise=(prepared.job.seed, REPEAT_STREAM, repeat, place, number),
            repeat=repeat,
        )
        for place, number in places
        for repeat in range(1, opinions)
    ]
    progress.phase("grading the same answers again", len(requests))
    grades = iter(_grade_all(prepared.grader, requests, progress))
    return {one: [next(grades) for _ in range(1, opinions)] for one in places}


def _attack(
    prepared: PreparedReinforcement,
    groups: Sequence[RolloutGroup],
    kinds: set[str],
    latency: Latency | None,
    progress: Progress,
) -> list[tuple[Attack, list[Grade | None]]]:
    """Grade every attack on these rows; on fewer where the measured ``latency`` would make that take long."""
    spec = prepared.job.reinforcement.grader
    reads_json, keys = json_reading(spec)
    reads_model = bool(kinds & MODEL_KINDS)
    rows = [_row(group, item_keys(spec)) for group in groups]
    attacks = build_attacks(rows, reads_model=reads_model, reads_json=reads_json, json_keys=keys)
    if latency is not None:
        num_rows = -(-_affordable(len(attacks) * len(rows), latency, least=COSTLY_ROWS * len(attacks)) // len(attacks))
        if num_rows < len(rows):
            rows = rows[:num_rows]
            attacks = build_attacks(rows, reads_model=reads_model, reads_json=reads_json, json_keys=keys)
    if (schema := prepared.json_schema) is not None:
        compiler = schema_compiler(prepared.policy.network, prepared.policy.tokenizer)
        attacks = hold_to_form(attacks, rows, lambda text: compiler.fits(schema, text))
    requests = [
        GradingRequest(
            item=rows[place].item,
            sample=sample_of_text(text, model=prepared.policy.name, is_structured=prepared.json_schema is not None),
            noise=(prepared.job.seed, ATTACK_STREAM, number, place),
        )
        for number, attack in enumerate(attacks)
        for place, text in enumerate(attack.texts)
        if text is not None
    ]
    progress.phase("trying answers that should not be paid for", len(requests))
    grades = iter(_grade_all(prepared.grader, requests, progress))
    return [(attack, [None if text is None else next(grades) for text in attack.texts]) for attack in attacks]


def json_reading(spec: GraderSpec) -> tuple[bool, list[str]]:
    """Whether a grader reads the answer as JSON, and the keys that its templates name."""
    text = spec.model_dump_json()
    keys = re.findall(r"sample\.output_json\.([^\s.\[\]{}]+)", text)
    return "output_json" in text, list(dict.fromkeys(keys))


def item_keys(spec: GraderSpec) -> list[str]:
    """The keys of a row that templates and Python source name: ``item.x``, ``item["x"]``, ``item.get("x")``."""
    text = spec.model_dump_json()  # quotes inside are escaped
    found = re.findall(r"""item(?:\.get\(\\?['"]|\[\\?['"]|\.)(\w+)""", text)
    return list(dict.fromkeys(found))


def _row(group: RolloutGroup, graded_keys: Sequence[str]) -> Row:
    graded = [rollout for rollout in group.rollouts if rollout.grade.score is not None]
    return Row(
        prompt=last_message(group.example),
        item=group.example.item,
        answers=[rollout.sample.output_text for rollout in graded],
        scores=[rollout.grade.score or 0.0 for rollout in graded],
        graded_keys=graded_keys,
    )


def _affordable(wanted: int, latency: Latency, *, least: int) -> int:
    """How many grades fit into our patience at the pace that was measured."""
    return max(1, min(wanted, max(least, int(PATIENCE_SECONDS * latency.grades_per_second))))


def _grade_all(grader: Grader, requests: Sequence[GradingRequest], progress: Progress) -> list[Grade]:
    """Every grade in order, a few batches at once as in training."""
    pool = ThreadPoolExecutor(GRADING_THREADS, thread_name_prefix="rehearsing")
    try:
        batches = [requests[start : start + _GRADING_BATCH] for start in range(0, len(requests), _GRADING_BATCH)]
        return [grade for grades in pool.map(grader.grade, batches) for grade in _told(grades, progress)]
    finally:
        pool.shutdown(wait=False, cancel_futures=True)  # whoever interrupts does not wait for a slow grader


def _told(grades: Sequence[Grade], progress: Progress) -> Iterator[Grade]:
    for grade in grades:
        progress.rollout()
        yield grade


def as_json(rehearsed: Rehearsed) -> dict[str, Any]:
    """The document that programs read: verdict and findings before the numbers."""
    return {
        "type": "rehearsal",
        "verdict": rehearsed.verdict.code,
        "can_learn": rehearsed.verdict.can_learn,
        "sentence": rehearsed.verdict.sentence,
        "advice": rehearsed.verdict.advice,
        "findings": [
            {"code": f.code, "stops": f.stops, "sentence": f.sentence, "advice": f.advice} for f in rehearsed.findings
        ],
        **rehearsed.rehearsal.to_json(),
    }


def answers_as_json(rehearsed: Rehearsed) -> dict[str, Any]:
    """Every answer with its grades, and every attack with its, for people who want to read them."""
    answers = [
        {
            "line": group.example.line,
            "sample": number,
            "prompt": group.example.messages,
            "output": rollout.completion.text,
            "answer": rollout.sample.output_text,
            **grade_fields(rollout.grade),
            "finish_reason": rollout.completion.finish_reason,
            "tokens": len(rollout.completion.token_ids),
            "repeated_scores": [grade.score for grade in rehearsed.repeated.get((place, number), [])],
        }
        for place, group in enumerate(rehearsed.groups)
        for number, rollout in enumerate(group.rollouts)
    ]
    attacks = [
        {"attack": attack.name, "line": rehearsed.groups[place].example.line, "answer": text, **grade_fields(grade)}
        for attack, grades in rehearsed.attacks
        for place, (text, grade) in enumerate(zip(attack.texts, grades, strict=True))
        if grade is not None
    ]
    return {"answers": answers, "attack_answers": attacks}
