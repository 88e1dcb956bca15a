import pytest

from openrft.rollout.stops import StopWatch, cut_at_stop
from random_models import byte_tokenizer


@pytest.mark.parametrize(
    ("text", "stops", "cut"),
    [
        ("yes. no", [". "], "yes"),
        ("a;b,c", [",", ";"], "a"),  # the first in the text, not in the list
        ("stop", ["stop"], ""),
        ("sto", ["stop"], None),
    ],
)
def test_a_text_ends_before_its_first_stop_string(text: str, stops: list[str], cut: str | None) -> None:
    assert cut_at_stop(text, stops) == cut


def follow(text: str, stops: list[str]) -> tuple[int, str | None]:
    """How many of the text's tokens were read, and the cut."""
    tokenizer = byte_tokenizer()
    watch = StopWatch(stops, tokenizer)
    token_ids = tokenizer.encode(text, add_special_tokens=False)
    for number, token_id in enumerate(token_ids, start=1):
        cut = watch.push(token_id)
        if cut is not None:
            return number, cut
    return len(token_ids), None


def test_a_stop_string_over_several_tokens_is_seen_at_its_last_token() -> None:
    assert follow("one two END three", ["END"]) == (11, "one two ")


def test_a_character_of_several_tokens_counts_when_it_is_complete() -> None:
    assert follow("ab→cd", ["→"]) == (5, "ab")


def test_a_long_text_without_a_match_goes_on() -> None:
    assert follow("EN D" * 50, ["END"]) == (200, None)


def test_special_tokens_inside_a_stop_string_do_not_hide_it() -> None:
    tokenizer = byte_tokenizer()
    watch = StopWatch(["END"], tokenizer)
    cuts = [watch.push(token_id) for token_id in tokenizer.encode("xEN<s></s><s>D")]
    assert cuts == [None, None, None, None, None, None, "x"]
