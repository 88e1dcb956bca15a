"""Five walks through the dashboard, from an empty server to the end: start, watch, read, decide, come back."""

from __future__ import annotations

import contextlib
import json
import re
import time
import urllib.request
import zipfile
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, expect

from openrft.api.session import login_link
from platform_server import PlatformServer, platform_server

EXAMPLE = Path(__file__).parents[2] / "examples/policy_review"
LONG = 120_000  # milliseconds for what a model does


class Walk:
    """One window at one server, and the job that was started in it."""

    def __init__(self, page: Page, server: PlatformServer) -> None:
        self.page, self.server = page, server
        self.url = server.base_url.removesuffix("/v1")
        self.job = ""

    def api(self, path: str) -> Any:
        """What the API says."""
        headers = {"Authorization": f"Bearer {self.server.api_key}"}
        with urllib.request.urlopen(urllib.request.Request(self.server.base_url + path, headers=headers)) as answer:
            return json.load(answer)

    def tab(self, name: str) -> None:
        """Go to a page of the job."""
        self.page.get_by_role("navigation", name="Job").get_by_role("link", name=name).click()


def wait_until_ready(url: str) -> None:
    """Until a worker is there and models answer: they are loaded while the server is up already."""
    deadline = time.monotonic() + 120
    while True:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/ready") as answer:
            if answer.status == 200:
                return
        assert time.monotonic() < deadline, "the server did not become ready"
        time.sleep(0.2)


def rows(name: str, count: int) -> dict[str, Any]:
    lines = (EXAMPLE / f"{name}.jsonl").read_text().splitlines()[:count]
    return {"name": f"{name}.jsonl", "mimeType": "application/jsonl", "buffer": ("\n".join(lines) + "\n").encode()}


def start(walk: Walk) -> None:
    """Log in by the printed link, drop two files, write a grader and try it, rehearse, plan, create."""
    page = walk.page
    page.goto(login_link(walk.url, walk.server.api_key))
    expect(page.get_by_role("heading", name="Jobs", exact=True)).to_be_visible()
    page.get_by_role("link", name="New job").first.click()
    page.get_by_label("Base model").fill("openrft-tiny")
    broken = rows("train", 24)
    page.get_by_label("Upload training file").set_input_files({**broken, "buffer": broken["buffer"] + b"{oops\n"})
    expect(page.get_by_role("region", name="Problems of the file")).to_contain_text("25")  # the line
    page.get_by_label("Upload training file").set_input_files(broken)
    expect(page.locator('[data-role="training_file"] .file-preview')).to_have_attribute("data-rows", "24")
    page.get_by_label("Upload validation file").set_input_files(rows("valid", 16))
    expect(page.locator('[data-role="validation_file"] .file-preview')).to_have_attribute("data-rows", "16")
    page.get_by_role("button", name="JSON", exact=True).first.click()
    grader = page.get_by_label("Grader as JSON", exact=True)
    right = (EXAMPLE / "grader.json").read_text()
    grader.fill(right.replace("{{item.compliant}}", "{{item.complaint}}"))
    # A variable that no row has is said at its line, before anything is sent.
    expect(page.get_by_role("list", name="Problems of the grader")).to_contain_text("complaint")
    for name in ("answer, and grade", "Create the job"):
        expect(page.get_by_role("button", name=name)).to_be_disabled()
    grader.fill(right)
    expect(page.locator("[data-grader=good]")).to_be_visible()
    page.get_by_role("button", name="Let openrft-tiny answer, and grade").click()
    expect(page.locator("[data-reward]").first).to_be_visible(timeout=LONG)
    page.get_by_text("All other hyperparameters").click()
    for name, value in {"batch_size": "4", "group_size": "8", "eval_interval": "4", "eval_samples": "2"}.items():
        page.get_by_label(name, exact=True).fill(value)
    page.get_by_label("num_steps", exact=True).fill("12")
    page.get_by_role("button", name="Rehearse").click()
    expect(page.get_by_role("region", name="Rehearsal")).to_be_visible(timeout=LONG)
    page.get_by_role("button", name="Plan: what").click()
    expect(page.get_by_role("region", name="Plan")).to_have_attribute("data-steps", "12", timeout=LONG)
    page.get_by_role("button", name="Create the job").click()
    page.wait_for_url(re.compile(r"/finetune/ftjob-\w+$"))
    walk.job = page.url.rpartition("/")[2]


def watch(walk: Walk) -> None:
    """The chart fills while the job trains, and the numbers at its end are the API's."""
    page, reward = walk.page, walk.page.locator("#chart-reward [data-points], #chart-reward[data-points]").first
    expect(reward).to_have_attribute("data-points", re.compile("[1-9]"), timeout=LONG)
    expect(page.locator("h1 + *, h1 ~ *").get_by_text("succeeded").first).to_be_visible(timeout=LONG)
    expect(reward).to_have_attribute("data-points", "12")
    series = walk.api(f"/fine_tuning/jobs/{walk.job}/metrics?names=reward/mean")["series"]["reward/mean"]
    expect(page.locator(".card", has_text="Training reward")).to_contain_text(f"{series['values'][-1]:.3f}")


