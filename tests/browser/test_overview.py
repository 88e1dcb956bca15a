"""A job while it trains: its page grows by itself, survives a lost connection, and says what the API says."""

from __future__ import annotations

import json
import re
from typing import Any

import openai
import pytest
from playwright.sync_api import Locator, Page, expect
from sqlalchemy import insert, update

from app_server import Server
from browser.laboratory import Lab
from openrft.store import Store
from openrft.store.rows import Lease, NewEvent, Project
from openrft.store.schema import job_steps, jobs
from platform_server import PlatformServer
from wire_jobs import body, record_step, rollout_row, run_by_hand

ARRIVALS = """
    window.arrived = {};   // step -> when its news came, as the browser saw it
    const Source = window.EventSource;
    window.EventSource = class extends Source {
      constructor(...of) {
        super(...of);
        this.addEventListener("job", ({data}) => (window.arrived[JSON.parse(data).step] ??= performance.now()));
      }
    };
"""
GROWS = """
    (figure) => new Promise((tell) => {
      const begun = Number(figure.dataset.lastStep);
      new MutationObserver((_, watcher) => {
        if (Number(figure.dataset.lastStep) === begun) return;
        watcher.disconnect();
        tell(performance.now() - window.arrived[figure.dataset.lastStep]);
      }).observe(figure, {attributes: true});
    })
"""


@pytest.fixture
def job_id(client: openai.OpenAI) -> str:
    return client.fine_tuning.jobs.create(**body(client, suffix="watched")).id


@pytest.fixture
def lease(store: Store, project: Project, job_id: str) -> Lease:
    """A running job with a validation of the base and three steps."""
    lease = run_by_hand(store, project.id, job_id)
    store.steps.record(lease, 0, validation(0.25), total_steps=10)
    for step in (1, 2, 3):
        train(store, lease, step)
    return lease


def validation(mean: float) -> dict[str, float]:
    return {"valid/reward_mean": mean, "valid/reward_low": mean - 0.1, "valid/reward_high": mean + 0.1}


def train(store: Store, lease: Lease, step: int) -> None:
    """A step whose reward is its number / 10."""
    rows = [rollout_row(step, number) for number in range(4)]
    times = {"time/step_seconds": 2.0, "time/sampling_seconds": 1.0, "time/update_seconds": 0.5}
    metrics: dict[str, Any] = {"reward/mean": step / 10, **times}
    record_step(store, lease, step, rows, **metrics)


def chart(page: Page, title: str) -> Locator:
    return page.get_by_role("figure", name=title, exact=True)


def rows_of(figure: Locator) -> list[list[str]]:
    """The cells of a chart's table."""
    found: list[list[str]] = figure.locator("tbody tr").evaluate_all(
        "(rows) => rows.map((row) => [...row.children].map((cell) => cell.textContent.trim()))"
    )
    return found


def test_a_step_is_in_its_chart_within_a_second_of_its_news(
    window: Page, server: Server, store: Store, lease: Lease
) -> None:
    window.add_init_script(ARRIVALS)
    window.goto(f"{server.url}/finetune/{lease.job_id}")
    reward = chart(window, "Reward")
    expect(reward).to_have_attribute("data-points", "3")
    window.evaluate(f"() => void (window.waited = ({GROWS})(document.querySelector('#chart-reward')))")
    train(store, lease, 4)
    assert 0 <= window.evaluate("window.waited") < 1000
    expect(reward).to_have_attribute("data-points", "4")
    expect(reward).to_have_attribute("data-last", "0.4")
    expect(window.locator("#card-reward .card-value")).to_have_text("0.400")
    expect(window.locator("#job-sentence")).to_contain_text("step 4/10, healthy")


def drop_connections(server: Server) -> None:
    """Cut every line to the server, as a network does."""
    loop = server.uvicorn.servers[0].get_loop()
    for connection in list(server.uvicorn.server_state.connections):
        transport = getattr(connection, "transport", None)
        if transport is not None:
            loop.call_soon_threadsafe(transport.abort)


