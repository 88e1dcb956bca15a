"""The main job on the bundled model: it learns from right rewards, and does not from random ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from openrft.config.graders import parse_grader
from openrft.config.job import Job, read_job
from openrft.training.compare import compare_models
from openrft.training.progress import Silence
from openrft.training.run import start_run
from openrft.types import SamplingParams

# What each example promises of the tuned tiny model on its test rows: (greedy, sampled) pass rates.
PROMISED = {"rare_disease_genes": (0.9, 0.85), "arithmetic": (0.9, 0.85), "policy_review": (0.8, 0.65)}


def example(repository: Path, task: str, **changes: Any) -> Job:
    job = read_job(repository / "examples" / task / "job.json")
    return job.model_copy(update=changes)


def pass_rates(report: dict[str, Any], arm: str) -> tuple[float, float]:
    """(greedy, sampled) share of answers with a full score."""
    found = {c["mode"]: c[f"{arm}_mean"] for c in report["comparisons"] if c["metric"] == "pass rate"}
    return found["greedy"], found["sampled"]


def check_promise(report: dict[str, Any], task: str) -> None:
    base_greedy, base_sampled = pass_rates(report, "base")
    greedy, sampled = pass_rates(report, "tuned")
    assert 0.15 <= base_sampled <= 0.45
    assert base_greedy < base_sampled
    assert greedy >= PROMISED[task][0]
    assert sampled >= PROMISED[task][1]
    assert report["outcome"] == "better"
    assert report["rows_kind"] == "test"
    assert report["arms"][0]["num_examples"] >= 200


def test_the_tiny_model_learns_to_rank_genes_and_exports_a_plain_hugging_face_model(
    repository: Path, tmp_path: Path
) -> None:
    report = start_run(example(repository, "rare_disease_genes"), tmp_path / "run", Silence())
    check_promise(report, "rare_disease_genes")

    folder = tmp_path / "run" / "model"
    network, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    row = json.loads((repository / "examples/rare_disease_genes/test.jsonl").read_text().splitlines()[0])
    prompt = tokenizer.apply_chat_template(row["messages"], add_generation_prompt=True, return_tensors="pt")
    output = network.generate(**prompt, max_new_tokens=128, do_sample=False)
    answer = tokenizer.decode(output[0, prompt["input_ids"].shape[1] :], skip_special_tokens=True)
    evaluation = json.loads((next((tmp_path / "run/evaluations").glob("*[1-9]*-test-greedy.json"))).read_text())
    assert answer.partition("</think>")[2].strip() == evaluation["rows"][0]["outputs"][0].strip()
    for name in ("report.html", "report.md", "report.json", "curve.svg", "config.json", "metrics.jsonl"):
        assert (tmp_path / "run" / name).stat().st_size > 0


@pytest.mark.slow
def test_random_rewards_show_no_gain(repository: Path, tmp_path: Path) -> None:
    """The control: the same job graded by chance, and its report says that nothing was gained.

    The weights still drift, one way or the other: an interval over test rows says whether this model differs, not why.
    So the true grader is asked only whether chance comes anywhere near what the right rewards give (+0.6).
    """
    job = read_job(repository / "examples" / "random_rewards" / "job.json")
    report = start_run(job, tmp_path / "run", Silence())
    assert report["is_significant_gain"] is False
    assert report["sentence"].startswith("no significant gain")
    truth = compare_models(
        job.model,
        str(tmp_path / "run" / "model"),
        Path(str(job.test_file)),
        parse_grader(json.loads((repository / "examples/rare_disease_genes/grader.json").read_text())),
        num_samples=4,
        sampling=SamplingParams(max_tokens=128),
        seed=0,
        progress=Silence(),
    )
    assert truth["comparisons"][0]["paired"]["mean"] < 0.3


@pytest.mark.slow
@pytest.mark.parametrize("task", sorted(PROMISED))
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_example_keeps_its_promise_over_seeds(repository: Path, tmp_path: Path, task: str, seed: int) -> None:
    check_promise(start_run(example(repository, task, seed=seed), tmp_path / "run", Silence()), task)


@pytest.mark.slow
def test_an_adapter_learns_as_well(repository: Path, tmp_path: Path) -> None:
    job = example(repository, "rare_disease_genes").model_dump(mode="json")
    job["method"]["reinforcement"]["hyperparameters"]["weights"] = "lora"
    report = start_run(Job.model_validate(job), tmp_path / "run", Silence())
    check_promise(report, "rare_disease_genes")
    assert (tmp_path / "run/model/adapter/adapter_model.safetensors").exists()
