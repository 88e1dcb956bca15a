from __future__ import annotations

import itertools
import json
from collections import Counter

import pytest

from openrft.training.prompt_order import LONGEST_WAIT, Adaptive, Epochs, build_order


def taught(numbers: list[int], silent: set[int]) -> dict[int, bool]:
    return {number: number not in silent for number in numbers}


def visits(order: Adaptive, num_steps: int, silent: set[int]) -> Counter[int]:
    seen: Counter[int] = Counter()
    for step in range(num_steps):
        numbers = order.numbers(step)
        seen.update(numbers)
        order.saw(taught(numbers, silent))
    return seen


@pytest.mark.parametrize("name", ["epochs", "adaptive"])
def test_while_every_prompt_teaches_each_round_reads_all_of_them_once_in_a_new_order(name: str) -> None:
    order = build_order(name, 24, 8, seed=5)
    rounds = []
    for first in range(0, 12, 3):
        numbers = []
        for step in range(first, first + 3):
            found = order.numbers(step)
            order.saw(dict.fromkeys(found, True))
            numbers += found
        assert sorted(numbers) == list(range(24))
        rounds.append(numbers)
    assert len({tuple(numbers) for numbers in rounds}) == 4


def test_an_epoch_that_ends_within_a_step_goes_on_with_the_next() -> None:
    order = Epochs(5, 3, seed=0)
    numbers = [number for step in range(5) for number in order.numbers(step)]
    assert [sorted(numbers[first : first + 5]) for first in (0, 5, 10)] == [list(range(5))] * 3


def test_a_prompt_that_never_teaches_waits_twice_as_long_each_time_up_to_the_longest_wait() -> None:
    order = Adaptive(2, 1, seed=0)
    turns = []
    for step in range(40):
        [number] = order.numbers(step)
        order.saw({number: number == 0})
        if number == 1:
            turns.append(step)
    # Between two turns of prompt 1, prompt 0 has one turn per round that 1 waits; who is first in a round is by lot.
    between = [later - before - 1 for before, later in itertools.pairwise(turns[:5])]
    assert between == pytest.approx([2, 4, 8, 8], abs=1)


def test_a_prompt_that_teaches_again_waits_no_longer_than_others() -> None:
    order = Adaptive(8, 2, seed=1)
    visits(order, 40, silent={3})
    seen = visits(order, 200, silent=set())
    assert max(seen.values()) - min(seen.values()) <= LONGEST_WAIT // 2  # it was waiting when it changed


def test_no_prompt_is_forgotten_and_those_that_teach_get_the_longest_waits_share_more_visits() -> None:
    silent = set(range(12, 48))
    seen = visits(Adaptive(48, 8, seed=2), 600, silent)
    teaching = [seen[number] for number in range(12)]
    waiting = [seen[number] for number in silent]
    assert min(waiting) > 0
    assert sum(teaching) / 12 == pytest.approx(LONGEST_WAIT * sum(waiting) / 36, rel=0.1)


def test_where_nothing_teaches_every_prompt_is_seen_as_often_as_any_other() -> None:
    seen = visits(Adaptive(16, 4, seed=3), 400, silent=set(range(16)))
    assert max(seen.values()) - min(seen.values()) <= 2


def test_a_step_never_holds_a_prompt_twice() -> None:
    order = Adaptive(10, 8, seed=4)
    for step in range(50):
        numbers = order.numbers(step)
        assert len(set(numbers)) == 8
        order.saw(taught(numbers, silent={0, 1, 2, 3, 4, 5, 6, 7}))


def test_restored_from_json_it_goes_on_as_it_would_have() -> None:
    order = Adaptive(20, 4, seed=6)
    visits(order, 17, silent={1, 2, 3, 4, 5, 6})
    other = Adaptive(20, 4, seed=6)
    other.restore(json.loads(json.dumps(order.state())))
    assert visits(other, 30, silent={7}) == visits(order, 30, silent={7})


def test_another_seed_is_another_order() -> None:
    assert Adaptive(64, 8, seed=0).numbers(0) != Adaptive(64, 8, seed=1).numbers(0)
