"""What a job leaves for its report in HTML, with one text wherever a model or a user could have written it."""

from __future__ import annotations

from typing import Any

from openrft.evaluation.curve import CurvePoint
from openrft.evaluation.evaluation import Evaluation, EvaluationRow
from openrft.evaluation.html_report import Record
from openrft.evaluation.loss_report import build_loss_report
from openrft.evaluation.losses import LossEvaluation, LossRow
from openrft.evaluation.noticed import Evidence, Noticed
from openrft.evaluation.report import build_report
from openrft.evaluation.statistics import Interval
from openrft.evaluation.time_spent import PhaseTime, TimeSpent

HOSTILE = (
    "</pre></style></title><script>document.title = 'owned'</script><img src=x onerror=\"document.title='owned'\">"
    "&lt;b&gt; \x1b[2J\x00\r\u202egnp.exe\u2066\ud800\ufeff"
)

CURVE = [
    CurvePoint(step=0, valid_mean=0.5, valid_interval=Interval(0.3, 0.7)),
    CurvePoint(step=1, train_reward=0.5),
    CurvePoint(
        step=2, train_reward=0.75, valid_mean=0.6, valid_interval=Interval(0.4, 0.8), is_kept=True, is_chosen=True
    ),
]
SPENT = TimeSpent(
    seconds=4.0,
    phases=[PhaseTime(name="sampling", seconds=4.0, share=1.0)],
    sampled_tokens_per_second=100.0,
    trained_tokens_per_second=None,
    tokens_per_second=90.0,
)


def graded_record(text: str = "plain") -> Record:
    """Of a reinforcement job of two steps: ten rows got better, two worse."""
    evidence = Evidence(source="rollouts", step=2, example="e0", line=1, sample=0, score=1.0, text=text)
    report = build_report(
        job={"model": "/data/somebody/models/tiny", "grader": text, "algorithm": "rft", f"fact {text}": text},
        base_sampled=_evaluation([0.0] * 6 + [0.5] * 4 + [1.0, 1.0], "base", 0, text),
        tuned_sampled=_evaluation([1.0] * 10 + [0.5, 0.0], text, 2, text),
        curve=CURVE,
        time_spent=SPENT,
        noticed=[
            Noticed(code="no_signal", severity="error", sentence=text, advice=text, step=2, evidence=[evidence]),
        ],
    )
    grader = {
        "type": "endpoint",
        "name": text,
        "url": "https://grader.example/grade?key=hunter2",
        "headers": {"X-Key": "hunter2"},
    }
    return Record(
        report=report.to_json(),
        job=_job(text, {"type": "reinforcement", "reinforcement": {"grader": grader}}),
        config=_config(text),
        steps=[_step(0, text), _step(1, text), _step(2, text)],
        rollouts=[_rollout(step, number, text) for step in (1, 2) for number in range(6)],
        finished_at=1_700_000_000,
        job_id="ftjob-1",
    )


def loss_record(text: str = "plain") -> Record:
    """Of a supervised job without a grader: every row became likelier but one."""
    report = build_loss_report(
        job={"model": "tiny", f"fact {text}": text},
        shipped_step=2,
        base=_losses([1.0, 1.2, 1.4, 0.9], "base", 0, text),
        tuned=_losses([0.5, 0.6, 0.8, 1.0], text, 2, text),
        rows_kind="test",
        curve=CURVE,
        time_spent=SPENT,
        noticed=[text],
    )
    steps = [{"step": step, "train/token_accuracy": 0.5, "train/loss": 1.0} for step in (1, 2)]
    job = _job(text, {"type": "supervised", "supervised": {}})
    return Record(report=report.to_json(), job=job, config=_config(text), steps=steps)


def _evaluation(scores: list[float], name: str, step: int, text: str) -> Evaluation:
    rows = [
        EvaluationRow(
            example_id=f"e{index}", index=index, line=index + 1, prompt_text=text, scores=[score], outputs=[text],
            errors=[None], completion_tokens=[10], truncated=[False], fields={text: f"{text} {index % 2}"},
        )
        for index, score in enumerate(scores)
    ]  # fmt: skip
    return Evaluation(name=name, step=step, mode="sampled", num_samples=1, rows=rows)


def _losses(losses: list[float], name: str, step: int, text: str) -> LossEvaluation:
    rows = [
        LossRow(
            example_id=f"e{index}", index=index, line=index + 1, prompt_text=text, answer=text, tokens=10, loss=loss,
            hits=5,
        )
        for index, loss in enumerate(losses)
    ]  # fmt: skip
    return LossEvaluation(name=name, step=step, rows=rows)


def _job(text: str, method: dict[str, Any]) -> dict[str, Any]:
    files = {name: f"/data/somebody/rows/{name}.jsonl" for name in ("training_file", "validation_file")}
    return {"model": "/data/somebody/models/tiny", "suffix": text, "seed": 0, **files, "method": method}


def _config(text: str) -> dict[str, Any]:
    return {
        "openrft": "1.2.3",
        "seed": 7,
        "hyperparameters": {"num_steps": 2, "stop": [text], "batch_size": 8},
        "reasons": {"batch_size": text},
        "model": {"name": "/data/somebody/models/tiny", "parameters": 918_912, "fingerprint": "abc"},
        "files": {"training_file": {"path": "/data/somebody/rows/t.jsonl", "rows": 3, "fingerprint": "def"}},
        "machine": {"device": "cpu", "python": text},
    }


def _step(step: int, text: str) -> dict[str, Any]:
    shares = {"groups/all_fail_share": 0.25, "groups/all_pass_share": 0.25, "rollout/truncated_share": 0.0}
    return {"step": step, f"grade/{text}/mean": 0.5, **shares, "rollout/completion_tokens_mean": 12.0}


def _rollout(step: int, number: int, text: str) -> dict[str, Any]:
    return {
        "step": step, "line": 1, "sample": number, "prompt": [{"role": text, "content": text}], "output": text,
        "reward": number / 5, "advantage": 0.5, "left_out": text, "finish_reason": "length", "error": None,
        "explanation": text, "sub_grades": {text: {"score": 1.0}},
    }  # fmt: skip
