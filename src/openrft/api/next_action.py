"""What people could do next about a job, in one plain sentence for each status."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from openrft.api.job_wire import shown_status
from openrft.store.rows import JobRow

_OPINIONS = {
    "better": "Try {model}, or export it",
    "worse": "It is worse than its base: read the report before anything else",
    "no change": "No gain can be told from chance: read the report for what would show one",
    "not measured": "Try {model}; there were no held-out rows to measure it on",
}

_LONGEST_SAID = 140  # characters of an error


def next_action(job: JobRow, facts: Mapping[str, Any], *, has_worker: bool) -> str:
    """The sentence. ``facts`` has the summary's ``alarms``, ``report`` and ``checkpoint``."""
    status, checkpoint = shown_status(job), facts["checkpoint"]
    if status in ("validating_files", "queued") and not has_worker:
        return "No worker is alive to take it: start one with openrft worker."
    if status == "validating_files":
        return "Nothing to do: its files are being checked."
    if status == "queued":
        return "Nothing to do: it starts as soon as a worker is free."
    if status == "running":
        alarms = facts["alarms"]
        if alarms:
            return f"Read its {'alarm' if alarms == 1 else f'{alarms} alarms'}: what is wrong, and what helps."
        return "Nothing to do: it trains. It can be paused or cancelled."
    if status == "paused":
        return "Resume it" + (f", or use checkpoint {checkpoint}." if checkpoint else ".")
    if status == "cancelled":
        return f"Use checkpoint {checkpoint}, or create it again." if checkpoint else "Create it again to start anew."
    if status == "failed":
        said = "It failed" if job.error is None else _first_words(job.error.message)
        return f"{said}{'' if said.endswith('…') else '.'} Fix this and create it again."
    outcome = (facts["report"] or {}).get("outcome")
    return _OPINIONS.get(str(outcome), "Try {model}, or read its report").format(model=job.fine_tuned_model) + "."


def _first_words(message: str) -> str:
    """The beginning of an error, which may go on with a traceback."""
    line = message.strip().partition("\n")[0].rstrip(":. ")
    return line if len(line) <= _LONGEST_SAID else line[:_LONGEST_SAID].rstrip() + "…"
