"""Charts: read with the mouse, with the keyboard alone, as a table and as files; and the numbers behind them."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from browser.laboratory import Lab
from platform_server import PlatformServer


@pytest.fixture
def job_page(lab_window: Page, lab: Lab, lab_server: PlatformServer) -> Page:
    """The page of a job of eight steps, its charts drawn."""
    lab_window.goto(f"{lab_server.base_url.removesuffix('/v1')}/finetune/{lab.reinforcement}")
    expect(reward(lab_window).locator("canvas")).to_be_visible()
    return lab_window


def reward(page: Page) -> Locator:
    return page.get_by_role("figure", name="Reward", exact=True)


def evaluate(page: Page, module: str, expression: str) -> Any:
    """``expression`` of what one of the dashboard's own modules exports, ``m``."""
    root = page.locator("script[src*='/app.js']").get_attribute("src")
    assert root is not None
    return page.evaluate(
        f"async () => {{ const m = await import('{root.removesuffix('app.js')}{module}'); return {expression}; }}"
    )


def test_numbers_are_written_short_and_never_as_another_number(job_page: Page) -> None:
    numbers = {"0": "0", "7": "7", "1230.4": "1,230", "1000.5": "1,001", "12345.6": "12,346", "999.96": "1,000",
               "123.45": "123.5", "120.04": "120", "-1230.4": "−1,230", "0.5": "0.5", "0.0012346": "0.001235",
               "100000": "1.00e5", "0.00012": "1.20e-4"}  # fmt: skip
    shares = {"0": "0.0 %", "0.042": "4.2 %", "0.0999": "10 %", "0.5": "50 %", "0.984": "98 %", "0.996": "99.6 %",
              "0.99999": "99.9 %", "1": "100 %", "1.2": "120 %", "-0.042": "−4.2 %"}  # fmt: skip
    for name, cases in (("number", numbers), ("percent", shares)):
        written = evaluate(job_page, "core/format.js", f"[{','.join(cases)}].map(m.{name})")
        assert dict(zip(cases, written, strict=True)) == cases


def test_an_answer_is_never_shown_for_another_question(job_page: Page) -> None:
    seen = evaluate(
        job_page,
        "core/load.js",
        """await (async () => {
            const { h, render } = await import("preact");
            const seen = [];
            const Show = ({ asked, told }) => {
                const { data } = m.useLoad(async () => asked, [asked]);
                seen.push([asked, data]);
                if (data === asked) told();
            };
            const box = document.createElement("div");
            for (const asked of [1, 2, 3]) await new Promise((told) => render(h(Show, { asked, told }), box));
            return seen;
        })()""",
    )
    assert [3, 3] in seen
    assert [(asked, data) for asked, data in seen if data not in (None, asked)] == []


def test_the_keyboard_reads_step_by_step_and_opens_the_rollouts_of_one(job_page: Page) -> None:
    plot = reward(job_page).get_by_role("img")
    expect(plot).to_have_attribute(
        "aria-label", re.compile(r"Reward\. Train 0\.\d{3} at step 8; Validation 0\.\d{3} at step 8")
    )
    plot.focus()
    said = reward(job_page).locator("[aria-live]")
    job_page.keyboard.press("End")
    expect(said).to_contain_text("step 8: Train 0.")
    job_page.keyboard.press("ArrowLeft")
    expect(said).to_contain_text("step 7: Train 0.")
    expect(said).not_to_contain_text("Validation")
    expect(job_page.get_by_role("figure", name="Entropy").locator(".legend-step").first).to_contain_text("step 7")
    job_page.keyboard.press("Home")
    expect(said).to_contain_text("step 0: Validation 0.")
    job_page.keyboard.press("ArrowRight")
    job_page.keyboard.press("ArrowRight")
    job_page.keyboard.press("Enter")
    expect(job_page).to_have_url(re.compile(r"/rollouts\?step=2$"))


