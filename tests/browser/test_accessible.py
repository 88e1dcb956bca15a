"""axe, the checker of the W3C's accessibility guidelines, on every page, light and dark."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from browser.laboratory import Lab

AXE = (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")

PAGES = [
    "/finetune", "/finetune/new", "/finetune/{job}", "/finetune/{job}/rollouts", "/finetune/{job}/rollouts?view=run",
    "/finetune/{job}/rollouts/rollout_3_2", "/finetune/{job}/dataset", "/finetune/{job}/metrics",
    "/finetune/{job}/checkpoints", "/finetune/{job}/report", "/finetune/{job}/events", "/finetune/{job}/settings",
    "/finetune/{failed}", "/finetune/{failed}/events", "/finetune/{supervised}", "/finetune/{supervised}/report",
    "/compare?jobs={job},{supervised}", "/playground", "/files", "/models", "/evals", "/graders", "/keys", "/usage",
]  # fmt: skip
SERIOUS = {"serious", "critical"}


def problems(page: Page) -> list[str]:
    """What axe finds serious: the rule, what it says, and where."""
    page.evaluate(AXE)
    found: list[dict[str, Any]] = page.evaluate("() => axe.run(document, {resultTypes: ['violations']})")["violations"]
    return [
        f"{one['id']}: {one['help']}: {node['target']} {node['html'][:150]}"
        for one in found
        if one["impact"] in SERIOUS
        for node in one["nodes"][:3]
    ]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_no_serious_problem_on_any_page(lab_window: Page, lab: Lab, theme: str) -> None:
    lab_window.emulate_media(color_scheme=theme, reduced_motion="reduce")  # type: ignore[arg-type]
    root = lab_window.url.removesuffix("/finetune")
    found: dict[str, list[str]] = {}
    for path in PAGES if theme == "light" else PAGES[:5]:  # the same elements in other colours
        address = path.format(job=lab.reinforcement, failed=lab.failed, supervised=lab.supervised)
        lab_window.goto(root + address)
        expect(lab_window.locator("h1").first).to_be_visible()
        lab_window.wait_for_load_state("networkidle" if "metrics" not in path else "load")
        expect(lab_window.locator("main .busy")).to_have_count(0)
        if wrong := problems(lab_window):
            found[path] = wrong
    assert found == {}, "\n".join(f"{path}\n  " + "\n  ".join(one) for path, one in found.items())


def test_the_way_in_is_accessible_too(page: Page, lab_server: Any) -> None:
    page.goto(lab_server.base_url.removesuffix("/v1") + "/login")
    expect(page.locator("h1")).to_be_visible()
    assert problems(page) == []
    # And axe would have said so.
    page.evaluate("document.querySelector('main').append(document.createElement('img'))")
    assert any("image-alt" in one for one in problems(page))
