"""The end of a run: which weights ship, whether they are better than the base, and the folder people take away."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from openrft.dataset import OverlapSearch, find_overlap
from openrft.evaluation.curve import CurvePoint, draw_curve
from openrft.evaluation.evaluation import Evaluation
from openrft.evaluation.html_report import Record, to_html
from openrft.evaluation.render import to_markdown
from openrft.evaluation.report import build_report
from openrft.evaluation.selection import SelectionFacts, select_evaluation
from openrft.evaluation.statistics import Interval
from openrft.evaluation.time_spent import time_spent
from openrft.models.checkpoint import list_checkpoints
from openrft.models.export import export_policy, model_card
from openrft.training.alarms import as_noticed
from openrft.training.foreground import ForegroundRun
from openrft.training.run_folder import read_rows

CURVE_FILE = "curve.svg"


def finish(run: ForegroundRun) -> dict[str, Any]:
    """Ship the chosen checkpoint: put it in place, compare it with the base, export it, write the report.

    Returns the report as JSON. Each part is written whole, so a run that is killed here can be resumed.
    """
    prepared, folder = run.prepared, run.folder
    step = put_chosen_in_place(run)
    tuned_sampled, tuned_greedy = run.evaluate_test(f"tuned (step {step})", step)
    base_sampled, base_greedy = run.evaluate_test("base", 0)  # read back: recorded before training
    points = curve_of(run, chosen=step, train="reward/mean", valid="valid/reward_mean")
    report = build_report(
        job=job_facts(run),
        base_sampled=base_sampled,
        tuned_sampled=tuned_sampled,
        base_greedy=base_greedy,
        tuned_greedy=tuned_greedy,
        rows_kind="test" if prepared.test else "validation",
        selection=_selection(run, step),
        curve=points,
        time_spent=time_spent(folder.read_metrics(), run.seconds),
        pass_threshold=run.settings.passing_score,
        grader=run.prepared.job.method.options.grader.model_dump(mode="json", exclude_none=True),
        overlap=overlap_of(run),
        noticed=[as_noticed(folder.path, alarm) for alarm in run.notice()],
    )
    draw_curve(points, folder.path / CURVE_FILE, title=title_of(run))
    markdown = to_markdown(report, curve_path=CURVE_FILE)
    primary = report.primary
    ship(
        run,
        report.to_json(),
        markdown,
        figures={"mean score (base)": primary.base_mean, "mean score (tuned)": primary.tuned_mean},
    )
    return report.to_json()


def put_chosen_in_place(run: ForegroundRun) -> int:
    """Load the weights that ship; returns their step."""
    step = run.choose_step()
    run.turns.put_in_place(step)
    run.prepared.engine.load_weights(step)
    return step


def ship(run: ForegroundRun, report: Mapping[str, Any], markdown: str, *, figures: Mapping[str, float | None]) -> None:
    """Export the weights in place with a model card, and write the report; the folder is complete then."""
    _export(run, int(report["shipped_step"]), markdown, figures)
    run.folder.write_text("report.md", markdown)
    run.folder.write_text("report.html", _page(run, report))
    run.folder.write("report.json", report)
    run.folder.event(str(report["sentence"]))


def _page(run: ForegroundRun, report: Mapping[str, Any]) -> str:
    """The report as one HTML file to pass on."""
    folder = run.folder
    files = sorted((folder.path / "rollouts").glob("step-*.jsonl"))
    record = Record(
        report=report,
        job=folder.read("job.json"),
        config=folder.read("config.json"),
        steps=folder.read_metrics(),
        rollouts=[row for path in dict.fromkeys(files[:1] + files[-1:]) for row in read_rows(path)],
        finished_at=time.time(),
    )
    return to_html(record)


def overlap_of(run: ForegroundRun) -> OverlapSearch | None:
    """What the report's rows share with the training file."""
    datasets = run.prepared.datasets
    rows = datasets.get("test_file") or datasets.get("validation_file")
    return None if rows is None else find_overlap(datasets["training_file"], rows)


