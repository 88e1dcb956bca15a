"""MLflow: a server, or a database on this machine."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag

from openrft.config.integrations import Mlflow
from openrft.tracking.tracker import RunFacts, Status, verdict

_TAG = "openrft.run"
_STEP = "step"  # a metric of every step, by which it is known how far the run is
_STATUS = {"succeeded": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}
_LONGEST_VALUE = 500
_MOST_PARAMS = 100  # in one request


class MlflowTracker:
    """A run of MLflow's, found again by a tag: MLflow gives its runs ids of its own."""

    def __init__(self, options: Mlflow) -> None:
        self._options = options

    def start(self, run: RunFacts, config: Mapping[str, Any]) -> int | None:
        """Begin or resume."""
        self._client = MlflowClient(tracking_uri=self._options.tracking_uri)
        experiment = self._client.get_experiment_by_name(self._options.experiment)
        place = experiment.experiment_id if experiment else self._client.create_experiment(self._options.experiment)
        found = self._client.search_runs([place], f"tags.`{_TAG}` = '{run.id}'", max_results=1)
        if found:
            self._id = found[0].info.run_id
            self._client.update_run(self._id, status="RUNNING")
            steps = [one.step for one in self._client.get_metric_history(self._id, _STEP)]
            return max(steps, default=None)
        tags = {_TAG: run.id, "openrft.base_model": run.base_model}
        made = self._client.create_run(place, tags=tags, run_name=self._options.name or run.name)
        self._id = made.info.run_id
        params = [Param(_name(name), str(value)[:_LONGEST_VALUE]) for name, value in _flat(config)]
        for first in range(0, len(params), _MOST_PARAMS):
            self._client.log_batch(self._id, params=params[first : first + _MOST_PARAMS])
        return None

    def step(self, step: int, metrics: Mapping[str, float]) -> None:
        """All of them in one request, the step's number last."""
        now = int(time.time() * 1000)
        numbers = [*metrics.items(), (_STEP, float(step))]
        self._client.log_batch(self._id, [Metric(_name(name), value, now, step) for name, value in numbers])

    def event(self, step: int, message: str, level: str) -> None:
        """MLflow has no place for sentences in a run but its tags: the latest one of each level."""
        self._client.set_tag(self._id, f"openrft.last_{level}", f"after step {step}: {message}"[:_LONGEST_VALUE])

    def finish(self, status: Status, report: Mapping[str, Any] | None, files: Sequence[Path]) -> None:
        """The verdict as a tag with the report's figures as metrics, the files as artifacts."""
        if report is not None:
            now, step = int(time.time() * 1000), int(report["shipped_step"])
            figures = [Metric(name, value, now, step) for name, value in verdict(report).items()]
            verdict_tag = RunTag("openrft.verdict", str(report["sentence"])[:_LONGEST_VALUE])
            self._client.log_batch(self._id, figures, tags=[verdict_tag])
        for path in files:
            self._client.log_artifact(self._id, str(path))
        self._client.set_terminated(self._id, _STATUS[status])


def _name(name: str) -> str:
    """``name`` with _ for the signs that MLflow takes in none."""
    return re.sub(r"[^\w./ -]", "_", name)


def _flat(config: Mapping[str, Any], before: str = "") -> list[tuple[str, Any]]:
    """``{"a": {"b": 1}}`` as ``[("a.b", 1)]``: MLflow's parameters are flat."""
    found: list[tuple[str, Any]] = []
    for name, value in config.items():
        found += _flat(value, f"{before}{name}.") if isinstance(value, Mapping) else [(f"{before}{name}", value)]
    return found
