"""The walk-through for people who come from OpenAI runs as it is written, against a server started as it says."""

import re
import shlex
from pathlib import Path

from platform_server import platform_server, run_script

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = REPOSITORY / "docs" / "coming-from-openai.md"


def blocks(language: str) -> list[str]:
    text = PAGE.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def test_the_walk_through_runs_as_it_is_written(tmp_path: Path) -> None:
    [start] = blocks("sh")
    words = shlex.split(start.splitlines()[0])
    aliases = words[words.index("--alias") :]
    assert aliases[::2] == ["--alias"] * (len(aliases) // 2)
    with platform_server(tmp_path / "home", *aliases) as server:
        printed = run_script("\n".join(blocks("python")), server, cwd=REPOSITORY)
    assert re.search(r"^ftjob-\w+ (validating_files|queued)$", printed, re.MULTILINE)
    assert "The job has successfully completed" in printed
    assert re.search(r"^Step \d+/\d+ , train mean reward=0\.\d\d", printed.replace("info ", ""), re.MULTILINE)
    assert re.search(r"^ft:openrft-tiny:openrft:sums:\w{8} ", printed, re.MULTILINE)
    assert re.search(r"^\d+ ft:openrft-tiny:openrft:sums:\w{8}:ckpt-step-\d+$", printed, re.MULTILINE)
    counts = re.findall(
        r"^(\S+) ResultCounts\(errored=0, failed=(\d+), passed=(\d+), total=40\)$", printed, re.MULTILINE
    )
    assert len(counts) == 2
    assert re.search(r"^ft:openrft-tiny:openrft::\w{8} \d+$", printed, re.MULTILINE)  # the supervised job's
    (_, _, base), (_, _, tuned) = counts
    assert int(tuned) > int(base)  # what the examples are for: a gain that 40 rows show
