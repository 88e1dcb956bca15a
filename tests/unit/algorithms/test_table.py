"""The table of contents, and what a caller may change of an entry."""

import inspect

import pytest

from openrft.algorithms import ALGORITHMS


def test_the_algorithms_by_name():
    assert list(ALGORITHMS) == "rft rloo grpo dr_grpo dapo gspo cispo reinforce maxrl".split()


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_entry_says_what_it_is_and_where_it_is_from(name):
    assert ALGORITHMS[name].description
    assert ALGORITHMS[name].paper.startswith("arXiv ")


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_bound_is_one_its_objective_reads_and_none_is_missing(name):
    parameters = list(inspect.signature(ALGORITHMS[name].objective).parameters)
    assert parameters[1:] == list(ALGORITHMS[name].bounds)


def test_bounds_can_be_changed_without_changing_the_table():
    changed = ALGORITHMS["dapo"].with_bounds(clip_high=0.5)
    assert changed.bounds == {"clip_low": 0.2, "clip_high": 0.5}
    assert ALGORITHMS["dapo"].bounds == {"clip_low": 0.2, "clip_high": 0.28}


def test_a_bound_the_objective_does_not_read_is_refused():
    with pytest.raises(ValueError, match=r"no bound clip_low; it has \['clip_high'\]"):
        ALGORITHMS["cispo"].with_bounds(clip_low=0.5)
    with pytest.raises(ValueError, match="no bound clip_high; it has none"):
        ALGORITHMS["rloo"].with_bounds(clip_high=0.5)


@pytest.mark.parametrize("value", [0.0, -0.2, float("nan")])
def test_a_bound_that_bounds_nothing_is_refused(value):
    with pytest.raises(ValueError, match="must be above 0"):
        ALGORITHMS["grpo"].with_bounds(clip_low=value)
