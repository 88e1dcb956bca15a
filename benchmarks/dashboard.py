"""The dashboard's budgets, in a real Chromium: bytes, the first chart, frames with twelve live charts, a very long job.

    python benchmarks/dashboard.py
    python benchmarks/dashboard.py --steps 1000 --rollouts 64 --json dashboard.json

Chromium and the server run on this machine, over loopback; every visit has an empty cache. A chart is there when its
``data-points`` says that it has drawn some. Frames are counted by the page itself while new steps are recorded.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dashboard_data import Filled, Shape, fill, metrics_of, served
from playwright.sync_api import Browser, Page, sync_playwright

from openrft.dashboard import Assets
from openrft.store import Store, open_store

BUDGETS = {
    "bytes gzipped, of the heaviest page": 130_000,
    "first chart, seconds": 1.0,
    "frames a second with 12 live charts": 60.0,
    "a long job's charts, seconds": 2.0,
    "a long job's rollouts, seconds": 2.0,
}
_EDITOR = "vendor/codemirror.js"
_PAGES = ("/finetune/new", "/playground", "/evals", "/graders", "/compare")
_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage"]
_ANY_CHART = "[data-points]:not([data-points='0'])"

_BYTES = """(editor) => performance.getEntriesByType("resource")
  .filter((one) => one.name.includes("/assets/") && !one.name.endsWith(editor))
  .reduce((sum, one) => sum + one.encodedBodySize, 0)"""

# Frames of so many milliseconds, and the longest time between two of them.
_FRAMES = """(milliseconds) => new Promise((done) => {
  const began = performance.now();
  let last = began, longest = 0, frames = 0;
  const long = [];
  const watch = new PerformanceObserver((list) => long.push(...list.getEntries().map((one) => one.duration)));
  watch.observe({ type: "longtask" });
  const next = (now) => {
    frames += 1;
    longest = Math.max(longest, now - last);
    last = now;
    if (now - began < milliseconds) return requestAnimationFrame(next);
    watch.disconnect();
    done({ frames: (1000 * frames) / (now - began), longest, tasks: long.length, task: Math.max(0, ...long) });
  };
  requestAnimationFrame(next);
})"""


def weigh() -> dict[str, Any]:
    """Bytes of all files as they are sent."""
    assets = Assets()
    files = {name: assets.get(name) for name in assets.names() if name.endswith((".js", ".css", ".svg"))}
    sizes = {name: len(asset.packed) for name, asset in files.items() if asset is not None}
    return {
        "bytes gzipped, of all pages": sum(sizes.values()) - sizes[_EDITOR],
        "bytes gzipped, of the editor": sizes[_EDITOR],
        "files": len(sizes),
    }


def weigh_pages(browser: Browser, url: str, key: str, job: str) -> dict[str, Any]:
    """Bytes of scripts and styles that a visit with an empty cache loads, the editor apart; of the heaviest page."""
    sizes = {}
    for path in ("/finetune", *(f"{job}{page}" for page in ("", "/rollouts", "/report", "/metrics")), *_PAGES):
        with visit(browser, url, key) as page:
            page.goto(url + path)
            page.wait_for_load_state("networkidle")
            sizes[path.replace(job, "/finetune/{id}")] = page.evaluate(_BYTES, _EDITOR)
    heaviest = max(sizes, key=lambda path: sizes[path])
    overview = sizes["/finetune/{id}"]
    return {
        "bytes gzipped, of a job's overview": overview,
        "bytes gzipped, of the heaviest page": sizes[heaviest],
        "the heaviest page": heaviest,
    }


@contextmanager
def visit(browser: Browser, url: str, key: str) -> Iterator[Page]:
    """A window with an empty cache that is logged in."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(120_000)
    answer = context.request.post(f"{url}/session", headers={"x-openrft": "1"}, data={"key": key})
    assert answer.ok, answer.text()
    yield context.new_page()
    context.close()


