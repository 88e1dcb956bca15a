"""Runs over one another: lines and comparisons are the API's, and only differences are listed."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import openai
import pytest
from playwright.sync_api import Locator, Page, expect

from app_server import Server
from openrft.evaluation.evaluation import Evaluation, EvaluationRow
from openrft.store import Store
from openrft.store.rows import NewEvent, Project
from wire_jobs import GRADER, body, record_step, run_by_hand


def scored(name: str, index: int, score: float) -> EvaluationRow:
    return EvaluationRow(
        example_id=name, index=index, line=index + 1, prompt_text=name, scores=[score], outputs=["out"], errors=[None],
        completion_tokens=[1], truncated=[False],
    )  # fmt: skip


@pytest.fixture
def jobs(client: openai.OpenAI, store: Store, project: Project) -> list[str]:
    """Two that have succeeded; the second one has sampled twice as much at each step, and learned more."""
    made = []
    for place, (suffix, seed, gain) in enumerate((("plain", 1, 0.25), ("bold", 2, 0.5))):
        grader = {**GRADER, "operation": ["eq", "ilike"][place]}
        asked = body(
            client, suffix=suffix, seed=seed, method={"type": "reinforcement", "reinforcement": {"grader": grader}}
        )
        lease = run_by_hand(store, project.id, client.fine_tuning.jobs.create(**asked).id)
        options = {"eval_interval": 2, "learning_rate": [1e-4, 2e-4][place], "group_size": 8}
        store.queue.set_resolved(lease, {"hyperparameters": options})
        for step in range(5):
            measured = {
                "reward/mean": 0.25 + gain * step / 4, "rollout/total": step * 32.0 * (place + 1),
                "spent/tokens": step * 1000.0, "time/spent_minutes": step * 0.5, "spent/grader_cost": 0.0,
            }  # fmt: skip
            if step % 2 == 0:
                measured["valid/reward_mean"] = 0.25 + gain * step / 4
            record_step(store, lease, step, [], **measured)
        rows = [scored(f"row {number}", number, 0.25 + gain - 0.0625 * number * place) for number in range(5)]
        evaluation = Evaluation(name="step 4", step=4, mode="sampled", num_samples=1, rows=rows)
        for name, content in (
            ("documents/report.json", {"shipped_step": 4, "rows_kind": "validation"}),
            ("evaluations/step-000004-validation-sampled.json", evaluation.to_json()),
        ):
            store.artifacts.write(f"jobs/{lease.job_id}/{name}", [json.dumps(content).encode()])
        verdict = {"outcome": "better", "gain": gain, "low": gain - 0.125, "high": gain + 0.125}
        store.events.append(lease, NewEvent(message=f"better: {gain}.", key="verdict", data={"verdict": verdict}))
        store.queue.finish(lease, "succeeded", message="done", fine_tuned_model=f"ft:{suffix}")
        made.append(lease.job_id)
    return made


def table(page: Page, name: str) -> Locator:
    return page.get_by_role("table", name=name, exact=True)


def cells(page: Page, name: str, row: str) -> list[str]:
    found = table(page, name).get_by_role("row").filter(has=page.get_by_role("rowheader", name=row, exact=True))
    return found.get_by_role("cell").all_inner_texts()


def test_the_tables_say_how_they_ended_what_differs_and_which_model_is_better_on_the_same_rows(
    window: Page, server: Server, first_key: str, jobs: list[str]
) -> None:
    window.goto(f"{server.url}/compare?jobs={','.join(jobs)}")
    expect(table(window, "Results").get_by_text("$0.00")).to_have_count(2)
    plain, bold = cells(window, "Results", "plain"), cells(window, "Results", "bold")
    assert plain[1:5] == ["0.250", "0.500", "+0.250 [0.125, 0.375]", "4"]
    assert bold[1:5] == ["0.250", "0.750", "+0.500 [0.375, 0.625]", "4"]
    assert (plain[5], plain[7:]) == ("2 min 0 s", ["128", "4,000", "$0.00"])
    assert bold[7] == "256"

    assert cells(window, "Configuration", "hyperparameters.learning_rate") == ["0.0001", "0.0002"]
    assert cells(window, "Configuration", "grader.operation") == ["eq", "ilike"]
    assert cells(window, "Configuration", "seed") == ["1", "2"]
    said = table(window, "Configuration").get_by_role("rowheader").all_inner_texts()
    assert said == ["seed", "grader.operation", "hyperparameters.learning_rate"]  # and not what they share

    answer = httpx2.get(
        f"{server.url}/v1/fine_tuning/comparisons?jobs={','.join(jobs)}",
        headers={"Authorization": f"Bearer {first_key}"},
    )
    [pair] = answer.json()["pairs"]
    expect(table(window, "On the same held-out rows").get_by_role("row")).to_have_count(2)
    figures = cells(window, "On the same held-out rows", "bold")
    low, high = pair["interval"]
    assert figures[:3] == ["5", f"{pair['first_mean']:.3f}", f"{pair['second_mean']:.3f}"]
    assert figures[3].replace("−", "-") == f"{pair['difference']:+.3f} [{low:.3f}, {high:.3f}]"
    assert figures[5] == f"{pair['better']} / {pair['worse']} / {pair['same']}" == "4 / 0 / 1"
    assert "Their graders differ" in figures[6]


def points(page: Page, metric: str) -> dict[str, list[Any]]:
    """What the chart's table says, by run."""
    chart = page.locator(f"#compare-{metric.replace('/', '-')}")
    expect(chart.get_by_role("table")).to_be_visible()
    heads, *rows = [row.locator("th, td").all_inner_texts() for row in chart.get_by_role("row").all()]
    return {head: [row[place] for row in rows] for place, head in enumerate(heads)}


