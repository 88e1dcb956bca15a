import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from openrft.dataset import (
    Dataset,
    KeySummary,
    SplitPart,
    Spread,
    check_overlap,
    check_prompt_lengths,
    find_overlap,
    read_examples,
    split_file,
    summarize,
)
from openrft.errors import DatasetError, InvalidRequest, Problem


def row(text: str = "2+2?", **extra: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], **extra}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "data.jsonl"


def write(file: Path, *rows: Any) -> Path:
    lines = [one if isinstance(one, str) else json.dumps(one, ensure_ascii=False) for one in rows]
    file.write_text("".join(line + "\n" for line in lines), encoding="utf-8", newline="")
    return file


def problems(file: Path, **options: Any) -> list[Problem]:
    with pytest.raises(DatasetError) as caught:
        read_examples(file, **options)
    return caught.value.problems


def the_problem(file: Path, **options: Any) -> Problem:
    [problem] = problems(file, **options)
    return problem


def test_good_rows_become_examples_with_their_whole_row_as_item(file: Path) -> None:
    first = row("2+2?", answer="4", nums=[2, 2])
    second = {"messages": [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "Hi"}]}
    data = read_examples(write(file, first, second))
    assert [example.item for example in data.examples] == [first, second]
    assert [(example.index, example.line) for example in data.examples] == [(0, 1), (1, 2)]
    assert data.examples[1].messages == second["messages"]
    assert data.examples[0].tools is None
    assert data.fingerprint == hashlib.sha256(file.read_bytes()).hexdigest()
    assert data.warnings == [] and data.path == file


def test_the_id_is_a_hash_of_the_row_s_canonical_json(file: Path) -> None:
    data = read_examples(write(file, '{"messages": [{"role":"user","content":"é"}],  "a": 1}'))
    canonical = '{"a":1,"messages":[{"content":"é","role":"user"}]}'
    assert data.examples[0].id == hashlib.sha256(canonical.encode()).hexdigest()[:16]


def test_the_rows_of_openai_s_guide_are_good_as_the_hosted_server_stores_them(file: Path) -> None:
    stored = {
        "messages": [{"role": "user", "content": "Do you have a security team?", "name": None}],
        "tools": None,
        "parallel_tool_calls": True,
        "compliant": "yes",
    }
    [example] = read_examples(write(file, stored)).examples
    assert example.messages == [{"role": "user", "content": "Do you have a security team?"}]
    assert example.item == stored and example.tools is None


def test_tools_calls_and_text_parts_are_read(file: Path) -> None:
    tool = {"type": "function", "function": {"name": "add", "parameters": {}}}
    call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "2"}, {"type": "text", "text": "+2"}]},
        {"role": "assistant", "content": None, "tool_calls": [call], "weight": 0},
        {"role": "tool", "tool_call_id": "c1", "content": "4"},
    ]
    [example] = read_examples(write(file, {"messages": messages, "tools": [tool]})).examples
    assert example.tools == [tool]
    assert example.messages == [
        {"role": "user", "content": "2+2"},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "4"},
    ]


def test_system_is_read_as_developer_with_one_warning(file: Path) -> None:
    system = {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]}
    data = read_examples(write(file, row(), system, system))
    assert [message["role"] for message in data.examples[1].messages] == ["developer", "user"]
    [warning] = data.warnings
    assert (warning.code, warning.line) == ("system_role", 2) and "2 rows" in warning.found


def test_windows_line_ends_and_a_byte_order_mark_are_tolerated(file: Path) -> None:
    file.write_bytes(b"\xef\xbb\xbf" + json.dumps(row()).encode() + b"\r\n" + json.dumps(row("b")).encode())
    data = read_examples(file)
    assert len(data.examples) == 2
    assert [warning.code for warning in data.warnings] == ["byte_order_mark"]


def test_empty_lines_at_the_end_are_nothing_and_inside_a_warning(file: Path) -> None:
    data = read_examples(write(file, row(), "", "  ", row(), "", ""))
    assert [example.line for example in data.examples] == [1, 4]
    [warning] = data.warnings
    assert (warning.code, warning.line) == ("empty_line", 2) and "2 empty" in warning.found


