"""What the rollout explorer reads beside pages: the groups of a step, histograms, and tokens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

from openrft.api.token_texts import token_texts
from openrft.models.catalog import locate_model
from openrft.store import Store
from openrft.store.rows import Lease, Project
from wire_jobs import body, method, record_step, rollout_row, run_by_hand


@pytest.fixture
def lease(client: openai.OpenAI, store: Store, project: Project) -> Lease:
    """A running job."""
    return run_by_hand(store, project.id, client.fine_tuning.jobs.create(**body(client)).id)


@pytest.fixture
def get(http: httpx2.Client, lease: Lease) -> Any:
    """Asks for something beneath the job's rollouts."""

    def ask(path: str = "", status: int = 200) -> Any:
        answer = http.get(f"/v1/fine_tuning/jobs/{lease.job_id}/rollouts{path}")
        assert answer.status_code == status, answer.text
        return answer.json()

    return ask


def part(score: float | None) -> dict[str, Any]:
    """A part's grade."""
    return {"score": score, "error": None, "replaced": None, "sub_grades": {}}


# Groups


def test_the_groups_of_a_step_say_what_their_rollouts_came_to(get, store: Store, lease: Lease) -> None:
    failed = {"kind": "other_error", "message": "broke"}
    rows = [
        rollout_row(1, 0, example="a", sample=0, reward=1.0, advantage=0.5),
        rollout_row(1, 1, example="a", sample=1, reward=0.0, advantage=-0.5, finish_reason="length"),
        rollout_row(1, 2, example="a", sample=2, reward=None, error=failed, left_out="ungraded"),
        rollout_row(1, 3, example="b", sample=0, reward=0.5, left_out="no_signal"),
        rollout_row(1, 4, example="b", sample=1, reward=0.5, left_out="no_signal"),
    ]
    rows[3]["prompt"] = [{"role": "user", "content": "long " * 100}]
    record_step(store, lease, 1, rows)
    first, second = get("/steps/1/groups")["data"]
    assert first == {
        "object": "fine_tuning.job.rollout_group", "example": "a", "prompt": "question 0", "size": 3, "mean": 0.5,
        "std": 0.5, "min": 0.0, "max": 1.0, "signal": True, "errored": 1, "truncated": 1, "left_out": {"ungraded": 1},
        "rollout_ids": ["rollout_1_0", "rollout_1_1", "rollout_1_2"], "rewards": [1.0, 0.0, None],
        "advantages": [0.5, -0.5, None], "lengths": [1, 2, 3],
    }  # fmt: skip
    assert (second["mean"], second["std"], second["signal"], second["left_out"]) == (0.5, 0.0, False, {"no_signal": 2})
    assert len(second["prompt"]) == 200 and second["prompt"].endswith("…")


def test_groups_are_known_where_somebody_removed_the_texts(get, store: Store, lease: Lease) -> None:
    record_step(store, lease, 1, [rollout_row(1, 0)])
    store.artifacts.delete(f"jobs/{lease.job_id}/rollouts/step-000001-e1.jsonl")
    (group,) = get("/steps/1/groups")["data"]
    assert (group["prompt"], group["rewards"]) == (None, [0.0])


def test_a_step_without_rollouts_has_no_groups_and_one_that_is_not_there_is_told(get, store: Store, lease) -> None:
    store.steps.record(lease, 1, {"a": 1.0}, total_steps=3)
    assert get("/steps/1/groups") == {"object": "list", "data": [], "has_more": False}
    assert get("/steps/2/groups", status=404)["error"]["param"] == "step"


# What was left out


def test_what_was_left_out_is_counted_by_reason(get, store: Store, lease: Lease) -> None:
    for step in (1, 2):
        rows = [rollout_row(step, number, left_out="no_signal" if number < 2 else None) for number in range(4)]
        rows += [rollout_row(step, 4, left_out="ungraded", reward=None)]
        record_step(store, lease, step, rows)
    record_step(store, lease, 3, [rollout_row(3, 0)])
    assert get("/left_out") == {
        "object": "fine_tuning.job.left_out", "rollouts": 11, "left_out": 6, "reasons": {"no_signal": 4, "ungraded": 2},
        "counted_from": 1,
    }  # fmt: skip


def test_a_job_that_has_sampled_nothing_has_left_nothing_out(get) -> None:
    found = get("/left_out")
    assert (found["rollouts"], found["left_out"], found["reasons"], found["counted_from"]) == (0, 0, {}, None)


# Characters that cannot be sent


def test_half_a_surrogate_pair_is_replaced_and_a_whole_one_is_a_character(get, store: Store, lease: Lease) -> None:
    halves = "first \ud83d, second \ude00, last \udc00"
    record_step(store, lease, 1, [rollout_row(1, 0, output=halves, printed="\ud83d\ude00 \\ud800")])
    row = get("/rollout_1_0")
    assert row["output"] == "first \ufffd, second \ufffd, last \ufffd"
    assert row["grade"]["printed"] == "\U0001f600 \\ud800"
    assert get()["data"][0]["output"] == row["output"]


# Histograms


