from pathlib import Path
from xml.etree import ElementTree

import pytest

from openrft.evaluation.curve import CurvePoint, debiased_ema, draw_curve, sparkline, terminal_curve
from openrft.evaluation.statistics import Interval

POINTS = [
    CurvePoint(step=0, valid_mean=0.2, valid_interval=Interval(0.1, 0.35)),
    *(CurvePoint(step=step, train_reward=0.2 + 0.03 * step) for step in range(1, 10)),
    CurvePoint(step=10, train_reward=0.5, valid_mean=0.5, valid_interval=Interval(0.4, 0.6), is_kept=True),
    CurvePoint(
        step=20, train_reward=0.8, valid_mean=0.8, valid_interval=Interval(0.7, 0.9), is_kept=True, is_chosen=True
    ),
]


def test_the_average_does_not_start_out_from_zero() -> None:
    # 1; (0.5·0.5·1 + 0.5·0) / 0.75; (0.125·1 + 0.25·0 + 0.5·1) / 0.875
    assert debiased_ema([1.0, 0.0, 1.0], 0.5) == pytest.approx([1.0, 1 / 3, 0.625 / 0.875])


def test_no_smoothing_leaves_values_as_they_are() -> None:
    assert debiased_ema([0.3, 0.9], 0.0) == [0.3, 0.9]


@pytest.mark.parametrize("ending", ["svg", "png"])
def test_equal_points_give_equal_files(tmp_path: Path, ending: str) -> None:
    first, second = tmp_path / f"a.{ending}", tmp_path / f"b.{ending}"
    draw_curve(POINTS, first, title="job")
    draw_curve(POINTS, second, title="job")
    assert first.read_bytes() == second.read_bytes()
    assert len(first.read_bytes()) > 5_000


def test_the_svg_has_neither_date_nor_other_trace_of_when_it_was_made(tmp_path: Path) -> None:
    draw_curve(POINTS, tmp_path / "curve.svg")
    assert "<dc:date>" not in (tmp_path / "curve.svg").read_text(encoding="utf-8")


def test_the_callers_matplotlib_settings_are_left_alone_and_do_not_matter(tmp_path: Path) -> None:
    import matplotlib

    draw_curve(POINTS, tmp_path / "a.svg")
    with matplotlib.rc_context({"lines.linewidth": 9.0, "font.size": 30.0}):
        draw_curve(POINTS, tmp_path / "b.svg")
        assert matplotlib.rcParams["lines.linewidth"] == 9.0
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


@pytest.mark.parametrize("title", ["$x_", "日本 -->\x1b[31m", "\ud800", "a\x00b"])
def test_any_title_gives_a_well_formed_picture(tmp_path: Path, title: str) -> None:
    draw_curve(POINTS, tmp_path / "curve.svg", title=title)
    ElementTree.parse(tmp_path / "curve.svg")


@pytest.mark.parametrize(
    "points",
    [
        [],
        POINTS[:1],
        [CurvePoint(step=3, train_reward=0.5)],
        [CurvePoint(step=0, train_reward=-3.0, valid_mean=12.0)],
        [CurvePoint(step=0, train_reward=7.0)],
    ],
)
def test_few_points_and_other_ranges_are_drawn_too(tmp_path: Path, points: list[CurvePoint]) -> None:
    draw_curve(points, tmp_path / "curve.png")
    assert (tmp_path / "curve.png").stat().st_size > 1_000
    assert terminal_curve(points)


def test_an_unknown_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\.svg or \.png"):
        draw_curve(POINTS, tmp_path / "curve.jpg")


def test_a_sparkline_goes_from_the_lowest_to_the_highest_value() -> None:
    assert sparkline([0.0, 0.5, 1.0]) == "▁▅█"
    assert sparkline([0.3, 0.3]) == "▄▄"
    assert sparkline([]) == ""
    assert len(sparkline([float(i) for i in range(1_000)], width=20)) == 20


def test_the_terminal_curve_has_axes_dots_the_base_line_and_the_chosen_checkpoint() -> None:
    text = terminal_curve(POINTS, width=40, height=13)
    lines = text.splitlines()
    assert len(lines) == 13
    assert max(map(len, lines)) <= 40
    assert lines[0].startswith(" 1.00 ┤")
    assert lines[5].startswith(" 0.50 ┤")
    assert lines[10].startswith(" 0.00 ┤")
    assert lines[-1].split() == ["0", "step", "20"]
    assert (text.count("●"), text.count("★")) == (2, 1)
    assert "╌╌╌" in lines[8]  # 0.2 of the way up


def test_a_small_terminal_curve_is_drawn_to_scale() -> None:
    points = [
        CurvePoint(step=0, valid_mean=0.0),
        CurvePoint(step=1, train_reward=0.0),
        CurvePoint(step=2, valid_mean=1.0, is_chosen=True),
    ]
    lines = terminal_curve(points, width=24, height=7).splitlines()
    assert lines == [
        " 1.00 ┤                ★",
        "      ┤",
        " 0.50 ┤",
        "      ┤",
        " 0.00 ┤●╌╌╌╌╌╌╌⡀╌╌╌╌╌╌╌╌",
        "      └─────────────────",
        "       0     step      2",
    ]


@pytest.mark.parametrize(("width", "height"), [(1, 1), (24, 5), (76, 10), (200, 60)])
def test_the_terminal_curve_keeps_to_its_size(width: int, height: int) -> None:
    lines = terminal_curve(POINTS, width=width, height=height).splitlines()
    assert len(lines) <= max(5, height)
    assert max(map(len, lines)) <= max(24, width)