def open_seconds(browser: Browser, url: str, key: str, path: str, seen: str, rounds: int) -> list[float]:
    """Seconds from entering the address until there is what ``seen`` selects."""
    found = []
    for _ in range(rounds):
        with visit(browser, url, key) as page:
            began = time.perf_counter()
            page.goto(url + path, wait_until="commit")
            page.locator(seen).first.wait_for()
            found.append(time.perf_counter() - began)
    return found


def frames(browser: Browser, url: str, store: Store, filled: Filled, shape: Shape, seconds: float) -> dict[str, float]:
    """How smoothly the page scrolls and draws while ten steps a second are recorded."""
    is_over = threading.Event()

    def record() -> None:
        step = shape.steps
        while not is_over.wait(0.1):
            step += 1
            store.steps.record(filled.lease, step, metrics_of(shape, step), total_steps=10 * shape.steps)

    with visit(browser, url, filled.key) as page:
        page.goto(f"{url}/finetune/{filled.job_id}")
        page.locator(_ANY_CHART).first.wait_for()
        page.wait_for_timeout(1000)
        before = page.locator("[data-points]").first.get_attribute("data-points")
        writer = threading.Thread(target=record)
        writer.start()
        try:
            told: dict[str, float] = page.evaluate(_FRAMES, 1000 * seconds)
        finally:
            is_over.set()
            writer.join()
        charts = page.locator(_ANY_CHART).count()
        after = page.locator("[data-points]").first.get_attribute("data-points")
    assert before != after, "nothing came while frames were counted"
    return {
        "frames a second with 12 live charts": told["frames"],
        "longest time between two frames, ms": told["longest"],
        "tasks over 50 ms": told["tasks"],
        "longest task, ms": told["task"],
        "charts on the page": charts,
    }


def main() -> None:
    """Measure all, print beside the budgets."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--steps", type=int, default=10_000, help="of the long job")
    parser.add_argument("--rollouts", type=int, default=500, help="of a step of the long job")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=8.0, help="how long frames are counted")
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    asked = parser.parse_args()
    chromium = shutil.which("chromium")
    if chromium is None:
        parser.error("Chromium is not installed (on Debian: apt-get install chromium)")
    found = weigh()
    with tempfile.TemporaryDirectory(prefix="openrft-dashboard-") as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=_FLAGS)
        home = Path(folder)
        with (
            open_store(f"sqlite:///{home}/openrft.db", artifacts=home / "artifacts") as store,
            served(store, home) as url,
        ):
            short = Shape(steps=200, rollouts=32)
            live = fill(store, short, status="running")
            job = f"/finetune/{live.job_id}"
            seconds = open_seconds(browser, url, live.key, job, _ANY_CHART, asked.rounds)
            found |= weigh_pages(browser, url, live.key, job)
            found |= {"first chart, seconds": statistics.median(seconds), "first chart, worst": max(seconds)}
            found |= frames(browser, url, store, live, short, asked.seconds)
            shape = Shape(steps=asked.steps, rollouts=asked.rollouts)
            long = fill(store, shape)
            job = f"/finetune/{long.job_id}"
            for name, path, seen in (
                ("a long job's charts, seconds", job, _ANY_CHART),
                ("a long job's rollouts, seconds", f"{job}/rollouts", "[data-item]"),
                ("a long job's worst rollouts, seconds", f"{job}/rollouts?view=run&sort=worst", "[data-item]"),
            ):
                seconds = open_seconds(browser, url, long.key, path, seen, asked.rounds)
                found |= {name: statistics.median(seconds), name.replace(", seconds", ", worst"): max(seconds)}
            found |= {"steps of the long job": shape.steps, "rollouts of the long job": shape.steps * shape.rollouts}
        browser.close()
    for name, value in found.items():
        shown = value if isinstance(value, str) else f"{value:,}" if isinstance(value, int) else f"{value:,.3g}"
        print(f"{name:45s} {shown:>12s}" + (f"   budget {BUDGETS[name]:,g}" if name in BUDGETS else ""))
    if asked.json is not None:
        asked.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