@pytest.mark.parametrize(
    ("line", "code", "part"),
    [
        ('{"messages": [}', "invalid_json", "at column 15"),
        ("{'a': 1}", "invalid_json", "column 2"),
        ('{"a": NaN}', "not_finite", "NaN"),
        ('{"a": [-Infinity]}', "not_finite", "-Infinity"),
        ('{"a": 1e999}', "not_finite", "1e999"),
        ('{"a": 1, "b": {"c": 1, "c": 2}}', "duplicate_key", '"c" twice'),
        ('{"a": "\\ud83d"}', "invalid_unicode", "\\ud83d alone"),
        ('{"a": ' + "9" * 5_000 + "}", "invalid_json", "digits"),
        ('{"a": ' + "[" * 100_000 + "]" * 100_000 + "}", "invalid_json", "deep nesting"),
        ('{"a": ' + "[" * 100 + "]" * 100 + "}", "invalid_json", "deep nesting"),
        ("5", "data_type", "the number 5"),
        ('"text"', "data_type", 'the string "text"'),
    ],
)
def test_a_line_that_is_no_good_json_is_a_problem(file: Path, line: str, code: str, part: str) -> None:
    problem = the_problem(write(file, row(), line))
    assert (problem.code, problem.line) == (code, 2)
    assert part in problem.found


def test_a_row_may_be_nested_100_levels_deep_whatever_else_is_running(file: Path) -> None:
    nested = "[" * 99 + "]" * 99
    [example] = read_examples(
        write(file, '{"messages": [{"role": "user", "content": "a"}], "a": ' + nested + "}")
    ).examples
    assert str(example.item["a"]) == nested


def test_what_a_problem_quotes_is_cut_to_size(file: Path) -> None:
    line = json.dumps({"messages": [{"role": "user", "content": "a", "k" * 50_000: 1}]})
    problem = the_problem(write(file, row(), line))
    assert problem.code == "message_unrecognized_key" and len(str(problem)) < 1_000


def test_a_problem_is_text_that_a_file_holds_even_if_the_row_is_not(file: Path) -> None:
    problem = the_problem(write(file, row(), '{"\\ud83d": 1, "\\ud83d": 2}'))
    assert problem.code == "duplicate_key" and problem.found == '"\\ud83d" twice'


def test_a_whole_character_written_in_two_escapes_is_good(file: Path) -> None:
    [example] = read_examples(write(file, '{"messages": [{"role": "user", "content": "\\ud83d\\ude00"}]}')).examples
    assert example.messages[0]["content"] == "😀"


def test_text_that_is_not_utf_8_is_placed_by_its_byte(file: Path) -> None:
    good = json.dumps(row()).encode() + b"\n"
    file.write_bytes(good + b'{"a": "\xe9"}\n')
    problem = the_problem(file)
    assert (problem.code, problem.line) == ("invalid_encoding", 2)
    assert problem.found == f"byte 0xe9 at byte {len(good) + 7} of the file"


@pytest.mark.parametrize("text", ["[\n" + json.dumps(row()) + "\n]", json.dumps([row()]), json.dumps(row(), indent=1)])
def test_a_json_document_is_told_from_json_lines(file: Path, text: str) -> None:
    file.write_text(text)
    problem = the_problem(file)
    assert problem.code == "not_jsonl" and "one object per line" in problem.fix


def message_row(*messages: Any, **extra: Any) -> dict[str, Any]:
    return {"messages": list(messages), **extra}


USER = {"role": "user", "content": "Hi"}


@pytest.mark.parametrize(
    ("bad", "key", "code", "part"),
    [
        ({"answer": 1}, "messages", "missing_messages_list", "nothing"),
        ({"message": [USER]}, "messages", "missing_messages_list", 'Is it what you called "message"?'),
        ({"messages": [], "a": 1}, "messages", "missing_messages_list", "an empty list"),
        ({"messages": "Hi"}, "messages", "missing_messages_list", 'the string "Hi"'),
        (message_row("Hi"), "messages[0]", "data_type", 'the string "Hi"'),
        (message_row({"content": "Hi"}), "messages[0].role", "message_missing_key", "developer, user"),
        (message_row({"role": "user"}), "messages[0].content", "message_missing_key", "nothing"),
        (message_row({"role": "user", "content": None}), "messages[0].content", "missing_content", "null"),
        (message_row({"role": "user", "content": 5}), "messages[0].content", "data_type", "the number 5"),
        (
            message_row({"role": "usr", "content": ""}),
            "messages[0].role",
            "unrecognized_role",
            'mean "user"?',
        ),
        (message_row({"role": 1, "content": ""}), "messages[0].role", "unrecognized_role", "the number 1"),
        (
            message_row(USER, {"role": "assistant", "content": "4"}, answer="4"),
            "messages[1].role",
            "ends_with_assistant",
            "Remove the last assistant message",
        ),
        (
            message_row({**USER, "contents": "x"}),
            "messages[0].contents",
            "message_unrecognized_key",
            'Did you mean "content"?',
        ),
        (
            message_row({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}),
            "messages[0].content[0]",
            "unsupported_content",
            "not supported yet",
        ),
        (
            message_row({"role": "user", "content": ["Hi"]}),
            "messages[0].content[0]",
            "unsupported_content",
            'the string "Hi"',
        ),
        (
            message_row({"role": "tool", "content": "4"}),
            "messages[0].tool_call_id",
            "message_missing_key",
            "id of the call",
        ),
        (
            message_row(USER, response_format={"type": "json_object"}),
            "response_format",
            "unrecognized_key",
            "an option of the job",
        ),
        (message_row(USER, functions=[]), "functions", "unrecognized_key", "Write it as tools"),
        (message_row(USER, tools={}), "tools", "data_type", "an object"),
        (message_row(USER, tools=[{"name": "add"}]), "tools[0]", "invalid_tool", "function tool with a name"),
        (
            message_row({"role": "user", "content": "x", "tool_calls": []}),
            "messages[0].tool_calls",
            "data_type",
            "message of the assistant",
        ),
    ],
)
def test_a_wrong_row_is_a_problem_with_its_key_and_a_fix(
    file: Path, bad: dict[str, Any], key: str, code: str, part: str
) -> None:
    problem = the_problem(write(file, row(), bad))
    assert (problem.line, problem.key, problem.code) == (2, key, code)
    assert part in str(problem)
    assert str(problem).startswith(f'{file}, line 2, key "{key}": expected ')


