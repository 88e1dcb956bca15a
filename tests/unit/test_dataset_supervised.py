"""Files of supervised fine-tuning: what is read from a good row, and what is said about a bad one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from openrft.dataset import read_examples, split_file
from openrft.errors import DatasetError, Problem

ASKED = {"role": "user", "content": "2+2?"}


def answered(text: str = "4", **extra: Any) -> dict[str, Any]:
    return {"messages": [ASKED, {"role": "assistant", "content": text}], **extra}


def said(text: Any, **extra: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text, **extra}


def spoken(*messages: dict[str, Any]) -> dict[str, Any]:
    return {"messages": list(messages)}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "data.jsonl"


def write(file: Path, *rows: Any) -> Path:
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return file


def problems(file: Path, **options: Any) -> list[Problem]:
    with pytest.raises(DatasetError) as caught:
        read_examples(file, method="supervised", **options)
    return caught.value.problems


def test_a_row_is_its_prompt_its_whole_dialogue_and_for_graders_the_row_itself(file: Path) -> None:
    row = spoken(
        {"role": "system", "content": "Be brief."},
        ASKED,
        {"role": "assistant", "content": "5", "weight": 0},
        {"role": "user", "content": "Sure?"},
        {
            "role": "assistant",
            "content": [{"type": "text", "text": "No, "}, {"type": "text", "text": "4"}],
            "weight": 1,
        },
    ) | {"reference": "4", "parallel_tool_calls": True}
    data = read_examples(write(file, row), method="supervised")
    (example,) = data.examples
    assert example.item == row
    assert example.messages == [
        {"role": "developer", "content": "Be brief."},
        ASKED,
        {"role": "assistant", "content": "5", "weight": 0},
        {"role": "user", "content": "Sure?"},
    ]
    assert example.dialogue == [*example.messages, {"role": "assistant", "content": "No, 4"}]
    assert data.warnings == []  # a system message is OpenAI's own word here


def test_rows_with_tools_and_calls_are_good(file: Path) -> None:
    tools = [{"type": "function", "function": {"name": "add", "parameters": {}}}]
    call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    row = spoken(ASKED, {"role": "assistant", "tool_calls": [call]}) | {"tools": tools}
    (example,) = read_examples(write(file, row), method="supervised").examples
    assert example.tools == tools
    assert example.dialogue is not None and example.dialogue[-1]["tool_calls"] == [call]


@pytest.mark.parametrize(
    ("row", "key", "code", "part"),
    [
        (spoken(ASKED, said("")), "messages[1].content", "missing_content", "an empty one"),
        (spoken(ASKED, said(None)), "messages[1].content", "missing_content", "null"),
        (spoken(ASKED, said("4"), ASKED), "messages[2].role", "last_message_not_assistant", "user"),
        (spoken(said("4", weight=0.5)), "messages[0].weight", "invalid_weight", "0.5"),
        (spoken(ASKED, said("4", weight=True)), "messages[1].weight", "invalid_weight", "true"),
        (spoken(ASKED, said("4", weight="1")), "messages[1].weight", "invalid_weight", '"1"'),
        (spoken({**ASKED, "weight": 1}, said("4")), "messages[0].weight", "message_unrecognized_key", "user"),
        (spoken(ASKED, said("4", weight=0)), "messages", "nothing_to_train", "weight 0 on every answer"),
        (spoken(ASKED, {**said("4"), "role": "asistant"}, said("4")), "messages[1].role", "unrecognized_role", "asist"),
        ({"message": [ASKED]}, "messages", "missing_messages_list", "nothing"),
    ],
)
def test_a_wrong_row_is_a_problem_with_its_line_its_key_and_a_fix(
    file: Path, row: dict[str, Any], key: str, code: str, part: str
) -> None:
    (problem,) = problems(write(file, answered(), row))
    assert (problem.line, problem.key, problem.code) == (2, key, code)
    assert part in str(problem)
    assert problem.fix


@pytest.mark.parametrize(
    ("other", "part"),
    [
        ({"messages": [ASKED], "answer": "4"}, "a reinforcement fine-tuning file"),
        ({"prompt": "2+2?", "completion": "4"}, "prompt/completion"),
        ({"item": {"messages": [ASKED]}}, "evals"),
        ({"input": {}, "preferred_output": [], "non_preferred_output": []}, "preference"),
    ],
)
def test_a_file_of_another_format_is_named_once_with_what_to_do(file: Path, other: dict[str, Any], part: str) -> None:
    (problem,) = problems(write(file, other, other))
    assert problem.code == "invalid_file_format"
    assert part in problem.found
    assert "assistant" in problem.fix or "item" in problem.fix


def test_a_row_that_nobody_answered_among_good_ones_is_named_by_its_line(file: Path) -> None:
    (problem,) = problems(write(file, answered(), {"messages": [ASKED], "answer": "4"}))
    assert (problem.line, problem.code) == (2, "example_missing_assistant_message")


def test_a_supervised_file_in_a_reinforcement_job_is_named(file: Path) -> None:
    with pytest.raises(DatasetError, match="a supervised fine-tuning file"):
        read_examples(write(file, answered(), answered("5")))


def test_a_file_with_fewer_rows_than_the_limit_is_told_its_count(file: Path) -> None:
    rows = [answered(str(number)) for number in range(9)]
    (problem,) = problems(write(file, *rows), min_rows=10)
    assert (problem.code, problem.expected, problem.found) == (
        "invalid_n_examples",
        "at least 10 examples",
        "9 examples",
    )
    assert len(read_examples(write(file, *rows, answered("9")), method="supervised", min_rows=10).examples) == 10


def test_a_json_document_is_not_told_to_be_short_of_rows_as_well(file: Path) -> None:
    file.write_text(json.dumps([answered()], indent=1))
    assert [problem.code for problem in problems(file, min_rows=10)] == ["not_jsonl"]


def test_a_supervised_file_can_be_split(file: Path, tmp_path: Path) -> None:
    rows = [spoken({"role": "user", "content": f"what is {number}?"}, said(str(number))) for number in range(10)]
    parts = split_file(write(file, *rows), tmp_path / "out", {"train": None, "valid": 3}, method="supervised")
    assert {name: part.rows for name, part in parts.items()} == {"train": 7, "valid": 3}
    assert len(read_examples(parts["valid"].path, method="supervised").examples) == 3