def test_a_dropped_connection_goes_on_without_a_gap_and_without_repeats(
    window: Page, server: Server, store: Store, lease: Lease
) -> None:
    window.expected = ["net::ERR_", "Failed to load resource"]  # type: ignore[attr-defined]
    window.goto(f"{server.url}/finetune/{lease.job_id}?table=chart-reward")
    reward = chart(window, "Reward")
    expect(reward).to_have_attribute("data-points", "3")
    window.context.set_offline(True)
    drop_connections(server)
    expect(window.get_by_text("connection lost")).to_be_visible()
    for step in (4, 5, 6):
        train(store, lease, step)
    window.context.set_offline(False)
    expect(reward).to_have_attribute("data-points", "6")
    expect(window.get_by_text("connection lost")).to_have_count(0)
    assert [row[:2] for row in rows_of(reward)] == [["0", ""], *([str(n), f"0.{n}00"] for n in range(1, 7))]
    window.reload()
    expect(reward).to_have_attribute("data-points", "6")


LINES = """
    window.lines = [];   // every EventSource that was opened
    window.told = [];   // the sequence numbers of the events that came by them
    const Source = window.EventSource;
    window.EventSource = class extends Source {
      constructor(...of) {
        super(...of);
        window.lines.push(this);
        this.addEventListener("event", ({lastEventId}) => window.told.push(Number(lastEventId)));
      }
    };
"""


def turn(page: Page, *, hidden: bool) -> None:
    """Another tab is looked at, or this one again."""
    page.evaluate(
        """(hidden) => {
            Object.defineProperty(document, "hidden", {value: hidden, configurable: true});
            document.dispatchEvent(new Event("visibilitychange"));
        }""",
        hidden,
    )


def test_a_hidden_page_holds_no_connection_and_has_missed_nothing_once_it_is_seen(
    window: Page, server: Server, store: Store, lease: Lease
) -> None:
    window.add_init_script(LINES)
    window.goto(f"{server.url}/finetune/{lease.job_id}?table=chart-reward")
    reward = chart(window, "Reward")
    expect(reward).to_have_attribute("data-points", "3")
    window.wait_for_function("window.lines.length === 1 && window.lines[0].readyState === EventSource.OPEN")
    turn(window, hidden=True)
    assert window.evaluate("window.lines.map((line) => line.readyState)") == [2]
    for step in (4, 5, 2, 3, 4, 5, 6):  # meanwhile it goes back, to step 1
        store.steps.record(lease, step, {"reward/mean": step / 20, "valid/reward_mean": 0.5}, total_steps=10)
    turn(window, hidden=False)
    turn(window, hidden=False)
    expect(reward).to_have_attribute("data-last-step", "6")
    expect(reward.locator("tbody tr").nth(2)).to_contain_text("0.100")
    assert [row[1] for row in rows_of(reward)] == ["", "0.100", "0.100", "0.150", "0.200", "0.250", "0.300"]
    assert window.evaluate("window.lines.map((line) => line.readyState)") == [2, 1]
    expect(window.locator("#card-validation")).to_contain_text("step 6")
    expect(window.locator("#card-validation")).not_to_contain_text("95 %")  # its interval was not measured
    numbers = window.evaluate("window.told")
    assert numbers == [*range(numbers[0], numbers[-1] + 1)]


def test_a_resumed_job_goes_on_in_the_same_curve(
    window: Page, server: Server, store: Store, project: Project, lease: Lease
) -> None:
    window.goto(f"{server.url}/finetune/{lease.job_id}?table=chart-reward")
    window.get_by_role("button", name="Pause").click()
    window.get_by_role("button", name="Yes").click()
    expect(window.locator("[data-status]").first).to_have_attribute("data-status", "paused")
    store.queue.finish(lease, "paused", message="The job was paused")
    window.get_by_role("button", name="Resume").click()
    expect(window.locator("[data-status]").first).to_have_attribute("data-status", "queued")
    again = store.queue.claim("worker")
    assert again is not None
    store.steps.record(again.lease, 4, {"reward/mean": 0.4, **validation(0.5)}, total_steps=10)
    reward = chart(window, "Reward")
    expect(reward).to_have_attribute("data-last-step", "4")
    rows = rows_of(reward)
    assert [row[0] for row in rows] == ["0", "1", "2", "3", "4"]
    assert [row[2] for row in rows] == ["0.250", "", "", "", "0.500"]

    # Its training went wrong: it goes back to step 1 and makes the later ones again, each another than before.
    for step in (2, 3, 4, 5):
        store.steps.record(again.lease, step, {"reward/mean": 0.9 - step / 10, **validation(0.5)}, total_steps=10)
        expect(window.locator("[data-step]").first).to_have_attribute("data-step", str(step))
    expect(reward).to_have_attribute("data-last-step", "5")
    expect(reward).to_have_attribute("data-last", "0.4")
    assert [row[1] for row in rows_of(reward)] == ["", "0.100", "0.700", "0.600", "0.500", "0.400"]


