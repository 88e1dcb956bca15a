"""What an attempt's exit code tells its supervisor."""

from __future__ import annotations

DONE = 0
"""The attempt ended the job itself, in the store: it succeeded, failed or was paused: until its grader is back, or
because its budget is spent.
"""

CRASHED = 1
"""Something unexpected, told on its log; any code that is not listed here, and any signal, means the same."""

INTERRUPTED = 3
"""It was asked to stop, saved what it had and left; the supervisor says in the store what that makes of the job."""

FENCED = 4
"""Another attempt holds the job, or somebody ended it: nothing was touched and there is nothing to tell."""

FULL = 5
"""The disk is full. What was whole before still is; the job can go on when there is space."""
