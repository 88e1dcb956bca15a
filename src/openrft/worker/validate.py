"""Validates the files of one new job, in a process with little memory: python -m openrft.worker.validate.

The brief comes on standard input. The job is queued, or has failed with everything that is wrong with its files.
"""

from __future__ import annotations

import logging
import re
import resource
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from openrft.config.graders import GraderSpec
from openrft.config.job import Job
from openrft.config.spec import parse_spec
from openrft.dataset import Dataset, check_overlap, read_examples, row_limits
from openrft.errors import DatasetError, InvalidRequest, NotFound, OpenRFTError, Problem
from openrft.graders import check_grader
from openrft.store import Store, open_store
from openrft.store.rows import JobError, JobRow, NewEvent
from openrft.worker.brief import Brief
from openrft.worker.insist import Insist
from openrft.worker.job_files import ROLES, JobFiles
from openrft.worker.lifeline import end_with
from openrft.worker.notes import note_key

MEMORY_BYTES = 4 * 1024**3
"""Address space of a validator: the largest file that is taken, read whole, several times over."""

MOST_SHOWN = 20

_MOST_WARNINGS = 50

_HELD_OUT = ("validation_file", "test_file")

_OF_FORMAT = frozenset({"not_jsonl", "invalid_json", "invalid_encoding", "invalid_unicode"})


def main() -> None:
    """The process."""
    brief = Brief.read(sys.stdin.buffer)
    end_with(brief.parent)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES if hard == resource.RLIM_INFINITY else hard, hard))
    insist = Insist(lambda: None)
    with insist(lambda: open_store(brief.database_url, artifacts=brief.artifacts)) as store:
        job = insist(lambda: store.jobs.get(brief.project_id, brief.job_id))
        if job.status == "validating_files":
            validate(store, job, brief.folder, insist)


def validate(store: Store, job: JobRow, folder: Path, insist: Insist) -> None:
    """Look at the files and the grader, tell people, and queue the job or end it."""
    files = JobFiles(folder, job)
    insist(lambda: store.jobs.tell(job.project_id, job.id, NewEvent(message=_announcement(files), key="validating")))
    error: JobError | None = None
    try:
        warnings = _check(store, job, files, insist)
    except OpenRFTError as wrong:
        error = _job_error(wrong, files)
    except MemoryError:
        message = "The job failed because its files need more memory to read than there is; use smaller files"
        error = JobError(code="invalid_training_file", message=message, param="training_file")
    if error is not None:
        found = error
        insist(lambda: store.jobs.reject(job.project_id, job.id, found))
        return
    if warnings:
        insist(lambda: store.jobs.tell(job.project_id, job.id, *warnings))
    insist(lambda: store.jobs.accept(job.project_id, job.id))


def _announcement(files: JobFiles) -> str:
    train, valid = files.ids["training_file"], files.ids.get("validation_file")
    return f"Validating training file: {train}" + (f" and validation file: {valid}" if valid else "")


def _check(store: Store, job: JobRow, files: JobFiles, insist: Insist) -> list[NewEvent]:
    """Raise what is wrong; otherwise what deserves a word."""
    document: Job = parse_spec(Job, {**job.spec["document"], **files.paths}, where="job")
    files.fetch(store, insist)
    datasets: dict[str, Dataset] = {}
    for role, path in files.paths.items():
        try:
            datasets[role] = read_examples(path, name=files.label(role), **_what_is_read(document, role))
        except DatasetError as wrong:
            raise DatasetError(wrong.problems, param=role) from None
    for where, (grader, roles) in _graders(document).items():
        for role in (role for role in roles if role in datasets):
            try:
                check_grader(grader, datasets[role].examples, where=where)
            except InvalidRequest as wrong:
                raise InvalidRequest(f"{files.label(role)}: {wrong.message}", param=wrong.param) from None
    found: list[Problem] = [warning for data in datasets.values() for warning in data.warnings]
    for role in _HELD_OUT:
        if role in datasets:
            found += check_overlap(datasets["training_file"], datasets[role])
    told = [str(problem) for problem in found[:_MOST_WARNINGS]]
    if len(found) > _MOST_WARNINGS:
        told.append(f"… and {len(found) - _MOST_WARNINGS} more warnings like these")
    # The same keys as those of the notes that the attempt makes of the same rows: each is told once.
    return [NewEvent(message=text, level="warn", key=note_key("preparing", text)) for text in told]


def _what_is_read(job: Job, role: str) -> dict[str, Any]:
    """What the rows of a file are for, and how many it may have."""
    least, most = row_limits(job.method.type, role)
    return {"method": job.method.type, "min_rows": least, "max_rows": most}


def _graders(job: Job) -> dict[str, tuple[GraderSpec, Sequence[str]]]:
    """The job's graders by their place in the document, each with the files whose rows it grades answers to."""
    found: dict[str, tuple[GraderSpec | None, Sequence[str]]]
    if job.method.type == "supervised":
        found = {"method.supervised.grader": (job.method.supervised.grader, _HELD_OUT)}
    else:
        asked = job.reinforcement
        found = {
            "method.reinforcement.grader": (asked.grader, ROLES),
            "method.reinforcement.monitor_grader": (asked.monitor_grader, _HELD_OUT),
        }
    return {where: (grader, roles) for where, (grader, roles) in found.items() if grader is not None}


def _job_error(error: OpenRFTError, files: JobFiles) -> JobError:
    if isinstance(error, NotFound):
        return JobError(code="invalid_training_file", message=f"{error.message}; it was deleted", param="training_file")
    if not isinstance(error, DatasetError):
        return JobError(code=error.code, message=files.public(error.message), param=error.param)
    role = error.param or "training_file"
    kind = role.replace("_", " ")
    # That a file has too few examples is no news where its rows are wrong.
    problems = [one for one in error.problems if one.code != "invalid_n_examples"]
    codes = {problem.code for problem in problems}
    if not problems:
        problem = error.problems[0]
        leading = re.match(r"[\d,]*", problem.found)
        count = (leading and leading[0]) or "0"  # found may also be "only empty lines"
        rows = f"{kind.capitalize()} has {count} example(s), but must have {problem.expected}. {problem.fix}"
        return JobError(code="invalid_n_examples", message=rows, param=role)
    is_format = codes <= _OF_FORMAT
    code = "invalid_file_format" if is_format else f"invalid_{role}"
    cause = f"a file format error in the {kind}" if is_format else f"an invalid {kind}"
    lines = [_sentence(problem) for problem in problems[:MOST_SHOWN]]
    if len(problems) > MOST_SHOWN:
        lines.append(f"… and {len(problems) - MOST_SHOWN} more problems")
    message = f"The job failed due to {cause}. Invalid file format. " + "\n".join(lines)
    return JobError(code=code, message=message, param=role)


def _sentence(problem: Problem) -> str:
    place = f"Line {problem.line}" if problem.line is not None else "The file"
    key = f', key "{problem.key}"' if problem.key else ""
    return f"{place}{key}: expected {problem.expected}, found {problem.found}. {problem.fix}"


if __name__ == "__main__":
    main()
