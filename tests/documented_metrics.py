"""The metrics that docs/metrics.md has."""

from __future__ import annotations

import re
from pathlib import Path


def documented_metrics(repository: Path) -> tuple[set[str], list[re.Pattern[str]]]:
    """The names in its tables, and of those with a ``<place>`` in them a pattern each."""
    page = (repository / "docs" / "metrics.md").read_text(encoding="utf-8")
    rows = [line for line in page.partition("## Other names")[0].splitlines() if line.startswith("| `")]
    names = {name for row in rows for name in re.findall(r"`([^`]+)`", row.split("|")[1])}
    patterned = {name for name in names if "<" in name}
    return names - patterned, [re.compile(re.sub("<[a-z]+>", ".+", name)) for name in patterned]
