"""A server's home in which real jobs were trained, for tests that look at finished work. Built once a session."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import openai
from filelock import FileLock

from platform_server import platform_server

EXAMPLES = Path(__file__).parents[2] / "examples"
SECONDS = 240.0


@dataclass(frozen=True, slots=True)
class Lab:
    """The home, and the ids of what is in it."""

    home: Path
    reinforcement: str  # succeeded: policy_review, a multi grader, 8 steps, validated at 0, 4 and 8
    supervised: str  # succeeded: 6 steps, watched by loss
    failed: str  # a Python grader that raises for everything


def build_lab(folder: Path) -> Lab:
    """The laboratory in ``folder``; whoever comes first makes it, the others wait."""
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "lock", timeout=600):
        if not (folder / "lab.json").exists():
            shutil.rmtree(folder / "home", ignore_errors=True)
            made = _train(folder / "home")
            (folder / "lab.json").write_text(json.dumps({**asdict(made), "home": str(made.home)}))
    return read_lab(folder)


def read_lab(folder: Path) -> Lab:
    """A laboratory that was built."""
    facts = json.loads((folder / "lab.json").read_text())
    return Lab(**{**facts, "home": Path(facts["home"])})


def _train(home: Path) -> Lab:
    with (
        platform_server(home, "--no-serving", environment={"OMP_NUM_THREADS": "1"}) as server,
        openai.OpenAI(base_url=server.base_url, api_key=server.api_key) as client,
    ):
        jobs = {"reinforcement": _reinforcement(client), "supervised": _supervised(client), "failed": _failed(client)}
        ends = {"reinforcement": "succeeded", "supervised": "succeeded", "failed": "failed"}
        deadline = time.monotonic() + SECONDS
        for name, job in jobs.items():
            while (found := client.fine_tuning.jobs.retrieve(job)).status not in ("succeeded", "failed", "cancelled"):
                assert time.monotonic() < deadline, f"{name}: {found.status}"
                time.sleep(0.25)
            assert found.status == ends[name], (name, found.status, found.error)
        return Lab(home=home, **jobs)


def _upload(client: openai.OpenAI, example: str, name: str, rows: int) -> str:
    lines = (EXAMPLES / example / f"{name}.jsonl").read_text().splitlines()[:rows]
    content = ("\n".join(lines) + "\n").encode()
    return client.files.create(file=(f"{example}-{name}.jsonl", content), purpose="fine-tune").id


def _reinforcement(client: openai.OpenAI) -> str:
    example = "policy_review"
    grader = json.loads((EXAMPLES / example / "grader.json").read_text())
    options = {"num_steps": 8, "batch_size": 4, "group_size": 8, "eval_interval": 4, "eval_samples": 2}
    job = client.fine_tuning.jobs.create(
        model="openrft-tiny",
        training_file=_upload(client, example, "train", 24),
        validation_file=_upload(client, example, "valid", 16),
        suffix="review",
        seed=1,
        method={"type": "reinforcement", "reinforcement": {"grader": grader, "hyperparameters": options}},  # type: ignore[typeddict-item]
    )
    return job.id


def _supervised(client: openai.OpenAI) -> str:
    options = {"num_steps": 6, "batch_size": 4, "eval_interval": 3}
    rows = [
        {"messages": [{"role": "user", "content": f"{n} + 1?"}, {"role": "assistant", "content": str(n + 1)}]}
        for n in range(24)
    ]
    files = []
    for name, part in (("train", rows[:16]), ("valid", rows[16:])):
        content = "".join(json.dumps(row) + "\n" for row in part).encode()
        files.append(client.files.create(file=(f"sums-{name}.jsonl", content), purpose="fine-tune").id)
    job = client.fine_tuning.jobs.create(
        model="openrft-tiny",
        training_file=files[0],
        validation_file=files[1],
        method={"type": "supervised", "supervised": {"hyperparameters": options}},  # type: ignore[typeddict-item]
    )
    return job.id


def _failed(client: openai.OpenAI) -> str:
    source = """def grade(sample, item):
    print('looking at', sample['output_text'])
    raise ValueError('no such column')
"""
    grader = {"type": "python", "name": "broken", "source": source}
    job = client.fine_tuning.jobs.create(
        model="openrft-tiny",
        training_file=_upload(client, "policy_review", "train", 8),
        validation_file=_upload(client, "policy_review", "valid", 4),
        method={"type": "reinforcement", "reinforcement": {"grader": grader}},  # type: ignore[typeddict-item]
    )
    return job.id
