"""The end of a supervised run: with a grader as of any run, without one a comparison by loss."""

from __future__ import annotations

from typing import Any

from openrft.evaluation.curve import draw_curve
from openrft.evaluation.loss_render import to_markdown
from openrft.evaluation.loss_report import build_loss_report
from openrft.evaluation.losses import LossEvaluation
from openrft.evaluation.selection import SelectionFacts, expected_selection_optimism
from openrft.evaluation.time_spent import time_spent
from openrft.training.finish import (
    CURVE_FILE,
    curve_of,
    finish,
    job_facts,
    overlap_of,
    put_chosen_in_place,
    ship,
    title_of,
)
from openrft.training.supervised_run import SupervisedRun


def finish_supervised(run: SupervisedRun) -> dict[str, Any]:
    """Ship the chosen checkpoint: put it in place, compare it with the base, export it, write the report."""
    if run.is_graded:
        return finish(run)
    step = put_chosen_in_place(run)
    base = run.reported_losses("base", 0)  # read back: recorded before training
    tuned = run.reported_losses(f"tuned (step {step})", step)
    points = curve_of(run, chosen=step, train="train/loss", valid="valid/loss")
    report = build_loss_report(
        job=job_facts(run),
        shipped_step=step,
        base=base,
        tuned=tuned,
        rows_kind="test" if run.prepared.test_rows else "validation" if run.prepared.valid_rows else "none",
        selection=_selection(run, step),
        curve=points,
        time_spent=time_spent(run.folder.read_metrics(), run.seconds),
        noticed=[alarm.sentence for alarm in run.notice()],
        overlapping_lines=_overlapping_lines(run),
    )
    draw_curve(points, run.folder.path / CURVE_FILE, title=title_of(run), quantity="loss")
    markdown = to_markdown(report, curve_path=CURVE_FILE)
    figures = {f"loss ({name})": arm.loss for name, arm in zip(("base", "tuned"), report.arms, strict=False)}
    ship(run, report.to_json(), markdown, figures=figures)
    return report.to_json()


def _overlapping_lines(run: SupervisedRun) -> list[int]:
    overlap = overlap_of(run)
    return [] if overlap is None else [row.line for row in overlap.rows]


def _selection(run: SupervisedRun, chosen: int) -> SelectionFacts | None:
    """How the choice was made; None when the last step ships without one."""
    if run.settings.ship == "last" or not run.prepared.valid_rows:
        return None
    files = sorted((run.folder.path / "evaluations").glob("step-*-valid-loss.json"))
    losses = [LossEvaluation.from_json(run.folder.read(f"evaluations/{path.name}")) for path in files]
    trained = [one for one in losses if one.step > 0 and run.course.is_of_line(one.step)]
    return SelectionFacts(
        chosen_step=chosen,
        candidate_steps=[one.step for one in trained],
        window=run.window,
        expected_optimism=expected_selection_optimism(
            [[-row.loss for row in one.rows] for one in trained],
            window=run.window,
            clusters=[row.example_id for row in trained[0].rows],
            seed=run.prepared.job.seed,
        ),
    )