def test_every_problem_of_the_file_is_told_in_file_order(file: Path) -> None:
    write(file, "{", row(), {"messages": [{"role": "usr"}]}, '{"a": NaN}', {"messages": []})
    file.write_text("nonsense\n" + file.read_text())
    found = [(problem.line, problem.code) for problem in problems(file, name="train.jsonl")]
    assert found == [
        (1, "invalid_json"),
        (2, "invalid_json"),
        (4, "unrecognized_role"),
        (4, "message_missing_key"),
        (5, "not_finite"),
        (6, "missing_messages_list"),
    ]


@pytest.mark.parametrize(
    ("other", "part"),
    [
        (message_row(USER, {"role": "assistant", "content": "4"}), "a supervised fine-tuning file"),
        (
            {"input": {"messages": [USER]}, "preferred_output": [], "non_preferred_output": []},
            "preference (DPO)",
        ),
        ({"input": {}, "preferred_completion": [], "non_preferred_completion": []}, "preference (DPO)"),
        ({"prompt": "a", "completion": "b"}, "prompt/completion pairs"),
        ({"item": {"question": "a"}}, "an evals file"),
    ],
)
def test_a_file_of_another_format_is_named_once(file: Path, other: dict[str, Any], part: str) -> None:
    problem = the_problem(write(file, other, other, other))
    assert problem.code == "invalid_file_format" and part in problem.found


def test_a_row_of_another_format_among_good_ones_is_named_by_its_line(file: Path) -> None:
    problem = the_problem(write(file, row(), {"prompt": "a", "completion": "b"}))
    assert problem.line == 2 and "a row as in a file of prompt/completion pairs" in problem.found


@pytest.mark.parametrize(("text", "part"), [("", "an empty file"), ("\n \n", "only empty lines")])
def test_a_file_without_rows_is_a_problem(file: Path, text: str, part: str) -> None:
    file.write_text(text)
    assert the_problem(file).found == part


def test_a_file_that_is_not_there_is_a_problem(file: Path, tmp_path: Path) -> None:
    assert the_problem(file).found == "nothing at this path"
    assert the_problem(tmp_path).code == "file_not_readable"


def test_too_many_rows_are_counted(file: Path) -> None:
    problem = the_problem(write(file, *[row()] * 12), max_rows=10)
    assert (problem.code, problem.expected, problem.found) == ("invalid_n_examples", "at most 10 rows", "12")


def test_too_long_lines_and_files_are_refused_without_being_read_whole(file: Path) -> None:
    write(file, row(), row("x" * 5_000), row())
    problem = the_problem(file, max_line_bytes=1_000)
    assert (problem.code, problem.line) == ("line_too_long", 2) and problem.found.startswith("5,0")
    assert the_problem(file, max_file_bytes=100).code == "file_too_large"


def load(folder: Path, name: str, *rows: Any) -> Dataset:
    return read_examples(write(folder / name, *rows), name=name)


def test_prompts_in_both_files_are_told_with_both_lines(tmp_path: Path) -> None:
    train = load(tmp_path, "train", row("one"), row("What is  2+2?"), row("what is 2+2?", answer=1))
    valid = load(tmp_path, "valid", row("three"), row("What\nis 2+2? ", answer=2))
    [warning] = check_overlap(train, valid)
    assert (warning.file, warning.line, warning.code) == ("valid", 2, "overlap")
    assert warning.found == "1 of 2 rows with the prompt of a row of train: line 2 (there 2)"


