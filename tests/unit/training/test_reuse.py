"""The base's evaluation is found again exactly where computing it would give the same."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from openrft.config.graders import parse_grader
from openrft.config.job import Job, read_job
from openrft.config.spec import parse_spec
from openrft.evaluation.evaluation import Evaluation, EvaluationRow
from openrft.training import reuse
from openrft.training.passes import Passes
from openrft.training.progress import Silence
from openrft.training.resolve import ReinforcementSettings
from openrft.training.reuse import NO_MATTER, Kept, asks_a_server, open_kept
from openrft.training.run import start_run
from random_models import write_random_model

SIMILARITY = {
    "type": "text_similarity", "input": "{{sample.output_text}}", "reference": "{{item.answer}}",
    "evaluation_metric": "fuzzy_match",
}  # fmt: skip
BASE_FILES = [
    "step-000000-test-greedy.json", "step-000000-test-sampled.json", "step-000000-valid-sampled.json"
]  # fmt: skip


@pytest.fixture
def job_file(tmp_path: Path) -> Path:
    folder = tmp_path / "job"
    write_random_model(folder / "model", "qwen3")
    for name, count in (("train", 4), ("valid", 3), ("test", 2)):
        rows = [{"messages": [{"role": "user", "content": f"{name} {i}"}], "answer": "the"} for i in range(count)]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = {"num_steps": 1, "batch_size": 2, "group_size": 2, "max_completion_tokens": 4}
    job = {
        "model": "model", "training_file": "train.jsonl", "validation_file": "valid.jsonl", "test_file": "test.jsonl",
        "method": {"type": "reinforcement", "reinforcement": {"grader": SIMILARITY, "hyperparameters": options}},
    }  # fmt: skip
    (folder / "job.json").write_text(json.dumps(job))
    return folder / "job.json"


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path / "home" / "kept", most_bytes=10_000_000, run="a run")


class Runs:
    """Runs of one job with changes, each in a folder of its own."""

    def __init__(self, job_file: Path) -> None:
        self.job = read_job(job_file)
        self.folder = job_file.parent.parent

    def run(self, name: str, kept: Kept | None, **changes: Any) -> list[str]:
        """What the run said about reuse, after it has ended."""
        document = self.job.model_dump(mode="json")
        method = document["method"]["reinforcement"]
        document["seed"] = changes.pop("seed", self.job.seed)
        method["grader"] = changes.pop("grader", method["grader"])
        run = changes.pop("run", name)
        method["hyperparameters"] |= changes
        changed: Job = parse_spec(Job, document, where="job")
        start_run(changed, self.folder / name, Silence(), kept=kept and replace(kept, run=run))
        events = [json.loads(line) for line in (self.folder / name / "events.jsonl").read_text().splitlines()]
        return [event["message"] for event in events if "kept" in event["message"] or "reused" in event["message"]]

    def base(self, name: str) -> dict[str, bytes]:
        """The files of the base's evaluations."""
        paths = (self.folder / name / "evaluations").glob("step-000000-*")
        return {path.name: path.read_bytes() for path in paths}


@pytest.fixture
def runs(job_file: Path) -> Runs:
    return Runs(job_file)


def test_other_hyperparameters_find_the_base_and_write_the_same_files(
    runs: Runs, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed = count_computed(monkeypatch)
    assert runs.run("alone", None) == []
    assert runs.run("first", kept) == []
    before = len(computed)
    said = runs.run("second", kept, learning_rate_multiplier=2.0, group_size=4)
    assert sorted(runs.base("second")) == BASE_FILES
    assert runs.base("second") == runs.base("first") == runs.base("alone")
    assert [name for name in computed[before:] if name == "base" or name == "step 0"] == []
    assert len(computed) > before  # the tuned model is evaluated in any case
    assert len(said) == 3
    assert said[0].startswith("base evaluation of 3 valid rows (sampled) reused from 2") and "saved" in said[0]
    metrics = [
        json.loads((runs.folder / name / "metrics.jsonl").read_text().splitlines()[0]) for name in ("first", "second")
    ]
    assert [row["valid/reward_mean"] for row in metrics] == [metrics[0]["valid/reward_mean"]] * 2


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 7},
        {"max_completion_tokens": 5},
        {"weights": "lora"},
        {"grader": {**SIMILARITY, "evaluation_metric": "bleu"}},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_what_the_result_depends_on_is_computed_anew(runs: Runs, kept: Kept, changes: dict[str, Any]) -> None:
    runs.run("first", kept)
    assert runs.run("second", kept, **changes) == []
    assert len(list(kept.evaluations.glob("*.json"))) == 6


