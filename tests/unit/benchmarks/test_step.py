"""The arithmetic of the comparison with TRL, and its own side at the smallest size."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from benchmarks.step import growth, limits, quality
from benchmarks.step.child import StepClock, answer_of, peak_memory, reward_of_text
from benchmarks.step.report import ranged, table
from benchmarks.step.side import OURS_FLOAT32, TRL_DEFAULT, TRL_FLOAT32, TRL_PYTHON, Side, SideFailed, microbatch_of
from benchmarks.step.spread import ratios, summarize
from benchmarks.step.whole_step import check_work, compare, measure, prepare_files
from benchmarks.step.workload import Workload, build_tokenizer

from openrft.rollout.prompt import sample_of_text

TINY = Workload("tiny", prompt=6, completion=4, prompts=2, samples=4)
SHAPE = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
         "num_key_value_heads": 1, "head_dim": 8, "vocab_size": 64}  # fmt: skip


def test_a_ratio_compares_each_round_with_itself() -> None:
    # By medians alone it would be 4 / 2; the middle of 3 / 1, 4 / 2 and 40 / 10 is 3.
    assert ratios([1.0, 2.0, 10.0], [3.0, 4.0, 40.0]) == {"median": 3.0, "min": 2.0, "max": 4.0, "rounds": 3}


def test_a_summary_gives_medians_by_phase_and_the_largest_memory() -> None:
    answers = [
        {"wall": wall, "cpu": 2 * wall, "memory": memory, "tokens": 8, "phases": {"sampling": wall / 2, "forward": 0.1}}
        for wall, memory in ((1.0, 5), (3.0, 9), (2.0, 7))
    ]
    summary = summarize(answers)
    assert summary["wall"] == {"median": 2.0, "min": 1.0, "max": 3.0, "rounds": 3}
    assert summary["phases"] == {"sampling": 1.0, "forward": 0.1, "other": pytest.approx(0.9)}
    assert summary["memory"] == 9


def test_a_comparison_divides_theirs_by_ours_in_seconds_and_memory() -> None:
    rounds = {
        OURS_FLOAT32.name: [{"wall": 1.0, "cpu": 1.0}, {"wall": 2.0, "cpu": 1.0}],
        TRL_FLOAT32.name: [{"wall": 2.0, "cpu": 3.0}, {"wall": 8.0, "cpu": 5.0}],
    }
    sides = {OURS_FLOAT32.name: {"memory": 4}, TRL_FLOAT32.name: {"memory": 6}}
    compared = compare({"rounds": rounds, "sides": sides}, {"equal": (OURS_FLOAT32, TRL_FLOAT32)})["equal"]
    assert (compared["wall"]["median"], compared["cpu"]["median"], compared["memory"]) == (3.0, 4.0, 1.5)


def test_a_side_that_does_less_work_is_refused() -> None:
    whole = {"tokens": TINY.tokens, "prompt_tokens": TINY.sequences * TINY.prompt}
    check_work(whole, TINY, "a side")
    with pytest.raises(SideFailed, match=r"a side did other work than tiny: .*'tokens': 31"):
        check_work(whole | {"tokens": 31}, TINY, "a side")


def test_a_table_is_markdown_and_a_spread_shows_its_range() -> None:
    assert table(["a", "b"], [[1, "x"]]) == "| a | b |\n| --- | --- |\n| 1 | x |"
    assert ranged({"median": 1.854, "min": 1.5, "max": 2.0}) == "1.85 (1.50 to 2.00)"


def test_a_limit_encodes_every_prompt_once_and_no_last_token() -> None:
    # 2 prompts of 6 and 8 completions of 4, of which 3 tokens predict another.
    rows = limits.update_rows(prompts=2, samples=4, prompt=6, completion=4)
    assert rows == limits.Rows(layers=12 + 24, head=2 + 24)
    assert limits.prefill_rows(prompts=2, prompt=6) == limits.Rows(layers=12, head=2)


def test_the_flops_of_a_step_are_four_passes_over_every_weight_and_row() -> None:
    per_row = (16 * (16 + 2 * 8)) + 16 * 16 + 16 * 64 + 32 * 16
    expected = 2 * 4 * (36 * per_row + 26 * 16 * 64)
    assert limits.step_flops(SHAPE, prompts=2, samples=4, prompt=6, completion=4) == expected


def test_trl_computes_the_largest_part_of_the_batch_that_fits() -> None:
    workload = Workload("w", prompt=512, completion=32, prompts=8, samples=16)
    assert microbatch_of(workload, SHAPE, memory_bytes=1e12) == 32  # 36 would be 20 000 tokens; 32 divides 128
    token_bytes = 4 * (10 * 16 + 3 * 32 + 3 * 64)
    assert microbatch_of(workload, SHAPE, memory_bytes=4 * token_bytes * 544 * 9) == 8
    assert microbatch_of(workload, SHAPE, memory_bytes=1) == 1


def test_growth_is_the_power_of_the_factor() -> None:
    points = [
        {"factor": factor, "sides": {"a": {"wall": {"median": 3.0 * factor**2}, "memory": 100}}} for factor in (1, 2, 8)
    ]
    assert growth.exponent(points, "a", "wall") == pytest.approx(2.0)
    assert growth.exponent(points, "a", "memory") == 0.0


def test_a_case_of_growth_changes_one_quantity() -> None:
    workload, shape, rows = growth.case("layers", 8)
    assert (workload, rows) == (growth.BASE, growth.ROWS)
    assert shape["num_hidden_layers"] == 8 * growth.case("samples", 1)[1]["num_hidden_layers"]
    assert growth.case("samples", 4)[0].sequences == 4 * growth.BASE.sequences
    assert growth.case("rows", 4) == (growth.BASE, growth.case("samples", 1)[1], 4 * growth.ROWS)


def test_the_best_setting_passes_the_first_mark_soonest() -> None:
    def run(setting: str, first: float | None, best: float = 0.85) -> dict[str, object]:
        reached = {"0.8": None if first is None else {"wall": first}, "0.9": None}
        return {"setting": setting, "reached": reached, "curve": [{"accuracy": best}]}

    assert quality.best_setting([run("slow", 9.0), run("fast", 3.0), run("never", None)]) == "fast"
    assert quality.best_setting([run("worse", None, 0.4), run("better", None, 0.7)]) == "better"


def test_a_crossing_is_the_first_point_at_the_mark_and_a_time_needs_every_seed() -> None:
    points = ((1.0, 0.5), (2.0, 0.8), (3.0, 0.7))
    curve = [{"wall": wall, "cpu": wall, "steps": wall, "accuracy": accuracy} for wall, accuracy in points]
    crossings = quality.first_crossings(curve)
    assert crossings["0.8"] == curve[1] and crossings["0.9"] is None
    reached = [{"0.8": {"wall": wall, "cpu": wall, "steps": 2}, "0.9": None} for wall in (2, 4)]
    runs = [{"side": "a", "setting": "s", "reached": one} for one in reached]
    times = quality.times(runs, "a", "s")
    assert times["0.8"]["wall"] == {"mean": 3, "min": 2, "max": 4, "seeds": 2}
    assert times["0.9"] is None


def test_rewards_differ_within_a_group_and_are_a_function_of_the_text() -> None:
    texts = ["w4 w5 w6", "w6 w5 w4", "w4 w5 w7"]
    rewards = [reward_of_text(text) for text in texts]
    assert len(set(rewards)) == 3 and rewards == [reward_of_text(text) for text in texts]
    assert all(0.0 <= reward <= 1.0 for reward in rewards)


@pytest.mark.parametrize(
    "text", ["<think>\na: B\n</think>\nB because", "B because", "<think>\nnever ends", "a </think> b"]
)
def test_both_sides_grade_the_answer_after_the_thoughts(text: str) -> None:
    assert answer_of(text) == sample_of_text(text).output_text


def test_the_tokenizer_has_one_token_a_word_and_an_end_that_no_logit_stands_for() -> None:
    tokenizer = build_tokenizer(64)
    message = [{"role": "user", "content": "w4 w62 w10"}]
    ids = tokenizer.apply_chat_template(message, add_generation_prompt=True, tokenize=True, return_dict=False)
    assert ids == [1, 4, 62, 10, 2]
    assert tokenizer.eos_token_id == 64 and len(tokenizer) <= 64


def test_a_clock_counts_seconds_memory_and_the_phases_it_was_told_of() -> None:
    class Worker:
        def work(self) -> int:
            return sum(range(200_000))

    worker, clock = Worker(), StepClock()
    clock.timed(worker, "work", "sampling")
    clock.start()
    worker.work()
    answer = clock.stop()
    assert 0.0 < answer["phases"]["sampling"] <= answer["wall"]
    assert 10e6 < answer["memory"] <= peak_memory()


def rounds_of(sides: list[Side], folder: Path) -> dict[str, object]:
    config = prepare_files(folder, TINY, "tiny", SHAPE, threads=1, rows=8)
    return measure(sides, TINY, config, folder, rounds=1, budget=60, say=lambda words: None)


def test_our_side_and_its_limit_do_the_work_they_are_asked_for(tmp_path: Path) -> None:
    result = rounds_of([OURS_FLOAT32, Side("limit float32", "limits", {"precision": "float32"})], tmp_path)
    ours = result["sides"][OURS_FLOAT32.name]
    assert ours["tokens"] == TINY.tokens
    assert {"sampling", "forward", "backward"} <= set(ours["phases"])
    assert result["settings"][OURS_FLOAT32.name]["precision"] == "float32"


def test_a_side_that_cannot_start_says_why(tmp_path: Path) -> None:
    config = prepare_files(tmp_path, TINY, "tiny", SHAPE, threads=1, rows=8) | {"model": str(tmp_path / "nothing")}
    with pytest.raises(SideFailed, match="nothing"):
        measure([OURS_FLOAT32], TINY, config, tmp_path, rounds=1, budget=60, say=lambda words: None)


@pytest.mark.slow
@pytest.mark.skipif(not TRL_PYTHON.exists(), reason="scripts/bench installs TRL")
def test_trl_does_the_same_work(tmp_path: Path) -> None:
    result = rounds_of([TRL_DEFAULT, TRL_FLOAT32], tmp_path)
    told = result["settings"]
    assert told[TRL_DEFAULT.name]["gradient_checkpointing"] == "True" and told[TRL_DEFAULT.name]["bf16"] == "True"
    assert told[TRL_FLOAT32.name]["gradient_checkpointing"] == "False" and told[TRL_FLOAT32.name]["bf16"] == "False"
    assert json.loads((tmp_path / "TRL-float32-tiny-tiny.json").read_text())["microbatch"] == TINY.sequences