def test_overlap_is_told_once_with_its_count_and_the_first_lines(tmp_path: Path) -> None:
    words = ["otter", "maple", "violin", "harbour", "comet", "saddle", "lantern", "walnut"]
    train = load(tmp_path, "train", *[row(f"Tell me where the {word} of my aunt is kept.") for word in words])
    same = [row(f"tell me where  the {word} of my aunt is kept.", n=n) for n, word in enumerate(words[:6])]
    near = [row("Where is the walnut of my aunt kept? Tell me!"), row("Is the lantern of my aunt kept? Tell me where.")]
    valid = load(tmp_path, "valid", row("Why is the sky blue?"), *same, *near)
    equal, similar = check_overlap(train, valid)
    assert (equal.code, equal.line, similar.code, similar.line) == ("overlap", 2, "near_overlap", 8)
    lines = "lines 2 (there 1), 3 (there 2), 4 (there 3), 5 (there 4), 6 (there 5), …"
    assert equal.found == f"6 of 9 rows with the prompt of a row of train: {lines}"
    assert similar.found == "2 of 9 rows with nearly the prompt of a row of train: lines 8 (there 8), 9 (there 7)"


def test_files_too_large_to_compare_are_told_and_searched_for_equal_prompts(tmp_path: Path) -> None:
    long = [row(letter * 10_100_000) for letter in "abc"]
    train, valid = load(tmp_path, "train", row("one"), *long), load(tmp_path, "valid", row("two"), row("ONE"))
    equal, unknown = check_overlap(train, valid)
    assert (equal.code, equal.line, unknown.code, unknown.line) == ("overlap", 2, "overlap_unknown", None)
    assert not find_overlap(train, valid).is_complete


def test_prompts_that_are_too_long_are_told_with_their_length(tmp_path: Path) -> None:
    data = load(tmp_path, "train", row("one"), row("x" * 9))
    [problem] = check_prompt_lengths(data, lambda example: len(example.messages[0]["content"]), 8)
    assert (problem.line, problem.found) == (2, "9 tokens")


def test_a_summary_counts_rows_keys_types_and_lengths(tmp_path: Path) -> None:
    tools = [{"type": "function", "function": {"name": "f"}}]
    data = load(tmp_path, "train", row("ab", a=1), row("abcd", a="x"), row("AB", b=None, tools=tools))
    summary = summarize(data)
    assert summary.rows == 3
    assert summary.keys["a"] == KeySummary(rows=2, types={"number": 1, "string": 1})
    assert summary.keys["messages"].rows == 3 and summary.keys["b"].types == {"null": 1}
    assert summary.roles == {"user": 3}
    assert summary.messages == Spread(1, 1, 1) and summary.prompt_characters == Spread(2, 2, 4)
    assert (summary.rows_with_tools, summary.repeated_prompts) == (1, 1)


def lines_of(part: SplitPart) -> list[str]:
    return part.path.read_text(encoding="utf-8").splitlines()


def test_a_split_meets_the_sizes_and_loses_no_row(tmp_path: Path) -> None:
    source = write(tmp_path / "all.jsonl", *[row(f"question {n}", n=n) for n in range(100)])
    parts = split_file(source, tmp_path / "out", {"train": None, "valid": 0.15, "test": 10})
    assert {name: part.rows for name, part in parts.items()} == {"train": 75, "valid": 15, "test": 10}
    together = [line for part in parts.values() for line in lines_of(part)]
    assert sorted(together) == sorted(source.read_text().splitlines())
    numbers = [json.loads(line)["n"] for line in lines_of(parts["train"])]
    assert numbers == sorted(numbers)
    assert parts["valid"].prompts == 15
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "test.jsonl",
        "train.jsonl",
        "valid.jsonl",
    ]


def test_the_same_prompt_is_never_in_two_parts(tmp_path: Path) -> None:
    rows = [row(f"Question {n % 20}" if n % 2 else f"question  {n % 20}", n=n) for n in range(100)]
    source = write(tmp_path / "all.jsonl", *rows)
    parts = split_file(source, tmp_path, {"train": 0.8, "valid": 0.2})
    train, valid = (read_examples(parts[name].path) for name in ("train", "valid"))
    assert check_overlap(train, valid) == []
    assert (parts["train"].rows, parts["valid"].rows) == (80, 20)