def test_a_click_on_a_point_opens_the_rollouts_of_its_step(job_page: Page) -> None:
    plot = reward(job_page).locator(".u-over")
    box = plot.bounding_box()
    assert box is not None
    plot.click(position={"x": box["width"] * 5 / 8, "y": 30})
    expect(job_page).to_have_url(re.compile(r"/rollouts\?step=5$"))
    expect(
        job_page.get_by_role("navigation", name="Pages of this job").get_by_role("link", name="Rollouts")
    ).to_have_attribute("aria-current", "page")


def test_a_drag_zooms_and_opens_nothing(job_page: Page) -> None:
    plot = reward(job_page).locator(".u-over")
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    assert box is not None
    job_page.mouse.move(box["x"] + 40, box["y"] + 40)
    job_page.mouse.down()
    job_page.mouse.move(box["x"] + 140, box["y"] + 40, steps=4)
    job_page.mouse.up()
    expect(reward(job_page).locator("canvas")).to_be_visible()
    expect(job_page).to_have_url(re.compile(r"/finetune/[^/]+$"))


def test_the_table_is_the_chart_and_its_state_is_in_the_address(job_page: Page) -> None:
    figure = reward(job_page)
    figure.get_by_role("button", name="Table").click()
    expect(figure.get_by_role("columnheader", name="Validation, low")).to_be_visible()
    expect(figure.locator("tbody tr")).to_have_count(9)
    expect(job_page).to_have_url(re.compile("table=chart-reward"))
    job_page.reload()
    expect(figure.locator("tbody tr")).to_have_count(9)
    figure.get_by_role("button", name="3", exact=True).click()
    expect(job_page).to_have_url(re.compile(r"/rollouts\?step=3$"))


def test_a_chart_is_downloaded_as_numbers_and_as_a_picture(
    job_page: Page, lab: Lab, lab_server: PlatformServer, tmp_path: Path
) -> None:
    with job_page.expect_download() as numbers:
        job_page.get_by_role("button", name="Reward as CSV").click()
    assert numbers.value.suggested_filename == f"{lab.reinforcement}-reward.csv"
    numbers.value.save_as(tmp_path / "reward.csv")
    rows = list(csv.DictReader((tmp_path / "reward.csv").read_text().splitlines()))
    path = f"{lab_server.base_url}/fine_tuning/jobs/{lab.reinforcement}/metrics?names=reward/mean"
    known = job_page.request.get(path).json()["series"]["reward/mean"]
    assert [float(row["Train"]) for row in rows if row["Train"]] == known["values"]
    assert [int(row["step"]) for row in rows] == [0, *known["steps"]]
    with job_page.expect_download() as picture:
        job_page.get_by_role("button", name="Reward as PNG").click()
    picture.value.save_as(tmp_path / "reward.png")
    content = (tmp_path / "reward.png").read_bytes()
    assert content.startswith(b"\x89PNG") and len(content) > 5_000


def test_smoothing_is_shared_by_all_charts_and_remembered(job_page: Page) -> None:
    slider = job_page.get_by_label("Smoothing")
    expect(slider).to_have_value("0.6")
    slider.fill("0.9")
    expect(job_page).to_have_url(re.compile("smooth=0.9"))
    job_page.get_by_label("Log scale").check()
    expect(job_page).to_have_url(re.compile("scale=log"))
    job_page.goto(job_page.url.split("?")[0] + "/metrics")
    expect(slider).to_have_value("0.9")
    expect(job_page.get_by_label("Log scale")).to_be_checked()


def test_a_series_is_hidden_by_its_name_in_the_legend(job_page: Page) -> None:
    name = reward(job_page).get_by_role("button", name=re.compile("^Train"))
    expect(name).to_have_attribute("aria-pressed", "true")
    name.click()
    expect(name).to_have_attribute("aria-pressed", "false")
    expect(reward(job_page)).to_have_attribute("data-points", "8")