@pytest.mark.parametrize("changed", ["weights", "row", "code", "packages", "threads", "owner"])
def test_what_no_hyperparameter_says_counts_as_well(
    runs: Runs, kept: Kept, changed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs.run("first", kept)
    folder = runs.folder / "job"
    if changed == "weights":
        write_random_model(folder / "model", "qwen3", seed=1)
    elif changed == "row":
        for name in ("valid", "test"):
            path = folder / f"{name}.jsonl"
            path.write_text(path.read_text().replace('"answer": "the"', '"answer": "thx"', 1))
    elif changed == "code":
        monkeypatch.setattr(reuse, "_code_digest", lambda: "another")
    elif changed == "packages":
        monkeypatch.setattr(reuse, "_packages", lambda: ["torch 0.1"])
    elif changed == "threads":
        monkeypatch.setattr("torch.get_num_threads", lambda: 3)
    else:
        kept = replace(kept, owner="somebody else")
    assert runs.run("second", kept) == []


def test_an_attempt_that_starts_over_finds_its_own_and_says_nothing(
    runs: Runs, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs.run("first", kept, run="job 1")
    computed = count_computed(monkeypatch)
    assert runs.run("second", kept, run="job 1") == []
    assert [name for name in computed if not name.startswith(("tuned", "step 1"))] == []
    assert runs.base("second") == runs.base("first")


def test_only_hyperparameters_that_there_are_are_left_out_of_the_key() -> None:
    assert set(ReinforcementSettings.model_fields) - NO_MATTER == {"weights", "lora_rank", "precision"}
    assert set(ReinforcementSettings.model_fields) >= NO_MATTER


def test_an_evaluation_after_training_is_never_taken_for_the_bases(
    runs: Runs, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys: list[str | None] = []
    key = Kept.key
    monkeypatch.setattr(Kept, "key", lambda self, *asked: keys.append(key(self, *asked)) or keys[-1])
    runs.run("first", kept)
    assert len(keys) == len(set(keys)) == 3


@pytest.mark.parametrize(
    ("grader", "asks"),
    [
        ({"type": "string_check", "input": "a", "reference": "b", "operation": "eq"}, False),
        ({"type": "python", "source": "def grade(sample, item):\n    return 1.0\n"}, False),
        ({"type": "random"}, False),
        (SIMILARITY, False),
        ({**SIMILARITY, "evaluation_metric": "cosine"}, True),
        ({"type": "endpoint", "url": "https://example.com"}, True),
        ({"type": "score_model", "model": "m", "input": [{"role": "user", "content": "x"}]}, True),
        (
            {
                "type": "label_model", "model": "m", "labels": ["a"], "passing_labels": ["a"],
                "input": [{"role": "user", "content": "x"}],
            },
            True,
        ),
        (
            {
                "type": "multi", "calculate_output": "a",
                "graders": {"a": SIMILARITY, "b": {"type": "endpoint", "url": "https://example.com"}},
            },
            True,
        ),
    ],
)  # fmt: skip
def test_graders_that_ask_a_server_are_asked_anew(grader: dict[str, Any], asks: bool) -> None:
    assert asks_a_server(parse_grader(grader)) is asks


def test_with_such_a_grader_nothing_is_kept(runs: Runs, kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reuse, "asks_a_server", lambda grader: True)
    runs.run("first", kept)
    assert not kept.folder.exists()


def test_a_damaged_file_is_set_aside_and_computed_anew(runs: Runs, kept: Kept) -> None:
    runs.run("first", kept)
    cut, changed, _fine = sorted(kept.evaluations.glob("*.json"))
    cut.write_bytes(cut.read_bytes()[:-20])
    changed.write_text(changed.read_text().replace('"the"', '"thy"').replace('"scores": [', '"scores": [1.0, ', 1))
    said = runs.run("second", kept)
    assert sum("is damaged" in message and "computed anew" in message for message in said) == 2
    assert sum("reused" in message for message in said) == 1
    assert runs.base("second") == runs.base("first")
    assert sorted(path.name for path in kept.evaluations.glob("*.damaged")) == sorted(
        path.with_suffix(".damaged").name for path in (cut, changed)
    )
    assert len(runs.run("third", kept)) == 3  # all are whole again


def test_a_folder_that_cannot_be_written_is_told_and_no_failure(runs: Runs, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    said = runs.run("first", Kept(tmp_path / "file" / "kept", 10_000_000, ""))
    assert sum("could not be kept for other runs" in message for message in said) == 3


def evaluation(*, score: float | None = 1.0, text: str = "", **grade: Any) -> Evaluation:
    graded = {"error": None, "replaced": None, "sub_grades": {}, **grade}
    row = EvaluationRow(
        example_id="a", index=0, line=1, prompt_text="\ud800 q", scores=[score], outputs=[text], errors=[None],
        completion_tokens=[1], truncated=[False], reasoning_tokens=[0], grades=[graded],
    )  # fmt: skip
    return Evaluation(name="base", step=0, mode="greedy", num_samples=1, rows=[row])


@pytest.mark.parametrize(
    "grade",
    [
        {"score": None},
        {"replaced": {"kind": "other_error", "message": "time was up"}},
        {"sub_grades": {"a": {"error": {"kind": "other_error", "message": "x"}, "replaced": None, "sub_grades": {}}}},
    ],
)
def test_what_holds_a_failed_grade_is_not_kept(kept: Kept, grade: dict[str, Any]) -> None:
    kept.keep("key", evaluation(**grade), 1.0)
    assert kept.find("key", pytest.fail) is None


def test_what_is_kept_is_found_whole_with_when_and_how_long(kept: Kept) -> None:
    kept.keep("key", evaluation(text="é \u2028"), 1.5)
    found = kept.find("key", pytest.fail)
    assert found is not None and found.evaluation == evaluation(text="é \u2028")
    assert found.seconds == 1.5 and abs(found.made_at - time.time()) < 60
    assert (kept.evaluations.stat().st_mode & 0o777, kept.folder.stat().st_mode & 0o777) == (0o700, 0o700)


def test_the_least_recently_used_make_room(kept: Kept) -> None:
    size = 5_000
    small = replace(kept, most_bytes=3 * size + 3_000)
    for number, key in enumerate(("a", "b", "c")):
        small.keep(key, evaluation(text="x" * size), 1.0)
        os.utime(small.evaluations / f"{key}.json", (number, number))
    assert small.find("a", pytest.fail) is not None  # used now
    abandoned, being_written = small.evaluations / "x.1.partial", small.evaluations / "y.2.partial"
    for path in (abandoned, being_written):
        path.write_text("")
    os.utime(abandoned, (0, 0))
    small.keep("d", evaluation(text="x" * size), 1.0)
    assert sorted(path.name for path in small.evaluations.iterdir()) == ["a.json", "c.json", "d.json", "y.2.partial"]
    small.keep("e", evaluation(text="x" * 4 * size), 1.0)  # larger than all that is allowed
    assert small.find("e", pytest.fail) is None and small.find("d", pytest.fail) is not None


def test_the_settings_say_whether_and_how_much_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = tmp_path / "openrft.toml"
    monkeypatch.setenv("OPENRFT_CONFIG", str(settings))
    settings.write_text("[evaluation]\nkept_megabytes = 3\n")
    assert open_kept(tmp_path, run="").most_bytes == 3_000_000
    settings.write_text("[evaluation]\nreuse_base = false\n")
    assert open_kept(tmp_path, run="").most_bytes == 0


def test_where_reuse_is_switched_off_nothing_is_kept(runs: Runs, kept: Kept) -> None:
    runs.run("first", replace(kept, most_bytes=0))
    assert not kept.folder.exists()


def count_computed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the evaluations that are computed from now on."""
    computed: list[str] = []
    compute = Passes._compute

    def counted(self: Passes, asked: Any, rows_name: str) -> Evaluation:
        computed.append(asked.name)
        return compute(self, asked, rows_name)

    monkeypatch.setattr(Passes, "_compute", counted)
    return computed