def test_near_duplicates_stay_together_in_a_split_as_long_as_they_fit(tmp_path: Path) -> None:
    kinds = {
        "river": "Which river flows through the city of Vienna before it reaches Budapest?",
        "leaves": "Explain in one sentence why leaves turn red in autumn.",
        "parcel": "Write a short apology to a customer whose parcel arrived three days late.",
        "Norway": "List the prime ministers of Norway since the war, oldest first.",
        "bicycle": "My bicycle chain keeps slipping when I climb hills. What should I check first?",
        "Hamlet": "Summarise the plot of Hamlet for a child of ten.",
    }
    again = ["Please explain in one sentence why leaves turn red in autumn", kinds["parcel"].replace("a short", "some")]
    source = write(tmp_path / "all.jsonl", *map(row, [*kinds.values(), *again]))
    for seed in range(8):
        parts = split_file(source, tmp_path / str(seed), {"train": 5, "valid": 3}, seed=seed)
        sides = [{word for line in lines_of(part) for word in kinds if word in line} for part in parts.values()]
        assert sides[0].isdisjoint(sides[1])
        assert (parts["train"].rows, parts["valid"].rows) == (5, 3)
    # What is more than fits into the smallest part is not kept together, or that part could have no row at all.
    parts = split_file(source, tmp_path / "small", {"train": 7, "valid": 1})
    assert (parts["train"].rows, parts["valid"].rows) == (7, 1)


def test_a_split_depends_on_the_seed_and_not_on_the_order_of_rows(tmp_path: Path) -> None:
    rows = [row(f"question {n}") for n in range(50)]
    write(tmp_path / "a.jsonl", *rows)
    write(tmp_path / "b.jsonl", *reversed(rows))

    def valid(name: str, seed: int) -> set[str]:
        parts = split_file(tmp_path / name, tmp_path / f"{name}{seed}", {"train": 40, "valid": 10}, seed=seed)
        return set(lines_of(parts["valid"]))

    assert valid("a.jsonl", 1) == valid("b.jsonl", 1) != valid("a.jsonl", 2)


def test_a_split_replaces_no_file_unless_told(tmp_path: Path) -> None:
    source = write(tmp_path / "all.jsonl", row("a"), row("b"))
    write(tmp_path / "valid.jsonl", row("precious"))
    parts = {"train": 0.5, "valid": 0.5}
    with pytest.raises(InvalidRequest, match="is there already"):
        split_file(source, tmp_path, parts)
    assert not (tmp_path / "train.jsonl").exists() and "precious" in (tmp_path / "valid.jsonl").read_text()
    assert split_file(source, tmp_path, parts, overwrite=True)["valid"].rows == 1
    with pytest.raises(InvalidRequest, match="is the file to split"):
        split_file(tmp_path / "train.jsonl", tmp_path, {"train": None}, overwrite=True)


@pytest.mark.parametrize(
    ("parts", "part"),
    [
        ({}, "at least one part"),
        ({"train": 0.5, "valid": 0.2}, "let one part take the rest"),
        ({"train": 8, "valid": 3}, "the parts ask for 11 of 10 rows"),
        ({"train": None, "valid": None}, "only one part can take the rest"),
        ({"train": None, "valid": 0.001}, "would have no rows"),
        ({"train": None, "valid": 10}, "would have no rows"),
        ({"train": None, "valid": -1}, "must be more than 0"),
        ({"train": None, "valid": 1.5}, "a share is at most 1"),
        ({"../train": None}, "cannot be the name of a file"),
    ],
)
def test_parts_that_make_no_sense_are_refused(tmp_path: Path, parts: dict[str, Any], part: str) -> None:
    source = write(tmp_path / "all.jsonl", *[row(f"q {n}") for n in range(10)])
    with pytest.raises(InvalidRequest, match=part):
        split_file(source, tmp_path / "out", parts)
    assert not (tmp_path / "out").exists()


def test_uneven_shares_are_rounded_by_the_largest_remainder(tmp_path: Path) -> None:
    source = write(tmp_path / "all.jsonl", *[row(f"q {n}") for n in range(7)])
    parts = split_file(source, tmp_path, {"a": 0.5, "b": 0.25, "c": 0.25})  # 3.5, 1.75, 1.75
    assert [part.rows for part in parts.values()] == [3, 2, 2]


def test_the_rows_in_the_docs_are_good(repository: Path, tmp_path: Path) -> None:
    text = (repository / "docs" / "datasets.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```json\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 2
    for number, block in enumerate(blocks):
        data = read_examples(write(tmp_path / f"{number}.jsonl", *block.splitlines()))
        assert data.examples and data.warnings == []