def test_what_a_job_can_do_next_follows_its_status(
    window: Page, server: Server, store: Store, job_id: str, project: Project
) -> None:
    window.goto(f"{server.url}/finetune/{job_id}")
    expect(window.get_by_role("heading", level=1)).to_have_text("watched")
    expect(window.get_by_role("heading", name="Its files are being checked")).to_be_visible()
    run_by_hand(store, project.id, job_id)
    expect(window.get_by_text("It prepares its first step")).to_be_visible()
    window.get_by_role("button", name="Cancel").click()
    expect(window.get_by_role("dialog")).to_contain_text("it cannot go on")
    window.get_by_role("button", name="Yes").click()
    expect(window.get_by_role("link", name="Create again")).to_be_visible()
    window.goto(f"{server.url}/finetune/ftjob-none")
    window.expected = ["404"]  # type: ignore[attr-defined]
    expect(window.get_by_role("alert")).to_contain_text("ftjob-none")


def test_cards_and_table_say_what_the_api_says(lab_window: Page, lab: Lab, lab_server: PlatformServer) -> None:
    page, path = lab_window, f"{lab_server.base_url}/fine_tuning/jobs/{lab.reinforcement}"
    page.goto(f"{lab_server.base_url.removesuffix('/v1')}/finetune/{lab.reinforcement}?table=chart-reward")
    series = page.request.get(f"{path}/metrics").json()["series"]
    report = page.request.get(f"{path}/report").json()
    gain = report["selection"]["difference"]
    train_mean, valid = series["reward/mean"]["values"], series["valid/reward_mean"]
    expect(page.locator("#card-reward .card-value")).to_have_text(f"{train_mean[-1]:.3f}")
    expect(page.locator("#card-validation .card-value")).to_have_text(f"{valid['values'][-1]:.3f}")
    low, high = (series[f"valid/reward_{end}"]["values"][-1] for end in ("low", "high"))
    expect(page.locator("#card-validation")).to_contain_text(f"[{low:.3f}, {high:.3f}]")
    expect(page.locator("#card-gain .card-value")).to_have_text(f"{gain['mean']:+.3f}".replace("-", "−"))
    expect(page.locator("#card-time")).to_contain_text(f"{series['spent/tokens']['values'][-1]:,.0f} tokens")
    rows = {row[0]: row for row in rows_of(chart(page, "Reward"))}
    for step, value in zip(series["reward/mean"]["steps"], train_mean, strict=True):
        assert rows[str(step)][1] == f"{value:.3f}"
    for step, value in zip(valid["steps"], valid["values"], strict=True):
        assert rows[str(step)][2] == f"{value:.3f}"
        assert "evaluation" in rows[str(step)][-1]
    assert page.locator("figure.chart").count() <= 12
    expect(
        chart(page, "Reward by grader").get_by_role("button", name=re.compile("compliant, validation"))
    ).to_be_visible()
    expect(page.locator("#timeline")).to_have_attribute("data-steps", "8")


