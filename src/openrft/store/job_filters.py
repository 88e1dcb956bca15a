"""Conditions by which people look for jobs."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import ColumnElement, and_, case, exists, func, or_

from openrft.store.plain import clean_text
from openrft.store.rows import JobStatus
from openrft.store.schema import files, job_metadata, jobs


def shows(statuses: Collection[JobStatus]) -> ColumnElement[bool]:
    """Jobs that people see in one of ``statuses``: a running one that somebody stops shows as what it becomes."""
    is_running = jobs.c.status == "running"
    shown = case(
        (and_(is_running, jobs.c.cancel_requested), "cancelled"),
        (and_(is_running, jobs.c.pause_requested), "paused"),
        else_=jobs.c.status,
    )
    return shown.in_(list(statuses))


def trains_by(method: str) -> ColumnElement[bool]:
    """Jobs whose method is of this type."""
    is_so: ColumnElement[bool] = jobs.c.spec["document"]["method"]["type"].as_string() == method
    return is_so


def mentions(text: str) -> ColumnElement[bool]:
    """Jobs with ``text`` in their id, model, suffix, fine-tuned model, metadata values or names of files.

    Large and small letters are the same; in SQLite only those of ASCII.
    """
    wanted = clean_text(text).lower()

    def has(column: ColumnElement[str]) -> ColumnElement[bool]:
        return func.lower(column).contains(wanted, autoescape=True)

    in_metadata = exists().where(job_metadata.c.job_id == jobs.c.id, has(job_metadata.c.value))
    test_file = jobs.c.spec["document"]["test_file"].as_string()
    of_job = files.c.id.in_([jobs.c.training_file, jobs.c.validation_file, test_file])
    in_files = exists().where(of_job, files.c.project_id == jobs.c.project_id, has(files.c.filename))
    columns = (jobs.c.id, jobs.c.model, jobs.c.suffix, jobs.c.fine_tuned_model)
    return or_(*(has(column) for column in columns), in_metadata, in_files)
