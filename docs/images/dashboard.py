"""Makes the screenshots of the README and docs/dashboard.md, light and dark, from a real run: scripts/screenshots

Trains examples/rare_disease_genes on a server of its own (a minute on two cores), then visits its pages with Chromium.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import openai
from playwright.sync_api import Page, sync_playwright

from openrft.api.session import login_link

HERE = Path(__file__).parent
EXAMPLE = HERE.parents[1] / "examples/rare_disease_genes"
SIZE = {"width": 1360, "height": 900}


def main() -> None:
    """Train, then visit."""
    with tempfile.TemporaryDirectory(prefix="openrft-screenshots-") as folder:
        command = [sys.executable, "-m", "openrft", "serve", "--home", folder, "--port", "0", "--json"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
            try:
                assert process.stdout is not None
                facts = json.loads(process.stdout.readline())
                key = Path(facts["api_key_file"]).read_text(encoding="utf-8").strip()
                job = train(facts["base_url"], key)
                shoot(facts["dashboard"], key, job)
            finally:
                process.terminate()


def train(base_url: str, key: str) -> str:
    """The id of a job that has succeeded."""
    with openai.OpenAI(base_url=base_url, api_key=key) as client:

        def upload(name: str) -> str:
            return client.files.create(file=EXAMPLE / f"{name}.jsonl", purpose="fine-tune").id

        asked = json.loads((EXAMPLE / "job.json").read_text(encoding="utf-8"))
        method = asked["method"]
        grader = method["reinforcement"]["grader"]
        if isinstance(grader, str):
            method["reinforcement"]["grader"] = json.loads((EXAMPLE / grader).read_text(encoding="utf-8"))
        method["reinforcement"].setdefault("hyperparameters", {})["test_file"] = upload("test")
        job = client.fine_tuning.jobs.create(
            model=asked["model"],
            training_file=upload("train"),
            validation_file=upload("valid"),
            suffix="genes",
            seed=0,
            method=method,
        )
        while (found := client.fine_tuning.jobs.retrieve(job.id)).status not in ("succeeded", "failed", "cancelled"):
            time.sleep(1)
        assert found.status == "succeeded", found.error
        return job.id


def shoot(url: str, key: str, job: str) -> None:
    """Every view in both themes."""
    chromium = shutil.which("chromium")
    assert chromium is not None, "install Chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        themes: tuple[Literal["light", "dark"], ...] = ("light", "dark")
        for theme in themes:
            context = browser.new_context(viewport=SIZE, color_scheme=theme, reduced_motion="reduce")
            page = context.new_page()
            page.goto(login_link(url, key))
            page.wait_for_url(re.compile("/finetune$"))
            for name, (path, prepare) in VIEWS.items():
                page.goto(url + path.format(job=job))
                page.wait_for_load_state("networkidle")
                prepare(page)
                page.screenshot(path=HERE / f"dashboard-{name}-{theme}.png")
            context.close()
        browser.close()


def as_it_is(page: Page) -> None:
    """Give charts a moment to draw."""
    page.wait_for_timeout(800)


VIEWS: dict[str, tuple[str, Callable[[Page], None]]] = {
    "overview": ("/finetune/{job}", as_it_is),
    "rollouts": ("/finetune/{job}/rollouts?step=5", as_it_is),
    "report": ("/finetune/{job}/report", as_it_is),
    "create": ("/finetune/new?from={job}", as_it_is),
}


if __name__ == "__main__":
    main()
