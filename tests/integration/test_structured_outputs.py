"""Jobs with a ``response_format``: they learn, resume, and every command keeps to the schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from integration.test_command_line import openrft
from integration.test_resume import drive, outcome, weights, write_job
from openrft.config.job import Job, read_job
from openrft.config.spec import parse_spec
from openrft.errors import InvalidRequest
from openrft.training.prepare import prepare
from openrft.training.progress import Silence
from openrft.training.rehearse import rehearse
from openrft.training.run import start_run
from random_models import write_random_model

FORM = {
    "type": "json_schema",
    "json_schema": {
        "name": "tag",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {"tag": {"enum": ["alpha", "beta", "gamma", "delta"]}, "n": {"type": "integer", "minimum": 0,
                           "maximum": 999}},
            "required": ["tag", "n"],
            "additionalProperties": False,
        },
    },
}  # fmt: skip


def structured(repository: Path, **settings: Any) -> Job:
    job = read_job(repository / "examples" / "policy_review" / "job-structured.json").model_dump(mode="json")
    job["method"]["reinforcement"]["hyperparameters"] |= settings
    parsed: Job = parse_spec(Job, job)
    return parsed


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_tiny_model_learns_under_a_schema_and_never_leaves_it(repository: Path, tmp_path: Path) -> None:
    job = structured(repository, n_epochs="auto", num_steps=16, eval_interval=16, learning_rate=6e-4).model_copy(
        update={"test_file": None}
    )
    report = start_run(job, tmp_path / "run", Silence())
    assert report["outcome"] == "better"
    schema = json.loads((repository / "examples/policy_review/job-structured.json").read_text())["method"][
        "reinforcement"
    ]["response_format"]["json_schema"]["schema"]
    answers = [row for path in (tmp_path / "run/rollouts").iterdir() for row in lines(path)]
    assert len(answers) == 16 * 64
    whole = [row["answer"] for row in answers if row["finish_reason"] == "stop"]
    assert len(whole) > 1000
    for answer in whole:
        jsonschema.validate(json.loads(answer), schema)
    steps = lines(tmp_path / "run" / "metrics.jsonl")
    assert steps[-1]["valid/reward_mean"] > steps[0]["valid/reward_mean"] + 0.15
    assert steps[-1]["valid/parse_error_share"] < 0.05  # only what was cut off
    for step in steps[1:]:
        assert step.get("policy/mismatch_max_abs", 0) < 1e-5  # sampler and trainer speak of one distribution
        assert 0 < step["rollout/forced_share"] < 1
        assert step["rollout/parse_error_share"] < 0.05


def structured_resume_job(folder: Path, **settings: Any) -> Path:
    path = write_job(folder, max_completion_tokens=40, temperature=1.5, **settings)
    job = json.loads(path.read_text())
    job["method"]["reinforcement"]["response_format"] = FORM
    path.write_text(json.dumps(job))
    return path


@pytest.mark.slow
def test_a_killed_run_under_a_schema_ends_with_the_same_weights_and_records(tmp_path: Path) -> None:
    job = structured_resume_job(tmp_path / "job", kl_beta=0.05)
    _, seconds = drive(job, tmp_path / "calm")
    drive(job, tmp_path / "killed", *(share * seconds for share in (0.35, 0.65)))
    assert outcome(tmp_path / "killed") == outcome(tmp_path / "calm")
    assert weights(tmp_path / "killed") == weights(tmp_path / "calm")
    trained = [row for row in outcome(tmp_path / "calm")["metrics"] if row.get("optimizer/updates")]
    assert trained and all(row["policy/kl_to_reference"] >= 0 for row in trained)
    kept = json.loads((tmp_path / "calm" / "job.json").read_text())
    assert kept["method"]["reinforcement"]["response_format"] == FORM


def test_a_rehearsal_samples_under_the_schema(repository: Path) -> None:
    rehearsed = rehearse(structured(repository), Silence(), num_rows=4, num_samples=2)
    samples = [rollout.sample for group in rehearsed.groups for rollout in group.rollouts]
    assert len(samples) == 8 and all(sample.is_structured for sample in samples)
    whole = [sample.output_json for sample in samples if sample.finish_reason == "stop"]
    assert whole and all(set(answer) == {"compliant", "explanation"} for answer in whole)
    # What the model cannot write under its schema is no way to cheat.
    texts = [text for attack, _ in rehearsed.attacks for text in attack.texts if text is not None]
    assert texts and all(set(json.loads(text)) == {"compliant", "explanation"} for text in texts)
    assert "empty answer, inside an answer" in {attack.name for attack in rehearsed.rehearsal.attacks}


def test_chat_and_eval_take_a_response_format(tmp_path: Path) -> None:
    model = write_random_model(tmp_path / "model", "llama")
    (tmp_path / "form.json").write_text(json.dumps(FORM))
    answers = json.loads(
        openrft("chat", model, "-p", "hello", "-n", 4, "--temperature", 1, "--max-tokens", 150, "--json",
                "--response-format", tmp_path / "form.json").stdout
    )["answers"]  # fmt: skip
    for answer in answers:
        jsonschema.validate(json.loads(answer), FORM["json_schema"]["schema"])  # type: ignore[index]
    (tmp_path / "rows.jsonl").write_text('{"messages": [{"role": "user", "content": "say"}], "tag": "beta"}\n')
    grader = {"type": "string_check", "input": "{{sample.output_json.tag}}", "reference": "{{item.tag}}",
              "operation": "eq"}  # fmt: skip
    (tmp_path / "grader.json").write_text(json.dumps(grader))
    passes = [
        json.loads(line)
        for line in openrft(
            "eval", "--model", model, "--data", tmp_path / "rows.jsonl", "--grader", tmp_path / "grader.json",
            "--max-tokens", 150, "--json", "--response-format", tmp_path / "form.json",
        ).stdout.splitlines()
    ]  # fmt: skip
    evaluations = [one["evaluation"] for one in passes if one["type"] == "evaluation"]
    assert [one["parse_error_share"] for one in evaluations] == [0.0, 0.0]
    refused = openrft("chat", model, "-p", "x", "--response-format", tmp_path / "grader.json", code=1)
    assert "response_format.type" in refused.stderr


def test_a_job_whose_model_cannot_be_held_to_a_schema_is_refused_before_it_starts(
    repository: Path, tmp_path: Path
) -> None:
    job = structured(repository).model_dump(mode="json")
    form = job["method"]["reinforcement"]["response_format"]
    form["json_schema"]["schema"]["properties"]["explanation"] = {"not": {"type": "null"}}
    with pytest.raises(InvalidRequest, match=r"schema\.properties\.explanation: cannot be held to") as refused:
        parse_spec(Job, job)
    assert refused.value.param == "method.reinforcement.response_format.json_schema.schema.properties.explanation"
    prepared = prepare(structured(repository), Silence())
    prepared.grader.close()
    assert prepared.json_schema is not None and json.loads(prepared.json_schema)["required"] == [
        "compliant",
        "explanation",
    ]
