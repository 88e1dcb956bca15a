"""How many threads compute: the choice, the user's word, and what limits it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from openrft.training import threads
from openrft.training.threads import (
    calibrate_threads,
    candidates,
    describe,
    fastest,
    quota,
    update_threads,
    updating,
    use_threads,
)

MEASURED = {1: (1.0, 8.0), 2: (1.2, 4.2), 4: (1.9, 2.4)}  # sampling is best alone, an update on every core


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    yield
    use_threads(1, 1)


@pytest.fixture
def four_cores(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """A quiet machine with four cores and the seconds of MEASURED; the list says what was measured."""
    asked: list[list[int]] = []

    def measure(counts: list[int]) -> threads.Seconds:
        asked.append(counts)
        return {count: MEASURED[count] for count in counts}

    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(threads, "available_cores", lambda: 4)
    monkeypatch.setattr(threads, "_measure", measure)
    monkeypatch.setattr(threads, "_is_quiet", lambda: True)
    use_threads(8, 8)  # torch counts the machine's, whatever this process may use
    return asked


@pytest.mark.parametrize(
    ("seconds", "best"),
    [
        ({1: 1.0}, 1),
        ({1: 1.0, 2: 0.5, 4: 0.25}, 4),
        ({1: 1.0, 2: 0.95}, 1),  # not worth a core
        ({1: 1.0, 2: 0.95, 4: 0.5}, 4),
        ({1: 1.0, 2: 0.5, 4: 0.47}, 2),
        ({1: 1.0, 2: 3.0, 4: 2.0}, 1),
    ],
)
def test_the_fastest_number_wins_unless_a_smaller_one_is_nearly_as_fast(seconds: dict[int, float], best: int) -> None:
    assert fastest(seconds) == best


@pytest.mark.parametrize(("most", "tried"), [(1, [1]), (2, [1, 2]), (6, [1, 2, 4, 6]), (8, [1, 2, 4, 8])])
def test_powers_of_two_and_all_cores_are_tried(most: int, tried: list[int]) -> None:
    assert candidates(most) == tried


def test_sampling_and_updates_get_a_number_each(four_cores: list[list[int]]) -> None:
    told: list[str] = []
    calibrate_threads(told.append)
    assert (torch.get_num_threads(), update_threads()) == (1, 4)
    assert told == ["of 4 threads, samples with 1 (4: 0.5x as fast as one), updates with 4 (4: 3.3x as fast as one)"]
    with updating():
        assert torch.get_num_threads() == 4
    assert torch.get_num_threads() == 1
    assert four_cores == [[1, 2, 4]]


def test_sampling_leaves_its_cores_to_graders_that_compute(
    four_cores: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "_measure", lambda counts: {1: (1.0, 1.0), 4: (0.3, 0.3)})
    calibrate_threads(lambda _: None)
    assert (torch.get_num_threads(), update_threads()) == (4, 4)
    calibrate_threads(lambda _: None, graders_compute=True)
    assert (torch.get_num_threads(), update_threads()) == (1, 4)


@pytest.mark.parametrize("name", ["OMP_NUM_THREADS", "MKL_NUM_THREADS"])
def test_a_number_that_the_user_gives_stands(
    four_cores: list[list[int]], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "3")
    use_threads(3, 3)
    calibrate_threads(pytest.fail)
    assert (torch.get_num_threads(), update_threads(), four_cores) == (3, 3, [])


def test_no_more_than_torch_is_set_to_are_tried(four_cores: list[list[int]]) -> None:
    use_threads(2, 2)
    calibrate_threads(lambda _: None)
    assert four_cores == [[1, 2]]


def test_what_was_measured_is_found_again_so_that_two_runs_compute_alike(
    four_cores: list[list[int]], tmp_path: Path
) -> None:
    for _ in range(2):
        calibrate_threads(lambda _: None, tmp_path / "kept")
        assert (torch.get_num_threads(), update_threads()) == (1, 4)
    assert len(four_cores) == 1
    (kept,) = (tmp_path / "kept").iterdir()
    kept.write_text('{"1": [')
    calibrate_threads(lambda _: None, tmp_path / "kept")
    assert len(four_cores) == 2  # a damaged file is measured anew


def test_what_is_measured_beside_busy_neighbours_is_not_kept(
    four_cores: list[list[int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "_is_quiet", lambda: False)
    calibrate_threads(lambda _: None, tmp_path / "kept")
    assert four_cores and not (tmp_path / "kept").exists()


def test_a_real_measurement_leaves_the_number_of_threads_alone() -> None:
    seconds = threads._measure([1])
    assert all(part > 0 for part in seconds[1])
    assert torch.get_num_threads() == 1
    assert describe(1, 1, seconds).startswith("of 1 threads, samples with 1")


@pytest.mark.parametrize(
    ("membership", "files", "cores"),
    [
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5),
        ("0::/\n", {"cpu.max": "max 100000\n"}, math.inf),
        ("0::/a/b\n", {"a/cpu.max": "200000 100000\n", "a/b/cpu.max": "max 100000\n"}, 2.0),
        ("0::/outside/of/the/container\n", {"cpu.max": "50000 100000\n"}, 0.5),
        (
            "5:memory:/\n1:cpu,cpuacct:/x\n",
            {"cpu/x/cpu.cfs_quota_us": "300000\n", "cpu/x/cpu.cfs_period_us": "100000\n"},
            3.0,
        ),
        ("1:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, math.inf),
        ("1:cpuset:/\n", {"cpu/cpu.cfs_quota_us": "100000\n", "cpu/cpu.cfs_period_us": "100000\n"}, math.inf),
        ("0::/\n", {"cpu.max": "nonsense\n"}, math.inf),
        ("", {}, math.inf),
    ],
)
def test_the_quota_of_the_control_groups_is_read(
    tmp_path: Path, membership: str, files: dict[str, str], cores: float
) -> None:
    (tmp_path / "membership").write_text(membership)
    for name, text in files.items():
        path = tmp_path / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert quota(tmp_path / "cgroup", tmp_path / "membership") == cores


def test_a_fraction_of_a_core_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "quota", lambda: 0.5)
    assert threads.available_cores() == 1
