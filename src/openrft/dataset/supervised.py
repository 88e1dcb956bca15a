"""Rows of OpenAI's supervised fine-tuning format: conversations whose assistant messages are what the model is to say.

An assistant message with ``weight`` 0 is part of the conversation and is not learned from. Keys beside ``messages`` and
``tools`` train nothing; a grader reads them.
"""

from __future__ import annotations

from typing import Any

from openrft.dataset.rows import FORMATS, Findings, Format, Row, check_conversation, kind_of, recognize
from openrft.types import Example

_ANSWER = '{"role": "assistant", "content": "…"}'
_FIXES: dict[Format, str] = {
    "reinforcement": f"End each row with the expected answer, {_ANSWER}; or use a method of type reinforcement.",
    "preference": f"Write input.messages with the preferred answer after them as messages: […, {_ANSWER}].",
    "completion": f'Write {{"messages": [{{"role": "user", "content": prompt}}, {_ANSWER}]}}.',
    "eval": "Write what is inside item as the row itself, with the expected answer as its last message.",
}


def read_supervised_rows(findings: Findings, rows: list[Row]) -> list[Example]:
    """The examples that ``rows`` hold; what is wrong with a row is noted in ``findings``."""
    formats = [_recognize(row.content) for row in rows]
    if rows and formats[0] != "supervised" and len(set(formats)) == 1:
        # One sentence for the whole file helps more than the same one for every row.
        _add_wrong_format(findings, rows[0].line, formats[0], FORMATS[formats[0]])
        return []
    examples: list[Example] = []
    for row, kind in zip(rows, formats, strict=True):
        if kind in ("preference", "completion", "eval"):
            _add_wrong_format(findings, row.line, kind, f"a row as in {FORMATS[kind]}")
            continue
        dialogue = _check_row(findings, row)
        if dialogue is not None:
            examples.append(
                Example(
                    id=row.id,
                    index=len(examples),
                    line=row.line,
                    messages=dialogue[:-1],
                    item=row.content,
                    tools=row.content.get("tools") or None,
                    dialogue=dialogue,
                )
            )
    return examples


def _recognize(row: dict[str, Any]) -> Format:
    """A conversation that nobody has answered is a row for reinforcement; whatever else has messages is meant well."""
    kind = recognize(row)
    messages = row.get("messages")
    if kind != "reinforcement" or not isinstance(messages, list) or not messages:
        return kind if kind != "reinforcement" else "supervised"
    is_answered = any(isinstance(message, dict) and message.get("role") == "assistant" for message in messages)
    return "supervised" if is_answered else "reinforcement"


def _add_wrong_format(findings: Findings, line: int, kind: Format, found: str) -> None:
    expected = "rows for supervised fine-tuning, which end with the assistant's answer"
    findings.add(line, None, "invalid_file_format", expected, found, _FIXES[kind])


def _check_row(findings: Findings, row: Row) -> list[dict[str, Any]] | None:
    """Note what is wrong with a row; return its messages, ``weight`` 0 on those answers that do not train.

    None where a row is not good: its place among the messages could not be trusted.
    """
    known = len(findings.problems)
    cleaned = check_conversation(findings, row.line, row.content)
    if cleaned is None:
        return None
    messages = row.content["messages"]
    for place, message in enumerate(messages):
        if isinstance(message, dict):
            _check_weight(findings, row.line, f"messages[{place}]", message)
            if message.get("role") == "assistant" and message.get("content") in ("", []) and not _calls(message):
                key, fix = f"messages[{place}].content", "Write the answer, or remove the message."
                findings.add(row.line, key, "missing_content", "an answer", "an empty one", fix)
    last = messages[-1].get("role") if isinstance(messages[-1], dict) else None
    spoken = [message for message in messages if isinstance(message, dict) and message.get("role") == "assistant"]
    if not spoken:
        found, fix = "none", f"Add the expected answer as the last message: {_ANSWER}."
        expected = "at least one message of the assistant"
        findings.add(row.line, "messages", "example_missing_assistant_message", expected, found, fix)
    elif last != "assistant":
        key, fix = f"messages[{len(messages) - 1}].role", "Add the assistant's answer to it, or remove the message."
        findings.add(row.line, key, "last_message_not_assistant", '"assistant"', kind_of(last), fix)
    elif all(message.get("weight") == 0 for message in spoken):
        fix = "Give the answer to learn from weight 1, or remove the row."
        expected = "at least one answer to learn from"
        findings.add(row.line, "messages", "nothing_to_train", expected, "weight 0 on every answer", fix)
    if len(findings.problems) > known:
        return None
    return [
        {**message, "weight": 0} if original.get("weight") == 0 and message["role"] == "assistant" else message
        for message, original in zip(cleaned, messages, strict=True)
    ]


def _check_weight(findings: Findings, line: int, key: str, message: dict[str, Any]) -> None:
    weight = message.get("weight")
    if weight is None:
        return
    if message.get("role") != "assistant":
        expected, found = "a weight only on messages of the assistant", f"one on {kind_of(message.get('role'))}"
        findings.add(line, f"{key}.weight", "message_unrecognized_key", expected, found, "Remove it.")
    elif isinstance(weight, bool) or weight not in (0, 1):
        fix = "Write 1 for an answer to learn from and 0 for one that is only part of the conversation."
        findings.add(line, f"{key}.weight", "invalid_weight", "0 or 1", kind_of(weight), fix)


def _calls(message: dict[str, Any]) -> bool:
    return bool(message.get("tool_calls"))