def test_histograms_count_rewards_and_the_scores_of_every_part(get, store: Store, lease: Lease) -> None:
    for step in range(1, 13):
        rows = [
            rollout_row(step, number, reward=number / 4, sub_grades={"exact": part(float(number > 2))})
            for number in range(5)
        ]
        rows[1] |= {"reward": None, "sub_grades": {"exact": part(None)}}
        record_step(store, lease, step, rows)
    newest = get("/histogram?buckets=4")
    assert newest["steps"] == list(range(3, 13))
    assert newest["reward"] == {
        "edges": [0.0, 0.25, 0.5, 0.75, 1.0], "counts": [10, 0, 10, 20], "count": 40, "missing": 10, "mean": 0.5625,
    }  # fmt: skip
    exact = newest["graders"]["exact"]
    assert (exact["counts"], exact["missing"]) == ([20, 0, 0, 20], 10)
    chosen = get("/histogram?step=1&step=12&step=99&buckets=1")
    assert (chosen["steps"], chosen["reward"]["counts"]) == ([1, 12], [8])
    assert get("/histogram?buckets=0", status=400)["error"]["param"] == "buckets"


def test_a_job_that_has_sampled_nothing_has_empty_histograms(get) -> None:
    empty = get("/histogram?buckets=2")
    assert (empty["steps"], empty["graders"]) == ([], {})
    assert (empty["reward"]["counts"], empty["reward"]["mean"]) == ([0, 0], None)


# Tokens


@pytest.fixture(scope="module")
def spell() -> Any:
    """Token ids of a text, of the bundled model, with the end of the turn."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(f"{locate_model('openrft-tiny')}/tokenizer.json")
    config = json.loads(Path(locate_model("openrft-tiny"), "tokenizer_config.json").read_text())
    end = tokenizer.token_to_id(config["eos_token"])
    return lambda text: [*tokenizer.encode(text, add_special_tokens=False).ids, end]


@pytest.mark.parametrize("text", ["seven plus 5", "", "  two\n\nlines ", "é 😀 wörld", "👩‍👩‍👧 family", "a\ufffdb"])
def test_token_texts_stand_beside_the_token_ids_and_are_the_output_together(
    spell, store: Store, project: Project, text: str
) -> None:
    token_ids = spell(text)
    texts = token_texts(store, project.id, "openrft-tiny", token_ids, text)
    assert texts is not None
    assert len(texts) == len(token_ids)
    assert "".join(texts) == text
    assert texts[-1] == ""  # the end of the turn


def test_what_a_stop_string_cut_off_has_no_text(spell, store: Store, project: Project) -> None:
    token_ids = spell("one STOP two")
    texts = token_texts(store, project.id, "openrft-tiny", token_ids, "one ")
    assert texts is not None and "".join(texts) == "one " and len(texts) == len(token_ids)


@pytest.mark.parametrize("model", ["nobody/nothing-of-this-name", "/no/such/folder", "ft:openrft-tiny:nobody::none"])
def test_without_the_tokenizer_there_are_no_token_texts(store: Store, project: Project, model: str) -> None:
    assert token_texts(store, project.id, model, [1, 2], "x") is None


def test_token_texts_that_would_not_be_the_output_are_none(spell, store: Store, project: Project) -> None:
    assert token_texts(store, project.id, "openrft-tiny", spell("seven"), "eight") is None


def test_a_fine_tuned_model_has_the_tokenizer_of_its_base(spell, store: Store, project: Project, make_model) -> None:
    name = make_model(project)
    assert token_texts(store, project.id, name, spell("seven"), "seven") is not None


def test_a_rollout_says_what_its_tokens_spell_and_whether_they_trained(get, spell, store: Store, lease: Lease) -> None:
    token_ids = spell("twelve")
    row = rollout_row(1, 0, output="twelve", token_ids=token_ids, sampling_logprobs=[-0.5] * len(token_ids))
    record_step(store, lease, 1, [{**row, "advantage": 0.25}, {**row, "left_out": "no_signal"}])
    trained, left_out = get("/rollout_1_0"), get("/rollout_1_1")
    assert "".join(trained["token_texts"]) == "twelve"
    assert len(trained["token_texts"]) == len(trained["sampling_logprobs"]) == len(token_ids)
    assert (trained["trained"], trained["loss_mask"], trained["advantage"]) == (True, [1] * len(token_ids), 0.25)
    assert (left_out["trained"], left_out["loss_mask"]) == (False, [0] * len(token_ids))


def test_which_tokens_a_schema_forced_is_not_recorded_and_so_no_mask_is_made_up(
    client: openai.OpenAI, http: httpx2.Client, store: Store, project: Project
) -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"type": "string"}},
        "required": ["a"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}}
    job = client.fine_tuning.jobs.create(**body(client, method=method(response_format=form)))
    record_step(store, run_by_hand(store, project.id, job.id), 1, [rollout_row(1, 0)])
    shown = http.get(f"/v1/fine_tuning/jobs/{job.id}/rollouts/rollout_1_0").json()
    assert (shown["trained"], shown["loss_mask"]) == (True, None)