def read(walk: Walk) -> None:
    """From the overview to the worst answer, its tokens, and back to its step."""
    page = walk.page
    walk.tab("Rollouts")
    page.get_by_role("link", name="Worst", exact=True).click()
    worst = walk.api(f"/fine_tuning/jobs/{walk.job}/rollouts?sort=worst&limit=1")["data"][0]
    first = page.locator("[data-item]").first
    expect(first).to_have_attribute("data-item", worst["id"])
    first.get_by_role("link", name=re.compile("Step .*sample")).click()
    expect(page.get_by_role("group", name="Output")).to_be_visible()
    expect(page.locator(".tokens [data-place]").first).to_be_visible()
    walk.tab("Dataset")
    expect(page.locator("main")).to_contain_text("24")


def decide(walk: Walk, folder: Path) -> None:
    """Checkpoints, the report, both models side by side with a grade, and the model to take away."""
    page = walk.page
    walk.tab("Checkpoints")
    found = walk.api(f"/fine_tuning/jobs/{walk.job}/checkpoints")["data"]
    expect(page.locator("[data-checkpoint]")).to_have_count(len(found))
    walk.tab("Report")
    report = walk.api(f"/fine_tuning/jobs/{walk.job}/report")
    expect(page.get_by_role("region", name="Verdict")).to_have_attribute("data-outcome", report["outcome"])
    with page.expect_download() as caught:
        page.get_by_role("link", name="Report (.html)").click()
    caught.value.save_as(folder / "report.html")
    assert report["sentence"].split(" ")[0] in (folder / "report.html").read_text()
    tuned = walk.api(f"/fine_tuning/jobs/{walk.job}")["fine_tuned_model"]
    page.goto(f"{walk.url}/playground?models=openrft-tiny,{tuned}")
    page.get_by_role("textbox", name="user message").fill(
        "Policy:\nRule 1: papers required.\nAna has no papers. Compliant?"
    )
    page.get_by_role("button", name="Ask all 2").click()
    for model in ("openrft-tiny", tuned):
        expect(page.get_by_role("region", name=model, exact=True).locator("[data-speed]").first).to_be_visible(
            timeout=LONG
        )
    page.goto(f"{walk.url}/finetune/{walk.job}/settings")
    with page.expect_download() as caught:
        page.locator("a[href*='/exports/merged']").first.click()
    caught.value.save_as(folder / "model.zip")
    with zipfile.ZipFile(folder / "model.zip") as packed:
        assert any(name.endswith("model.safetensors") for name in packed.namelist())


def come_back(walk: Walk) -> None:
    """The list, a second job with other settings beside the first, and the other pages."""
    page = walk.page
    page.goto(f"{walk.url}/finetune/new?from={walk.job}")
    expect(page.get_by_label("num_steps", exact=True)).to_have_value("12")
    page.get_by_label("num_steps", exact=True).fill("400")
    page.get_by_role("button", name="Create the job").click()
    page.wait_for_url(re.compile(r"/finetune/ftjob-\w+$"))
    second = page.url.rpartition("/")[2]
    assert second != walk.job
    page.locator("#pause").click()
    page.get_by_role("dialog").get_by_role("button", name="Yes").click()
    expect(page.locator("#resume")).to_be_visible(timeout=LONG)
    page.get_by_role("link", name="Jobs", exact=True).click()
    expect(page.get_by_role("checkbox", name=re.compile("Compare"))).to_have_count(2)
    for tick in page.get_by_role("checkbox", name=re.compile("Compare")).all():
        tick.check()
    page.get_by_role("link", name="Compare", exact=True).click()
    expect(page.locator("main")).to_contain_text("num_steps")  # what differs
    for place in ("Evals", "Models", "Files", "Graders", "Usage", "Keys"):
        page.get_by_role("navigation", name="Pages").get_by_role("link", name=place).click()
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        expect(page.get_by_role("alert")).to_have_count(0)
    page.goto(f"{walk.url}/finetune/{second}")
    page.locator("#cancel").click()
    page.get_by_role("dialog").get_by_role("button", name="Yes").click()
    expect(page.get_by_text("cancelled").first).to_be_visible()


def test_from_an_empty_server_to_a_tuned_model_that_is_taken_away(page: Page, tmp_path: Path) -> None:
    with platform_server(tmp_path / "home", environment={"OMP_NUM_THREADS": "1"}) as server:
        walk = Walk(page, server)
        wait_until_ready(walk.url)
        start(walk)
        watch(walk)
        read(walk)
        decide(walk, tmp_path)
        come_back(walk)
