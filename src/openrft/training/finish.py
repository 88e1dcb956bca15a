"""The end of a run: which weights ship, whether they are better than the base, and the folder people take away."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from openrft.evaluation.curve import CurvePoint, draw_curve
from openrft.evaluation.evaluation import Evaluation
from openrft.evaluation.render import to_markdown
from openrft.evaluation.report import Report, build_report
from openrft.evaluation.selection import SelectionFacts, select_evaluation
from openrft.evaluation.statistics import Interval
from openrft.evaluation.time_spent import time_spent
from openrft.models.checkpoint import checkpoint_path, list_checkpoints, load_checkpoint
from openrft.models.export import export_policy, model_card
from openrft.training.foreground import ForegroundRun

CURVE_FILE = "curve.svg"


def finish(run: ForegroundRun) -> dict[str, Any]:
    """Ship the chosen checkpoint: put it in place, compare it with the base, export it, write the report.

    Returns the report as JSON. Each part is written whole, so a run that is killed here can be resumed.
    """
    prepared, folder = run.prepared, run.folder
    step = run.choose_step()
    load_checkpoint(checkpoint_path(folder.checkpoints, step), policy=prepared.policy)
    prepared.engine.load_weights(step)
    tuned_sampled, tuned_greedy = run.evaluate_test(f"tuned (step {step})", step)
    base_sampled, base_greedy = run.evaluate_test("base", 0)  # read back: recorded before training
    points = _curve(run, chosen=step)
    report = build_report(
        job=_job_facts(run),
        base_sampled=base_sampled,
        tuned_sampled=tuned_sampled,
        base_greedy=base_greedy,
        tuned_greedy=tuned_greedy,
        rows_kind="test" if prepared.test else "validation",
        selection=_selection(run, step),
        curve=points,
        time_spent=time_spent(folder.read_metrics(), run.seconds),
        pass_threshold=run.settings.passing_score,
    )
    draw_curve(points, folder.path / CURVE_FILE, title=_title(run))
    markdown = to_markdown(report, curve_path=CURVE_FILE)
    _export(run, report, markdown)
    folder.write_text("report.md", markdown)
    folder.write("report.json", report.to_json())
    run.folder.event(report.sentence)
    return report.to_json()


def _selection(run: ForegroundRun, chosen: int) -> SelectionFacts | None:
    """How the choice was made; None when the last step ships without one."""
    if run.settings.ship == "last":
        return None
    evaluations = [
        Evaluation.from_json(run.folder.read(f"evaluations/{path.name}"))
        for path in sorted((run.folder.path / "evaluations").glob("step-*-valid-sampled.json"))
    ]
    trained = [evaluation for evaluation in evaluations if evaluation.step > 0]
    if all(evaluation.mean is None for evaluation in trained):
        return None  # nothing could be graded, so the last step ships
    return replace(select_evaluation(trained, seed=run.prepared.job.seed), chosen_step=chosen)


def _curve(run: ForegroundRun, *, chosen: int) -> list[CurvePoint]:
    kept = {step for step, _ in list_checkpoints(run.folder.checkpoints)}
    points = []
    for row in run.folder.read_metrics():
        low, high = row.get("valid/reward_low"), row.get("valid/reward_high")
        points.append(
            CurvePoint(
                step=row["step"],
                train_reward=row.get("reward/mean"),
                valid_mean=row.get("valid/reward_mean"),
                valid_interval=None if low is None or high is None else Interval(low, high),
                is_kept=row["step"] in kept,
                is_chosen=row["step"] == chosen,
            )
        )
    return points


def _job_facts(run: ForegroundRun) -> dict[str, Any]:
    settings, job = run.settings, run.prepared.job
    return {
        "model": job.model,
        "grader": run.prepared.grader.name,
        "algorithm": settings.algorithm,
        "weights": settings.weights,
        "seed": job.seed,
        "steps": settings.num_steps,
        "completions per step": settings.batch_size * settings.group_size,
        "learning rate": settings.learning_rate,
        "training examples": len(run.prepared.train),
        "validation examples": len(run.prepared.valid),
        "test examples": len(run.prepared.test),
        "minutes": round(run.seconds / 60, 2),
        **_spent_on_grading(run),
    }


def _spent_on_grading(run: ForegroundRun) -> dict[str, Any]:
    """Tokens of model graders over the whole run, and what they cost where prices are known."""
    steps = run.folder.read_metrics()
    passes = [run.folder.read(f"evaluations/{path.name}") for path in (run.folder.path / "evaluations").iterdir()]
    usage = [spent for one in passes for spent in one.get("usage", {}).values()]
    tokens = sum(step.get(f"grade/{kind}_tokens", 0) for step in steps for kind in ("prompt", "completion"))
    tokens += sum(spent["prompt_tokens"] + spent["completion_tokens"] for spent in usage)
    cost = sum(step.get("grade/cost", 0) for step in steps) + sum(spent["cost"] for spent in usage)
    if not tokens:
        return {}
    return {"grader tokens": int(tokens), **({"grader cost": round(cost, 4)} if cost else {})}


def _title(run: ForegroundRun) -> str:
    job = run.prepared.job
    return f"{job.suffix or job.model} · {run.settings.algorithm} · {run.prepared.grader.name}"


def _export(run: ForegroundRun, report: Report, markdown: str) -> None:
    job, settings = run.prepared.job, run.settings
    primary = report.primary
    figures = {"mean score (base)": primary.base_mean, "mean score (tuned)": primary.tuned_mean}
    card = model_card(
        policy=run.prepared.policy,
        title=f"{job.model.rstrip('/').rsplit('/', 1)[-1]}{'-' + job.suffix if job.suffix else '-rft'}",
        grader=job.reinforcement.grader.model_dump(mode="json", exclude_none=True),
        report=markdown.replace(f"({CURVE_FILE})", f"(../{CURVE_FILE})"),
        metrics={name: round(value, 4) for name, value in figures.items() if value is not None},
        how=f"`{job.model}` after {report.shipped_step} steps of reinforcement fine-tuning with openrft "
        f"({settings.algorithm}, {settings.weights} weights, seed {job.seed}).",
    )
    export_policy(run.prepared.policy, run.folder.path / "model", card=card, overwrite=True)