def test_charts_are_drawn_in_the_colours_of_the_theme(job_page: Page) -> None:
    paint = """(box) => {
      const canvas = box.querySelector("canvas");
      const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
      return pixels.reduce((sum, one) => sum + one, 0);
    }"""
    light = reward(job_page).evaluate(paint)
    job_page.get_by_role("button", name=re.compile("^Theme: system")).click()
    job_page.get_by_role("button", name=re.compile("^Theme: light")).click()
    expect(job_page.get_by_role("button", name=re.compile("^Theme: dark"))).to_be_visible()
    expect(reward(job_page).locator("canvas")).to_be_visible()
    assert reward(job_page).evaluate(paint) != light


def test_the_moving_average_has_no_bias_towards_its_start_and_keeps_gaps(job_page: Page) -> None:
    # By hand, with weight 0.5: 4; (0.25*4 + 0.5*1)/0.75 = 2; (0.125*4 + 0.25*1 + 0.5*2)/0.875 = 2.
    smooth = evaluate(job_page, "parts/chart_data.js", "m.smoothed([4, null, 1, 2], 0.5)")
    assert smooth == [pytest.approx(4.0), None, pytest.approx(2.0), pytest.approx(2.0)]
    assert evaluate(job_page, "parts/chart_data.js", "m.smoothed([4, 1], 0)") == [4, 1]
    constant = evaluate(job_page, "parts/chart_data.js", "m.smoothed([3, 3, 3], 0.99)")
    assert constant == [pytest.approx(3.0)] * 3


def test_outliers_are_left_out_of_the_limits_and_counted(job_page: Page) -> None:
    values = "Array.from({length: 200}, (_, n) => n % 10).concat([1e6])"
    cut = evaluate(job_page, "parts/chart_data.js", f"m.limits([{values}], [], true)")
    assert cut == {"low": 0, "high": 9, "outside": 1}
    assert evaluate(job_page, "parts/chart_data.js", f"m.limits([{values}], [], false)")["high"] == 1e6
    # What is always shown, as validation and the baseline are, is inside all the same.
    assert evaluate(job_page, "parts/chart_data.js", f"m.limits([{values}], [[-3, 20]], true)") == {
        "low": -3,
        "high": 20,
        "outside": 1,
    }
    assert evaluate(job_page, "parts/chart_data.js", "m.limits([[]], [], true)") == {"low": 0, "high": 1, "outside": 0}


def test_series_of_different_steps_are_put_side_by_side(job_page: Page) -> None:
    both = "m.aligned([{steps: [0, 2, 3], values: [1, null, 3]}, {steps: [1, 2], values: [5, 6]}])"
    named = """({steps, columns}) =>
      [steps, ...columns.map((column) => [...column].map((one) => one === undefined ? "none" : one))]"""
    found = evaluate(job_page, "parts/chart_data.js", f"({named})({both})")
    assert found == [[0, 1, 2, 3], [1, "none", None, 3], ["none", 5, 6, "none"]]
    assert evaluate(job_page, "parts/chart_data.js", "m.stackedUp([[1, 2], [3, null], [1, 1]])") == [
        [1, 2],
        [4, 2],
        [5, 3],
    ]


def test_a_hundred_thousand_points_are_one_chart_and_grow_by_one(job_page: Page) -> None:
    model = """(() => {
      const steps = Array.from({length: 100_000}, (_, n) => n), values = steps.map((n) => Math.sin(n / 500));
      const settings = {weight: 0.6, isRobust: true, isLog: false};
      const of = (s, v) => m.modelOf([{name: "a", label: "a", steps: s, values: v}], new Set(), {}, settings);
      const one = of(steps, values), more = of([...steps, 100_000], [...values, 2]);
      return [one.columns.map((c) => [c.role, c.values.length]), more.steps.length, one.form === more.form];
    })()"""
    assert evaluate(job_page, "parts/chart_model.js", model) == [[["raw", 100_000], ["mean", 100_000]], 100_001, True]
