from collections.abc import Callable
from io import StringIO

from rich.console import Console

from openrft.evaluation.evaluation import Evaluation
from openrft.evaluation.render import to_markdown, to_terminal
from openrft.evaluation.report import Report, build_report
from openrft.evaluation.selection import SelectionFacts
from openrft.evaluation.untrusted import markdown_text

MakeReport = Callable[..., Report]

SELECTION = SelectionFacts(chosen_step=40, candidate_steps=[20, 40], window=3, expected_optimism=0.012)
HOSTILE = "\x1b]0;owned\x07[bold red]x[/] </pre><img src=x onerror=alert(1)>\n```\n````\n# fake heading"


def terminal(report: Report, width: int = 120) -> str:
    console = Console(file=StringIO(), width=width, force_terminal=True, color_system=None)
    console.print(to_terminal(report))
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def hostile_report(make_evaluation: Callable[..., Evaluation]) -> Report:
    return build_report(
        job={"suffix": HOSTILE},
        base_sampled=make_evaluation([[1.0]], output=HOSTILE),
        tuned_sampled=make_evaluation([[0.0]], name=HOSTILE, output=HOSTILE),
    )


GOLDEN = """\
# Did the model get better?

**no significant gain: -0.12 [-0.78, 0.53] in mean score (0.75 → 0.62), paired on 4 examples × 2 samples.**

![Learning curve](my%20curve.svg)

## Base against tuned

| metric | base | tuned | difference (paired) | p | better / same / worse |
| --- | ---: | ---: | ---: | ---: | ---: |
| mean score, sampled | 0.75 [0.30, 0.95] | 0.62 [0.22, 0.91] | -0.12 [-0.78, 0.53] | 1.000 | 0 / 3 / 1 |
"""


def test_markdown_begins_with_the_verdict_the_curve_and_the_table(make_report: MakeReport) -> None:
    report = make_report([[1.0, 1.0]] * 3 + [[0.0, 0.0]], [[1.0, 1.0]] * 2 + [[1.0, 0.0], [0.0, 0.0]])
    assert to_markdown(report, curve_path="my curve.svg").startswith(GOLDEN)


def test_markdown_is_complete(make_report: MakeReport) -> None:
    report = make_report(
        [[1.0, 1.0]] * 3 + [[0.0, None]],
        [[0.0, 0.0]] + [[1.0, 1.0]] * 3,
        greedy=([[1.0]] * 4, [[1.0]] * 4),
        selection=SELECTION,
        rows_kind="validation",
    )
    text = to_markdown(report)
    for part in (
        "| pass rate, greedy |",
        "| base | sampled | 4 | 2 | 1 of 8 | 10.5 | 0.0% |",
        "| step 40 | greedy | 4 | 1 | 0 of 4 | 10.0 | 0.0% |",
        "- checkpoint that ships: step 40",
        "- checkpoints it was chosen from: steps 20, 40",
        "made with: 0.012",
        "- grader: exact",
        "- seed: 7",
        "- minutes: 1.5",
        "## Rows that got worse: 1 of 4, 1 shown, worst first",
        "Prompt:\n\n```text\nquestion 0\n```",
        "Base (scores 1, 1):\n\n```text\nbase 0.0\n```",
        "Tuned (scores 0, 0):\n\n```text\nstep 40 0.0\n```",
    ):
        assert part in text, part
    assert "![" not in text
    assert all(f"- {markdown_text(note)}\n" in text for note in report.notes)


def test_model_output_cannot_leave_its_block_in_markdown(make_evaluation: Callable[..., Evaluation]) -> None:
    text = to_markdown(hostile_report(make_evaluation))
    assert "\x1b" not in text and "\x07" not in text
    assert text.count("`````text\n\\x1b]0;owned") == 2
    outside, inside = [], False
    for line in text.splitlines():
        if line.startswith("`````"):
            inside = not inside
        elif not inside:
            outside.append(line)
    assert not inside
    assert not any(line.startswith("# fake") for line in outside)
    assert not any("<img" in line.replace("\\<img", "") for line in outside)


def test_the_terminal_shows_verdict_table_notes_and_worst_rows(make_report: MakeReport) -> None:
    text = terminal(make_report([[1.0, 1.0]] * 4, [[0.0, 0.0]] + [[1.0, 1.0]] * 3))
    assert text.startswith("no significant gain: -0.25 [")
    assert "mean score, sampled" in text
    assert "Rows: 0 better, 3 the same, 1 worse (sign-flip test p = 1.000)." in text
    assert "• These rows were untouched" in text
    assert "line 1: 1.00 → 0.00 (-1.00)" in text
    assert "prompt  question 0" in text and " tuned  step 40 0.0" in text


def test_model_output_cannot_steer_the_terminal(make_evaluation: Callable[..., Evaluation]) -> None:
    text = terminal(hostile_report(make_evaluation))
    assert "\x1b" not in text and "\x07" not in text
    assert "\\x1b]0;owned\\x07[bold red]x[/]" in text


def test_nothing_measured_still_renders(make_report: MakeReport) -> None:
    report = make_report([[None]], [[None]])
    assert "not measured" in terminal(report)
    assert "| mean score, sampled | – | – | – | – | – |" in to_markdown(report)


def test_no_worse_row_is_said(make_report: MakeReport) -> None:
    assert "## Rows that got worse: none\n" in to_markdown(make_report([[0.0]] * 3, [[1.0]] * 3))


def test_a_narrow_terminal_loses_no_number(make_report: MakeReport) -> None:
    text = terminal(make_report([[1.0, 1.0]] * 4, [[0.0, 0.0]] * 4), width=80)
    assert "-1.00 [-1.00, -0.44]" in text
