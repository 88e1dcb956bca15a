"""The report as one HTML file: its order, that nothing in it can act, and that it is whole and well-formed."""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from html_record import HOSTILE, graded_record, loss_record
from openrft.evaluation.html_report import POLICY, Record, to_html
from openrft.evaluation.untrusted import html_text

OURS = set(
    "html head meta title style body main header section article footer nav div p ul ol li dl dt dd h1 h2 h3 h4 a pre "
    "code table caption thead tbody tr th td figure figcaption details summary i span svg text line circle polyline "
    "polygon path".split()
)
MAKERS = [graded_record, loss_record]


class Page(HTMLParser):
    """The elements of a page in their order, those of shown escapes apart; fails where one is not closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.opened: list[str] = []
        self.feed(text)
        self.close()
        assert not self.opened

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag != "meta":
            self.opened.append(tag)
        if tag != "span":
            self.elements.append((tag, dict(attrs)))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.opened.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    @property
    def tags(self) -> list[str]:
        return [tag for tag, _ in self.elements]

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for one, attributes in self.elements if one == tag]


@functools.cache
def tags_of(make: Callable[[], Record]) -> list[str]:
    return Page(to_html(make())).tags


@pytest.mark.parametrize("make", MAKERS)
@settings(max_examples=40, deadline=None)
@given(text=st.text(min_size=1, max_size=60))
@example(text="\n")
@example(text=HOSTILE)
def test_whatever_is_written_somewhere_the_page_has_the_same_elements(make: Callable[[str], Record], text: str) -> None:
    page = Page(to_html(make(text)))
    assert page.tags == tags_of(make)
    assert set(page.tags) <= OURS


@pytest.mark.parametrize("make", MAKERS)
def test_hostile_text_is_shown_and_does_nothing(make: Callable[[str], Record]) -> None:
    text = to_html(make(HOSTILE))
    page = Page(text)
    assert set(page.tags) <= OURS
    for attributes in (attributes for _, attributes in page.elements):
        assert not any(name.startswith("on") or name in ("src", "style") for name in attributes)
    assert all((attributes["href"] or "").startswith("#") for attributes in page.of("a"))
    assert not set(text) & set("\x1b\x00\r\u202e\u2066\ud800\ufeff")
    text.encode()
    shown = "".join(page.text)
    for part in ("<script>document.title = 'owned'</script>", "&lt;b&gt;", "⟨U+001B⟩[2J⟨U+0000⟩", "⟨U+202E⟩gnp.exe"):
        assert part in shown, part


@given(text=st.text())
def test_text_in_html_reads_back_as_itself_with_escapes_for_what_cannot_be_seen(text: str) -> None:
    page = Page(html_text(text))
    assert page.elements == []
    kept = re.sub("⟨U\\+([0-9A-F]{4,6})⟩", lambda escape: chr(int(escape[1], 16)), "".join(page.text))
    assert kept == re.sub("⟨U\\+([0-9A-F]{4,6})⟩", lambda escape: chr(int(escape[1], 16)), text)


@pytest.mark.parametrize(
    "character", ["\u202a", "\u202e", "\u2066", "\u2069", "\u200b", "\x00", "\x9b", "\ufdd0", "\r"]
)
def test_a_character_that_acts_unseen_is_an_escape_apart_from_the_text(character: str) -> None:
    assert html_text(f"a{character}b") == f'a<span class="hidden">⟨U+{ord(character):04X}⟩</span>b'
    assert html_text("⟨U+202E⟩") == "⟨U+202E⟩"


def test_a_line_of_a_megabyte_is_cut_and_its_length_told() -> None:
    text = to_html(graded_record("<&>\x00" * 250_000))
    assert len(text.encode()) < 4_000_000
    assert "[cut here: 1,000,000 characters in all]" in text


def test_the_parts_come_in_the_order_of_deciding() -> None:
    header, _, rest = to_html(graded_record()).partition("</header>")
    assert "<h1>tiny: plain</h1>" in header and "<dd>2023-11-14 22:13 UTC</dd>" in header
    order = (
        "<h2>Better</h2>", ">Base against tuned<",
        ">mean score, sampled<", ">By kind of row (exploratory)<", ">Learning curve<", ">Scores by grader<",
        ">Learning signal: groups of one prompt<", ">Length of answers<", ">Cut off at the limit<",
        ">What was noticed<", "What to do: plain.", "Rows that got worse: 2 of 12, 2 shown",
        "Rows that got better: 10 of 12, 5 shown",
        ">What it sampled in training<", "Step 1: 4 of 6 rollouts", "Step 2: 4 of 6 rollouts", ">Hyperparameters<",
        ">What was rewarded<", ">Seeds, versions, files<", ">How to do it again<", "openrft run job.json",
    )  # fmt: skip
    places = [rest.find(part) for part in order]
    assert -1 not in places, [part for part, place in zip(order, places, strict=True) if place < 0]
    assert places == sorted(places)


def test_the_report_of_losses_has_losses_instead() -> None:
    text = to_html(loss_record())
    for part in ("loss per token", "training loss", "Tokens that were the likeliest", "Rows that got worse: 1 of 4"):
        assert part in text, part
    assert "reward" not in re.sub(r"<style>.*?</style>", "", text, flags=re.DOTALL)


def test_rows_that_got_worse_are_side_by_side_with_the_worst_first() -> None:
    text = to_html(graded_record())
    worst, second = re.findall(r"<h3>(line \d+: [^<]*\(-[^<]*\))</h3>", text)
    assert (worst, second) == ("line 12: 1.00 → 0.00 (-1.00)", "line 11: 1.00 → 0.50 (-0.50)")
    row = text[text.index(worst) : text.index(second)]
    assert "<h4>base, scores 1</h4>" in row and "<h4>tuned, scores 0</h4>" in row


def test_what_is_passed_on_has_no_passwords_and_no_folders() -> None:
    text = to_html(graded_record())
    assert "hunter2" not in text
    assert "/data/somebody" not in text
    assert "&quot;X-Key&quot;: &quot;**********&quot;" in text
    assert "put in your own" in text
    assert "https://grader.example/grade?**********" in text


@pytest.mark.parametrize("make", MAKERS)
def test_the_page_is_well_formed_and_can_be_read_aloud(make: Callable[[], Record]) -> None:
    text = to_html(make())
    page = Page(text)
    assert text.startswith("<!DOCTYPE html>\n")
    assert page.of("html") == [{"lang": "en"}]
    assert page.of("meta")[0] == {"charset": "utf-8"}
    assert {"http-equiv": "Content-Security-Policy", "content": POLICY} in page.of("meta")
    assert page.tags.count("h1") == page.tags.count("main") == 1
    levels = [int(tag[1]) for tag in page.tags if re.fullmatch("h[1-6]", tag)]
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    assert all(heading.get("scope") in ("col", "row") for heading in page.of("th"))
    assert all(picture.get("role") == "img" and picture.get("aria-label") for picture in page.of("svg"))
    anchors = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(anchors) == len(set(anchors))
    links = [attributes["href"] for attributes in page.of("a")]
    assert links and {f"#{anchor}" for anchor in anchors} >= set(links)
    assert len(text.encode()) < 200_000


def test_a_report_alone_is_a_page_too() -> None:
    text = to_html(Record(report=graded_record().report))
    assert "Base against tuned" in text and "Hyperparameters" not in text and "What it sampled" not in text


def test_a_long_job_stays_below_a_megabyte() -> None:
    record = graded_record("a text of usual length, a hundred times " * 100)
    [step] = [step for step in record.steps if step["step"] == 1]
    long = replace(record, steps=[{**step, "step": number} for number in range(10_000)])
    assert len(to_html(long).encode()) < 1_000_000