def test_a_supervised_job_shows_losses_and_a_failed_one_says_why(
    lab_window: Page, lab: Lab, lab_server: PlatformServer
) -> None:
    root = lab_server.base_url.removesuffix("/v1")
    lab_window.goto(f"{root}/finetune/{lab.supervised}")
    expect(chart(lab_window, "Loss")).to_have_attribute("data-points", "6")
    expect(lab_window.locator("#card-validation")).to_contain_text("base")
    expect(lab_window.get_by_role("link", name="Rollouts")).to_have_count(0)
    lab_window.goto(f"{root}/finetune/{lab.failed}")
    expect(lab_window.get_by_role("alert")).to_contain_text("no such column")
    expect(lab_window.get_by_text("It failed before its first step")).to_be_visible()


def alarm(code: str, step: int, **changes: Any) -> dict[str, Any]:
    said: dict[str, Any] = {
        "sentence": f"{code} is so",
        "advice": "mend it",
        "severity": "error",
        "ended_step": None,
        "evidence": [],
    }
    return {"code": code, "step": step, **said, **changes}


def test_alerts_say_what_is_wrong_with_the_answers_that_show_it(
    window: Page, server: Server, store: Store, lease: Lease
) -> None:
    shown = {"source": "rollouts", "step": 2, "example": "example-1", "line": 2, "sample": 0}
    alarms = [alarm("reward_hacking", 2, evidence=[shown]), alarm("truncation", 1, severity="warn", ended_step=2)]
    page = window
    page.goto(f"{server.url}/finetune/{lease.job_id}")
    expect(page.locator("#job-sentence")).to_contain_text("healthy")
    store.artifacts.write(f"jobs/{lease.job_id}/documents/alarms.json", [json.dumps({"alarms": alarms}).encode()])
    told = NewEvent(message="reward_hacking: …", level="error", data={"alarm": "reward_hacking"})
    store.steps.record(lease, 4, {"reward/mean": 0.4}, total_steps=10, events=[told])
    alert = page.get_by_role("article", name="reward hacking")
    expect(alert).to_contain_text("reward_hacking is so")
    expect(alert).to_contain_text("mend it")
    expect(page.locator("[data-health]")).to_have_text("1 alert")
    expect(page.get_by_text("1 alert is over")).to_be_visible()
    alert.get_by_role("button", name="Mute").click()
    expect(page.locator("[data-health]")).to_have_text("healthy")
    page.reload()
    page.get_by_text("1 muted in this browser").click()
    alert.get_by_role("button", name="Show again").click()
    alert.get_by_role("link", name="step 2, line 2, sample 1").click()
    expect(page).to_have_url(re.compile(r"/rollouts\?example=example-1&step=2"))
    expect(page.get_by_text("output 2.1")).to_be_visible()


def test_a_job_of_ten_thousand_steps_opens_thinned_and_grows(
    window: Page, server: Server, store: Store, project: Project, job_id: str
) -> None:
    lease = run_by_hand(store, project.id, job_id)
    rows = [
        {"job_id": job_id, "step": step, "epoch": lease.epoch, "recorded_at": 1_790_000_000 + step, "rollouts": None,
         "metrics": {"reward/mean": 0.9 if step == 9_999 else step / 20_000, "policy/entropy": 1.0,
                     "time/step_seconds": 1.0}}
        for step in range(10_000)
    ]  # fmt: skip

    def fill(connection: Any) -> None:
        connection.execute(insert(job_steps), rows)
        connection.execute(update(jobs).where(jobs.c.id == job_id).values(step=9_999, total_steps=20_000))

    store.database.write(fill)
    window.goto(f"{server.url}/finetune/{job_id}")
    reward = chart(window, "Reward")
    expect(reward).to_have_attribute("data-last-step", "9999")
    expect(reward).to_have_attribute("data-points", "2000")
    expect(window.locator("#card-reward .card-value")).to_have_text("0.900")  # the step's own, no mean of several
    store.steps.record(lease, 10_000, {"reward/mean": 0.5}, total_steps=20_000)
    expect(reward).to_have_attribute("data-last-step", "10000")
    expect(reward).to_have_attribute("data-points", "2001")
    window.goto(f"{server.url}/finetune/{job_id}?table=chart-reward")
    expect(reward.locator("table")).to_have_attribute("data-rows", "2000")
    assert reward.locator("tbody tr").count() < 200
