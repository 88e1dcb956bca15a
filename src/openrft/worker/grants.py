"""What a job's events say of its budget: where it was paused, and so where people let it go on by resuming it.

An attempt that is killed after it saved and before it paused the job leaves no such event: the next one pauses it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from openrft.config.hyperparameters import BUDGET_NAMES
from openrft.errors import BudgetSpent
from openrft.store import Store
from openrft.store.rows import JobRow
from openrft.worker.insist import Insist

if TYPE_CHECKING:
    from openrft.training.budget import Grant

_EVENTS_AT_ONCE = 1_000


def pause_data(spent: BudgetSpent) -> dict[str, Any]:
    """What the event of a pause says to programs."""
    return {"code": spent.code, "step": spent.step, "spent": spent.spent}


def last_grant(store: Store, job: JobRow, insist: Insist) -> Grant | None:
    """Where people last let the job go on that its budget had paused; None where that never was."""
    method = job.spec["document"]["method"]
    asked = method[method["type"]].get("hyperparameters") or {}
    if not any(asked.get(name) for name in BUDGET_NAMES):
        return None
    from openrft.training.budget import Grant  # torch: only now, when there is something to compute

    found, after = None, 0
    while True:
        page = insist(
            lambda after=after: store.events.tail(job.project_id, job.id, after=after, limit=_EVENTS_AT_ONCE)  # type: ignore[misc]
        )
        for event in page:
            if event.data.get("code") == BudgetSpent.code:
                found = Grant.from_json(event.data)
        if len(page) < _EVENTS_AT_ONCE:
            return found
        after = page[-1].sequence
