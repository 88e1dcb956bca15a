"""How a job was set up, in a report in HTML: options with their reasons, grader, versions, and how to do it again.

The page is made to be passed on: headers of endpoint graders are masked, and files go by their names without folders.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from openrft.config.web import MASK, masked, shown_address
from openrft.evaluation.html_elements import Html, block, element, facts_list, fold, joined, section, table
from openrft.evaluation.time_spent import TimeSpent, speed_text
from openrft.evaluation.time_spent import table as time_cells

_MOST_JSON = 40_000  # characters of a job or a grader
_PATHS = ("model", "training_file", "validation_file", "test_file")


def shareable(job: Mapping[str, Any]) -> dict[str, Any]:
    """The job without passwords and without the folders of the machine that it ran on."""
    shown: dict[str, Any] = _without_secrets(dict(job))
    return {name: without_folder(value) if name in _PATHS else value for name, value in shown.items()}


def without_folder(path: Any) -> Any:
    """An absolute path's last part; anything else as it is."""
    return PurePath(path).name if isinstance(path, str) and PurePath(path).is_absolute() else path


def setup(job: Mapping[str, Any], config: Mapping[str, Any], time_spent: TimeSpent | None) -> Html:
    """All that somebody else needs to judge the job, or to do it again."""
    parts = [_hyperparameters(config), _graders(job), _time(time_spent), _provenance(config), _again(job, config)]
    return joined(parts)


def _hyperparameters(config: Mapping[str, Any]) -> Html:
    reasons = config.get("reasons", {})
    rows = [(name, _plain(value), reasons.get(name, "")) for name, value in config.get("hyperparameters", {}).items()]
    if not rows:
        return Html()
    text = "As they were used; a reason stands where “auto” was resolved."
    lines = table(("option", "value", "why"), rows, texts=3)
    return section("Hyperparameters", element("p", text, class_="quiet"), lines, anchor="hyperparameters")


def _graders(job: Mapping[str, Any]) -> Html:
    options = _options(job)
    parts = []
    for name, title in (("grader", "Grader"), ("monitor_grader", "Monitor grader: watches, never trains")):
        if options.get(name) is not None:
            parts += [element("h3", title), _json(options[name])]
    return section("What was rewarded", *parts, anchor="grader") if parts else Html()


def _time(spent: TimeSpent | None) -> Html:
    if spent is None:
        return Html()
    cells = table(("phase", "seconds", "share"), time_cells(spent))
    return section("Where the time went", cells, element("p", speed_text(spent), class_="quiet"))


def _provenance(config: Mapping[str, Any]) -> Html:
    model, machine = dict(config.get("model", {})), dict(config.get("machine", {}))
    model["name"] = without_folder(model.get("name"))
    facts = [("openrft", config.get("openrft")), ("seed", config.get("seed")), ("sandbox", config.get("sandbox"))]
    facts += [(f"model: {name.replace('_', ' ')}", value) for name, value in model.items()]
    facts += [(f"judge {name}", judge.get("model")) for name, judge in config.get("judges", {}).items()]
    facts += [(name.replace("_", " "), value) for name, value in machine.items()]
    known = [(name, _plain(value)) for name, value in facts if value is not None]
    files = [
        (name, str(without_folder(file.get("path"))), _plain(file.get("rows")), str(file.get("fingerprint", "–")))
        for name, file in config.get("files", {}).items()
    ]
    parts = [facts_list(known)]
    if files:
        parts += [element("h3", "Files"), table(("file", "name", "rows", "fingerprint of its rows"), files, texts=4)]
    return section("Seeds, versions, files", *parts, anchor="provenance")


def _again(job: Mapping[str, Any], config: Mapping[str, Any]) -> Html:
    shown = shareable(job)
    version = config.get("openrft")
    steps = [
        ("Install ", element("code", f"openrft=={version}" if version else "openrft"), "."),
        ("Save the job below as ", element("code", "job.json"), " beside the files named in it."),
        ("Run ", element("code", "openrft run job.json"), "."),
    ]
    text = (
        "The seed fixes the order of rows, the noise of sampling and new weights: the same versions on the same kind "
        "of machine give the same numbers, others may round differently."
    )
    if MASK in json.dumps(shown):
        text += f" {MASK} stands for what is secret, a header or a key in an address: put in your own."
    numbered = element("ol", *(element("li", *step) for step in steps))
    return section(
        "How to do it again",
        numbered,
        element("p", text, class_="quiet"),
        fold("job.json", _json(shown)),
        anchor="again",
    )


def _options(job: Mapping[str, Any]) -> Mapping[str, Any]:
    method = job.get("method") or {}
    options = method.get(method.get("type", ""), {})
    return _without_secrets(dict(options)) if isinstance(options, Mapping) else {}


def _without_secrets(value: Any) -> Any:
    """Headers masked, and of addresses the query, which may hold a key."""
    return _short_addresses(masked(value))


def _short_addresses(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _address(inner) if key == "url" else _short_addresses(inner) for key, inner in value.items()}
    return [_short_addresses(inner) for inner in value] if isinstance(value, list) else value


def _address(url: Any) -> Any:
    return f"{shown_address(url)}?{MASK}" if isinstance(url, str) and shown_address(url) != url else url


def _json(value: Any) -> Html:
    return block(json.dumps(value, indent=2, ensure_ascii=False), limit=_MOST_JSON)


def _plain(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "–"}[value]
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
