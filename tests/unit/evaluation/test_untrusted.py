import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openrft.evaluation.untrusted import fenced, markdown_text, shorten, show_controls


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J", "\\x1b[2J"),
        ("a\rb\x07", "a\\x0db\\x07"),
        ("\x9b31m", "\\x9b31m"),
        ("pay\u202eeno", "pay\\u202eeno"),
        ("\ud800", "\\ud800"),
        ("\U000e0041", "\\U000e0041"),
        ("two\nlines\tand ünïcode 日本", "two\nlines\tand ünïcode 日本"),
    ],
)
def test_characters_that_would_act_are_shown_as_escapes(text: str, shown: str) -> None:
    assert show_controls(text) == shown


@given(st.text())
def test_no_text_leaves_its_fence(text: str) -> None:
    block = fenced(text)
    lines = block.split("\n")
    fence = lines[-1]
    assert lines[0] == fence + "text"
    # CommonMark ends a block at a run of backticks at least as long as the one that opened it.
    assert all(len(run) < len(fence) for line in lines[1:-1] for run in re.findall("`+", line))


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("<script>|a|*b*", r"\<script\>\|a\|\*b\*"),
        ("see [c](https://d) or www.e.f", r"see [c\](https\://d) or www\.e.f"),
        ("[c]: //d", r"\[c\]: //d"),
        ("[ ] done", r"\[ ] done"),
        ("two\n\n# lines", "two # lines"),
        ("    # heading", r"\# heading"),
        ("---", r"\---"),
        ("-1.5", "-1.5"),
        ("1. item", r"1\. item"),
        ("- item", r"\- item"),
        ("_a_ b_c", r"\_a\_ b_c"),
        ("&lt; @you $x$ ~~y~~ :fire:", r"\&lt; \@you \$x\$ \~\~y\~\~ \:fire:"),
        ("ends in ]", r"ends in \]"),
    ],
)
def test_markup_html_and_links_read_as_text(text: str, escaped: str) -> None:
    assert markdown_text(text) == escaped


def test_plain_sentences_stay_readable_in_the_file_itself() -> None:
    sentence = "better: +0.62 [0.55, 0.68] in mean score (0.21 → 0.83), paired on 48 examples × 4 samples."
    assert markdown_text(sentence) == sentence


def test_a_cut_text_says_how_much_is_missing() -> None:
    assert shorten("abcdef", 4) == "abcd… (2 more characters)"
    assert shorten("abcd", 4) == "abcd"