def _selection(run: ForegroundRun, chosen: int) -> SelectionFacts | None:
    """How the choice was made; None when the last step ships without one."""
    if run.settings.ship == "last":
        return None
    evaluations = [
        Evaluation.from_json(run.folder.read(f"evaluations/{path.name}"))
        for path in sorted((run.folder.path / "evaluations").glob("step-*-valid-sampled.json"))
    ]
    trained = [one for one in evaluations if one.step > 0 and run.course.is_of_line(one.step)]
    if all(evaluation.mean is None for evaluation in trained):
        return None  # nothing could be graded, so the last step ships
    return replace(select_evaluation(trained, seed=run.prepared.job.seed), chosen_step=chosen)


def curve_of(run: ForegroundRun, *, chosen: int, train: str, valid: str) -> list[CurvePoint]:
    """The learning curve of the metrics ``train`` and ``valid``."""
    kept = {step for step, _ in list_checkpoints(run.folder.checkpoints)}
    points = []
    for row in run.folder.read_metrics():
        low, high = row.get("valid/reward_low"), row.get("valid/reward_high")
        points.append(
            CurvePoint(
                step=row["step"],
                train_reward=row.get(train),
                valid_mean=row.get(valid),
                valid_interval=None if low is None or high is None else Interval(low, high),
                is_kept=row["step"] in kept,
                is_chosen=row["step"] == chosen,
            )
        )
    return points


def job_facts(run: ForegroundRun) -> dict[str, Any]:
    """What people want to see of the job beside its result."""
    settings, job, prepared = run.settings, run.prepared.job, run.prepared
    return {
        "model": job.model,
        **({} if prepared.grader is None else {"grader": prepared.grader.name}),
        "algorithm": prepared.algorithm,
        "weights": settings.weights,
        "seed": job.seed,
        "steps": run.course.last_step,
        **({"rows per step": settings.batch_size} if prepared.answers_per_step is None else {}),
        **({} if prepared.answers_per_step is None else {"completions per step": prepared.answers_per_step}),
        "learning rate": settings.learning_rate,
        "training examples": prepared.num_rows("training_file"),
        "validation examples": prepared.num_rows("validation_file"),
        "test examples": prepared.num_rows("test_file"),
        "minutes": round(run.seconds / 60, 2),
        **_turns(run),
        **_spent_on_grading(run),
    }


def _turns(run: ForegroundRun) -> dict[str, Any]:
    """What the guard and early stopping did, if anything."""
    end, returns = run.turns.early_end(), run.course.returns
    turns: dict[str, Any] = {}
    if returns:
        turns["returns to an earlier step"] = "; ".join(f"from {one.at} to {one.to}: {one.why}" for one in returns)
    if end is not None:
        turns["stopped early"] = end
    return turns


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


def title_of(run: ForegroundRun) -> str:
    """What the curve is of."""
    job, grader = run.prepared.job, run.prepared.grader
    return " · ".join([job.suffix or job.model, run.prepared.algorithm, *([] if grader is None else [grader.name])])


def _export(run: ForegroundRun, step: int, markdown: str, figures: Mapping[str, float | None]) -> None:
    job, settings, grader = run.prepared.job, run.settings, run.prepared.job.method.options.grader
    suffix = job.suffix or ("rft" if job.method.type == "reinforcement" else "sft")
    card = model_card(
        policy=run.prepared.policy,
        title=f"{job.model.rstrip('/').rsplit('/', 1)[-1]}-{suffix}",
        grader=None if grader is None else grader.model_dump(mode="json", exclude_none=True),
        method=job.method.type,
        report=markdown.replace(f"({CURVE_FILE})", f"(../{CURVE_FILE})"),
        metrics={name: round(value, 4) for name, value in figures.items() if value is not None},
        how=f"`{job.model}` after {step} steps of {job.method.type} fine-tuning with openrft "
        f"({run.prepared.algorithm}, {settings.weights} weights, seed {job.seed}).",
    )
    export_policy(run.prepared.policy, run.folder.path / "model", card=card, overwrite=True)