def test_the_curves_lie_over_the_chosen_axis_and_the_address_keeps_the_choice(
    window: Page, server: Server, jobs: list[str]
) -> None:
    window.goto(f"{server.url}/compare?jobs={','.join(jobs)}&metric=reward/mean")
    chart = window.get_by_role("figure", name="reward/mean")
    expect(chart).to_have_attribute("data-points", "5")
    expect(chart).to_have_attribute("data-last", "0.5")
    chart.get_by_role("button", name="Table").click()
    by_step = points(window, "reward/mean")
    assert sorted(by_step["plain"]) == ["0.25", "0.3125", "0.375", "0.4375", "0.5"]

    window.get_by_role("group", name="Axis").get_by_role("link", name="Samples").click()
    expect(chart).to_have_attribute("data-last-step", "128")
    by_samples = points(window, "reward/mean")
    assert len(next(iter(by_samples.values()))) == 7  # 0, 32, 64, 96, 128 and 192, 256
    window.get_by_role("group", name="Axis").get_by_role("link", name="Time").click()
    expect(chart).to_have_attribute("data-last-step", "2")
    window.get_by_role("group", name="Axis").get_by_role("link", name="Tokens").click()
    expect(chart).to_have_attribute("data-last-step", "4000")

    window.get_by_label("Add a metric").select_option("valid/reward_mean")
    expect(window.get_by_role("figure", name="valid/reward_mean")).to_have_attribute("data-points", "3")
    window.reload()
    expect(window.get_by_role("figure", name="valid/reward_mean")).to_have_attribute("data-last-step", "4000")
    window.get_by_role("button", name="Remove reward/mean").click()
    expect(window.get_by_role("figure", name="reward/mean", exact=True)).to_have_count(0)


def test_one_job_is_not_enough_and_an_unknown_one_is_named(window: Page, server: Server, jobs: list[str]) -> None:
    window.goto(f"{server.url}/compare?jobs={jobs[0]}")
    expect(window.get_by_role("heading", name="Two runs at least")).to_be_visible()
    window.expected.append("404")  # type: ignore[attr-defined]
    window.goto(f"{server.url}/compare?jobs={jobs[0]},ftjob-none")
    expect(window.get_by_role("alert")).to_contain_text("ftjob-none")


def test_jobs_without_a_step_or_a_report_are_compared_as_far_as_they_are(
    hurried: Page, server: Server, client: openai.OpenAI, jobs: list[str], store: Store, project: Project
) -> None:
    young = client.fine_tuning.jobs.create(**body(client, suffix="young")).id
    hurried.goto(f"{server.url}/compare?jobs={jobs[0]},{young}")
    expect(table(hurried, "Results")).to_be_visible()
    assert cells(hurried, "Results", "young")[1:4] == ["–", "–", "–"]
    expect(hurried.get_by_text("Known once two of the runs have a report")).to_be_visible()
    lease = run_by_hand(store, project.id, young)
    record_step(store, lease, 1, [], **{"valid/reward_mean": 0.5})
    store.queue.finish(lease, "succeeded", message="done", fine_tuned_model="ft:young")
    row = table(hurried, "Results").get_by_role("row").filter(has_text="young")
    expect(row).to_contain_text("succeeded")
    expect(row).to_contain_text("0.500")
