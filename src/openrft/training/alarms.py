"""A run's alarms: the rules of ``diagnosis/watch`` go through what its folder records.

``alarms.json`` holds what they found so far. It is a function of the recorded metrics and evaluations, but for the
evidence: rollouts stay on the machine that sampled them, so what was found there is kept.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from openrft.diagnosis.watch.alarm import ALARMS_FILE, Alarm, Reference, Source
from openrft.diagnosis.watch.answers import Answer, answers_of_rows, answers_of_validation
from openrft.diagnosis.watch.history import Facts, ValidationPass
from openrft.diagnosis.watch.watch import Watch
from openrft.evaluation.noticed import Evidence, Noticed
from openrft.training.prepare import Prepared
from openrft.training.run_folder import RunFolder, read_rows

_Key = tuple[str, int]


def facts_of(prepared: Prepared) -> Facts:
    """What the rules know of a run that is about to begin; :meth:`Facts.from_config` reads the same from its folder."""
    return Facts(
        num_train=len(prepared.datasets["training_file"].examples),
        batch_size=prepared.settings.batch_size,
        passing_score=prepared.settings.passing_score,
    )


class Alarms:
    """Sees every recorded step of a run, and keeps what the rules found beside it."""

    def __init__(self, folder: RunFolder, facts: Facts) -> None:
        self._folder, self._facts = folder, facts
        self._watch: Watch | None = None
        self._told: dict[_Key, Alarm] | None = None  # by an earlier attempt as well, which may have come further
        self._written: list[Alarm] = []

    def see(self, row: Mapping[str, Any]) -> list[Alarm]:
        """Take the metrics of a recorded step in: what begins with it, and what is over."""
        if self._watch is None:
            return self.catch_up()
        see_step(self._watch, self._folder.path, row)
        return self._keep()

    def catch_up(self) -> list[Alarm]:
        """Go through what earlier attempts have recorded: what nobody has been told yet."""
        if self._watch is None:
            self._watch = _replayed(self._folder.path, self._facts)
        return self._keep()

    @property
    def all(self) -> list[Alarm]:
        """Everything that was raised so far, in the order of its steps."""
        return [] if self._watch is None else self._with_evidence(self._watch.alarms)

    def _keep(self) -> list[Alarm]:
        if self._told is None:
            self._written = read_alarms(self._folder.path)
            self._told = {_key(alarm): alarm for alarm in self._written}
        found = self.all
        news = [alarm for alarm in found if self._is_new(alarm)]
        self._told |= {_key(alarm): alarm for alarm in news}
        if found != self._written:
            self._folder.write(ALARMS_FILE, {"alarms": [alarm.to_json() for alarm in found]})
            self._written = found
        return news

    def _is_new(self, alarm: Alarm) -> bool:
        told = (self._told or {}).get(_key(alarm))
        return told is None or (told.ended_step is None and alarm.ended_step is not None)

    def _with_evidence(self, alarms: Sequence[Alarm]) -> list[Alarm]:
        """What is no longer at hand here was seen by an earlier attempt."""
        told = self._told or {}
        return [
            replace(alarm, evidence=told[_key(alarm)].evidence) if not alarm.evidence and _key(alarm) in told else alarm
            for alarm in alarms
        ]


def diagnose(path: Path) -> list[Alarm]:
    """What the rules find in the run folder ``path``, finished or still running, whatever was told at the time."""
    config = json.loads((path / "config.json").read_bytes())
    return _replayed(path, Facts.from_config(config)).alarms


def read_alarms(path: Path) -> list[Alarm]:
    """What ``alarms.json`` of the run folder ``path`` holds; nothing where there is none."""
    file = path / ALARMS_FILE
    if not file.exists():
        return []
    return [Alarm.from_json(alarm) for alarm in json.loads(file.read_bytes())["alarms"]]


def as_noticed(path: Path, alarm: Alarm) -> Noticed:
    """An alarm with the answers that show it, as far as they are in the run folder ``path``."""
    evidence = [_evidence(path, reference) for reference in alarm.evidence]
    return Noticed(**{**alarm.to_json(), "evidence": evidence})


def _evidence(path: Path, reference: Reference) -> Evidence:
    answers = _answers(path, reference.source, reference.step)
    found = next((answer for answer in answers if answer.reference == reference), None)
    if found is None:
        return Evidence(**asdict(reference))
    return Evidence(**asdict(reference), score=found.reward, monitor_score=found.monitored, text=found.text)


def _answers(path: Path, source: Source, step: int) -> Sequence[Answer]:
    if source == "rollouts":
        return answers_of_step(path, step)
    evaluation = validation_of_step(path, step)
    return () if evaluation is None else answers_of_validation(evaluation)


def answers_of_step(path: Path, step: int) -> list[Answer]:
    """What was sampled in a step's training; nothing where another machine did it."""
    return answers_of_rows(read_rows(path / f"rollouts/step-{step:06d}.jsonl"))


def validation_of_step(path: Path, step: int) -> dict[str, Any] | None:
    """The pass over the validation rows after ``step``; None where there was none."""
    file = path / f"evaluations/step-{step:06d}-valid-sampled.json"
    evaluation: dict[str, Any] | None = json.loads(file.read_bytes()) if file.exists() else None
    return evaluation


def see_step(watch: Watch, path: Path, row: Mapping[str, Any]) -> list[Alarm]:
    """Show ``watch`` a step that the folder ``path`` holds."""
    evaluation = validation_of_step(path, row["step"])
    return watch.see(
        row,
        None if evaluation is None else ValidationPass.from_json(evaluation),
        rollouts=lambda: answers_of_step(path, row["step"]),
        validation_answers=lambda: () if evaluation is None else answers_of_validation(evaluation),
    )


def _replayed(path: Path, facts: Facts) -> Watch:
    watch = Watch(facts)
    for row in read_rows(path / "metrics.jsonl"):
        see_step(watch, path, row)
    return watch


def _key(alarm: Alarm) -> _Key:
    return alarm.code, alarm.step
