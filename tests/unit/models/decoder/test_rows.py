"""Where tokens lie, which rows are read, and which row predicts which token."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from openrft.models.decoder import rows
from openrft.models.decoder.rows import Block, Cluster, Rows, pack_rows

CPU = torch.device("cpu")
PROMPTS = [[5, 6, 7], [8, 9]]
COMPLETIONS = [[[40, 41, 42], [50]], [[60, 61]]]


def blocks_of(clusters: tuple[Cluster, ...]) -> list[Block]:
    return [block for cluster in clusters for block in (cluster.prompts, *cluster.completions)]


def rows_of(block: Block) -> list[list[list[int]]]:
    """The rows of every sequence, its length and no more."""
    groups, sequences, _ = block.shape
    valid = torch.ones(block.shape, dtype=torch.bool) if block.valid is None else block.valid
    return [[block.index[g, s][valid[g, s]].tolist() for s in range(sequences)] for g in range(groups)]


def test_every_prompt_is_there_once_and_of_a_completion_all_but_the_last_token() -> None:
    packed, _ = pack_rows(PROMPTS, COMPLETIONS, CPU)
    assert packed.token_ids.tolist() == [5, 6, 7, 40, 41, 8, 9, 60]
    assert packed.positions.tolist() == [0, 1, 2, 3, 4, 0, 1, 2]


def test_needed_rows_are_the_last_of_prompts_and_all_of_completions() -> None:
    packed, _ = pack_rows(PROMPTS, COMPLETIONS, CPU)
    assert packed.needed.tolist() == [2, 3, 4, 6, 7]


def test_a_token_is_predicted_from_the_row_before_it() -> None:
    packed, predicting = pack_rows(PROMPTS, COMPLETIONS, CPU)
    # 40 after 7, 41 after 40, 42 after 41; 50 after 7; 60 after 9, 61 after 60
    assert packed.token_ids[packed.needed[predicting]].tolist() == [7, 40, 41, 7, 9, 60]


def test_a_completion_of_one_token_has_no_row_and_is_predicted_from_its_prompt() -> None:
    packed, predicting = pack_rows([[5, 6]], [[[40], [41]]], CPU)
    assert packed.token_ids.tolist() == [5, 6]
    assert packed.needed.tolist() == [1]
    assert predicting.tolist() == [0, 0]
    assert packed.clusters[0].completions == ()


def cases() -> list[tuple[list[list[int]], list[list[list[int]]]]]:
    lengths = [
        ([3, 3], [[4, 4], [4, 4]]),
        ([3, 5, 20], [[1, 9], [30, 2, 2], [1]]),
        ([6, 6, 6], [[2], [5, 5, 5, 40], [1, 1]]),
        ([1], [[2, 3, 4, 5, 6, 7]]),
    ]
    return [
        ([list(range(1, 1 + p)) for p in prompts], [[[9] * c for c in of_group] for of_group in completions])
        for prompts, completions in lengths
    ]


@pytest.mark.parametrize(("prompts", "completions"), cases())
@pytest.mark.parametrize("most", [0, rows.CLUSTER_SCORES])
def test_every_row_is_attended_once_in_the_block_of_its_own_group(
    prompts: list[list[int]], completions: list[list[list[int]]], most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "CLUSTER_SCORES", most)
    packed, _ = pack_rows(prompts, completions, CPU)
    seen = [row for block in blocks_of(packed.clusters) for group in rows_of(block) for span in group for row in span]
    assert sorted(seen) == list(range(len(packed.token_ids)))
    # Completions stand beside their own prompt, longest first, each in order.
    start = 0
    groups = [(c, g) for c in packed.clusters for g in range(c.prompts.shape[0])]
    for (cluster, number), prompt, answers in zip(groups, prompts, completions, strict=True):
        size = len(prompt) + sum(len(answer) - 1 for answer in answers)
        assert rows_of(cluster.prompts)[number] == [list(range(start, start + len(prompt)))]
        spans = [span for block in cluster.completions for span in rows_of(block)[number] if span]
        assert sorted(len(span) for span in spans) == sorted(len(a) - 1 for a in answers if len(a) > 1)
        assert all(span == list(range(span[0], span[0] + len(span))) for span in spans)
        assert all(start + len(prompt) <= span[0] and span[-1] < start + size for span in spans)
        assert [len(span) for span in spans] == sorted((len(span) for span in spans), reverse=True)
        start += size


@pytest.mark.parametrize(("prompts", "completions"), cases())
def test_what_is_taken_is_what_the_index_says_and_is_put_back_where_it_was(
    prompts: list[list[int]], completions: list[list[list[int]]]
) -> None:
    packed, _ = pack_rows(prompts, completions, CPU)
    count = len(packed.token_ids)
    wide = torch.arange(count * 15.0).view(count, 3, 5)
    for values in (wide, wide[:, 1:], wide[:, 1], wide[:, :, ::2]):  # rows as they lie in products of several layers
        for block in blocks_of(packed.clusters):
            for first, last in {(0, block.shape[2]), (0, 1), (block.shape[2] - 1, block.shape[2])}:
                taken = block.take(values, first, last)
                assert torch.equal(taken, values[block.index[:, :, first:last]])
                written = values.clone()
                block.put(written, taken + 1000, first, last)
                valid = torch.ones(block.shape, dtype=torch.bool) if block.valid is None else block.valid
                changed = block.index[:, :, first:last][valid[:, :, first:last]]
                expected = values.clone()
                expected[changed] += 1000
                assert torch.equal(written, expected)


def pack_lengths(prompts: list[int], completions: list[list[int]]) -> Rows:
    return pack_rows([[1] * n for n in prompts], [[[2] * n for n in group] for group in completions], CPU)[0]


def test_groups_of_one_size_are_seen_without_copying() -> None:
    (cluster,) = pack_lengths([3, 3, 3], [[5, 5], [5, 5], [5, 5]]).clusters
    blocks = (cluster.prompts, *cluster.completions)
    assert [(block.shape, block.first, block.stride, block.valid) for block in blocks] == [
        ((3, 1, 3), 0, 11, None),
        ((3, 2, 4), 3, 11, None),
    ]
    memory = torch.arange(33.0)[:, None]
    assert cluster.prompts.take(memory, 0, 3).data_ptr() == memory.data_ptr()


def test_groups_of_unlike_size_have_places_that_count_for_nothing() -> None:
    (cluster,) = pack_lengths([3, 4], [[5, 4], [6]]).clusters
    (block,) = cluster.completions
    assert cluster.prompts.shape == (2, 1, 4)
    assert cluster.prompts.valid is not None
    assert cluster.prompts.valid[:, 0].tolist() == [[True, True, True, False], [True] * 4]
    assert block.shape == (2, 2, 5)
    assert block.valid is not None
    assert block.valid.sum(2).tolist() == [[4, 3], [5, 0]]
    assert block.first is None


def test_much_shorter_completions_are_a_block_of_their_own() -> None:
    (cluster,) = pack_lengths([3], [[41, 22, 21, 20, 2]]).clusters
    # 40 and 21 and 20 rows; 19 is less than half of 40; 1 is less than half of 19
    assert [block.shape for block in cluster.completions] == [(1, 3, 40), (1, 1, 19), (1, 1, 1)]


def test_a_much_longer_prompt_begins_a_cluster() -> None:
    packed = pack_lengths([4, 8, 9, 3], [[2], [2], [2], [2]])
    assert [cluster.prompts.shape for cluster in packed.clusters] == [(2, 1, 8), (1, 1, 9), (1, 1, 3)]


def test_a_cluster_needs_no_more_scores_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    # of each group: 4 x 4 of the prompt, and of two completions of 5 rows 2 x 5 x (4 + 5)
    monkeypatch.setattr(rows, "CLUSTER_SCORES", 2 * 106)
    lengths = [4] * 5, [[6, 6]] * 5
    assert [cluster.prompts.shape[0] for cluster in pack_lengths(*lengths).clusters] == [2, 2, 1]
    monkeypatch.setattr(rows, "CLUSTER_SCORES", 2 * 106 - 1)
    assert [cluster.prompts.shape[0] for cluster in pack_lengths(*lengths).clusters] == [1] * 5


def test_rows_lie_on_the_device_that_is_asked_for() -> None:
    packed, predicting = pack_rows(PROMPTS, COMPLETIONS, torch.device("meta"))
    tensors: list[Tensor] = [packed.token_ids, packed.positions, packed.needed, predicting]
    tensors += [block.index for block in blocks_of(packed.clusters)]
    assert {tensor.device.type for tensor in tensors} == {"meta"}
