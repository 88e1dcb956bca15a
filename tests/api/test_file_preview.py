"""What is in a file and what is wrong with it, before a job reads it."""

import io
import json
from typing import Any

from openrft.api import file_preview

GOOD = {"messages": [{"role": "user", "content": "1 + 1?"}], "answer": "2"}


def preview(client, lines: list[str], **query: Any) -> dict[str, Any]:
    content = "".join(line + "\n" for line in lines).encode()
    made = client.files.create(file=("rows.jsonl", io.BytesIO(content)), purpose="fine-tune")
    return client.get(f"/files/{made.id}/preview", cast_to=object, options={"params": query})


def test_a_good_file_is_counted_and_its_first_rows_are_shown(client):
    rows = [{**GOOD, "answer": str(n)} for n in range(8)]
    rows[5]["hint"] = None
    found = preview(client, [json.dumps(row) for row in rows], rows=3)
    assert found["num_rows"] == 8 and found["problems"] == [] and found["has_more"]
    assert [(row["line"], row["content"]["answer"]) for row in found["rows"]] == [(1, "0"), (2, "1"), (3, "2")]
    assert found["keys"] == {
        "messages": {"rows": 8, "types": {"array": 8}, "missing_line": None},
        "answer": {"rows": 8, "types": {"string": 8}, "missing_line": None},
        "hint": {"rows": 1, "types": {"null": 1}, "missing_line": 1},
    }


def test_rows_go_on_after_a_line(client):
    lines = [json.dumps({**GOOD, "answer": str(n)}) for n in range(6)]
    found = preview(client, lines, rows=4, after=4)
    assert [row["line"] for row in found["rows"]] == [5, 6] and not found["has_more"]
    assert preview(client, lines, rows=0)["rows"] == []


def test_every_problem_names_its_line_and_the_good_rows_are_shown_all_the_same(client):
    broken = {"messages": [{"role": "robot", "content": "x"}], "answer": "2"}
    found = preview(client, [json.dumps(GOOD), '{"messages": [', json.dumps(broken)])
    assert [(one["line"], one["key"], one["code"]) for one in found["problems"]] == [
        (2, None, "invalid_json"),
        (3, "messages[0].role", "unrecognized_role"),
    ]
    assert found["num_problems"] == 2 and all(one["fix"] for one in found["problems"])
    assert found["problems"][0]["file"] == "rows.jsonl"
    assert [row["line"] for row in found["rows"]] == [1, 3]


def test_a_file_is_looked_at_for_what_it_is_to_be_used_for(client):
    lines = [json.dumps(GOOD)] * 3
    problems = preview(client, lines, method="supervised")["problems"]
    assert {one["code"] for one in problems} == {"invalid_file_format", "invalid_n_examples"}
    many = [json.dumps(GOOD)] * 1001
    assert preview(client, many)["num_problems"] == 0
    (problem,) = preview(client, many, role="validation_file")["problems"]
    assert (problem["code"], problem["found"]) == ("invalid_n_examples", "1,001")


def test_what_is_answered_stays_small(client):
    long = json.dumps({**GOOD, "answer": "x" * 900_000})
    found = preview(client, [long] * 5, rows=100)
    assert len(found["rows"]) == 2 and found["has_more"]
    found = preview(client, ["no JSON"] * 300)
    assert len(found["problems"]) == 200 and found["num_problems"] == 300


def test_a_row_of_very_many_keys_and_a_very_long_row_are_told_of_in_short(client):
    found = preview(client, [json.dumps({**GOOD, **{f"k{n}": 1 for n in range(2000)}})])
    assert len(found["keys"]) == 500 and found["num_keys"] == 2002
    found = preview(client, [json.dumps({**GOOD, "long": "x" * 3 * 1024**2})])
    assert found["num_rows"] == 1 and found["rows"] == []


def test_files_beyond_those_that_are_read_are_told_to_come_back(client, http):
    made = client.files.create(file=("rows.jsonl", io.BytesIO(json.dumps(GOOD).encode())), purpose="fine-tune")
    with file_preview.TURNS.one(), file_preview.TURNS.one():
        answer = http.get(f"/v1/files/{made.id}/preview")
    assert answer.status_code == 429 and answer.headers["retry-after"] == "1"
    assert http.get(f"/v1/files/{made.id}/preview").status_code == 200


def test_a_file_that_is_too_large_to_wait_for_is_refused_with_what_to_do(http):
    row = json.dumps({**GOOD, "answer": "x" * 1_000_000}).encode() + b"\n"
    content = row * (file_preview.MOST_BYTES // len(row) + 1)
    made = http.post("/v1/files", files={"file": ("large.jsonl", content)}, data={"purpose": "fine-tune"}).json()
    answer = http.get(f"/v1/files/{made['id']}/preview")
    assert answer.status_code == 413 and "openrft data validate" in answer.json()["error"]["message"]


def test_an_unknown_method_is_refused_by_name(http, client):
    made = client.files.create(file=("rows.jsonl", json.dumps(GOOD).encode()), purpose="fine-tune")
    answer = http.get(f"/v1/files/{made.id}/preview", params={"method": "dpo"})
    assert answer.status_code == 400 and answer.json()["error"]["param"] == "method"
