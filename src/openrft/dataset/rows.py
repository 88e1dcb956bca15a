"""What one row must look like in OpenAI's RFT dataset format, and what is said about one that does not.

What rows of all formats have in common is here too; :mod:`openrft.dataset.supervised` has the rest of that format.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from openrft.errors import Problem, shown

Format = Literal["reinforcement", "supervised", "preference", "completion", "eval"]

ROLES = ("developer", "user", "assistant", "tool")
MESSAGE_KEYS = ("role", "content", "name", "tool_calls", "tool_call_id", "weight", "refusal")
FORMATS: dict[Format, str] = {
    "reinforcement": "a reinforcement fine-tuning file (each row ends with the user's message)",
    "supervised": "a supervised fine-tuning file (each row ends with the assistant's answer)",
    "preference": "a preference (DPO) file (input, preferred_output, non_preferred_output)",
    "completion": "a file of prompt/completion pairs",
    "eval": "an evals file (each row wrapped in item)",
}
_FIXES: dict[Format, str] = {
    "supervised": "Remove the last assistant message; keep the expected answer in a key such as answer.",
    "preference": "Put input.messages in messages, and what the grader needs in keys of its own.",
    "completion": 'Write {"messages": [{"role": "user", "content": prompt}], "answer": completion}.',
    "eval": "Write what is inside item as the row itself.",
}
_REFUSED_KEYS = {
    "response_format": "Remove it; response_format is an option of the job.",
    "functions": 'Write it as tools: [{"type": "function", "function": {…}}].',
    "function_call": "Remove it; the model decides which tools it calls.",
}


@dataclass(slots=True)
class Row:
    """A line of a file that holds a JSON object."""

    line: int
    content: dict[str, Any]

    @property
    def id(self) -> str:
        """The same for the same content, whatever the order of its keys."""
        canonical = json.dumps(self.content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(canonical.encode("utf-8")).hexdigest()[:16]


@dataclass(slots=True)
class Findings:
    """What is wrong with a file, and what is only worth a word; each names its place."""

    file: str
    problems: list[Problem] = field(default_factory=list)
    system_lines: list[int] = field(default_factory=list)  # rows with a system message: told once, with a count

    def add(self, line: int | None, key: str | None, code: str, expected: str, found: str, fix: str) -> None:
        """Note a problem. What it quotes from the file is cut to size."""
        file, expected, found, fix = (shown(text, 400) for text in (self.file, expected, found, fix))
        key = None if key is None else shown(key, 100)
        self.problems.append(Problem(file=file, line=line, key=key, code=code, expected=expected, found=found, fix=fix))


def recognize(row: dict[str, Any]) -> Format:
    """Which of OpenAI's file formats a row is in, by its keys; reinforcement unless another one is plain."""
    keys = row.keys()
    if "messages" not in keys:
        if {"input", "preferred_output"} <= keys or {"input", "preferred_completion"} <= keys:
            return "preference"
        if {"prompt", "completion"} <= keys:
            return "completion"
        if isinstance(row.get("item"), dict) and keys <= {"item", "sample"}:
            return "eval"
        return "reinforcement"
    messages = row["messages"]
    last = messages[-1] if isinstance(messages, list) and messages else None
    is_answer = isinstance(last, dict) and last.get("role") == "assistant"
    has_only_chat = keys <= {"messages", "tools", "parallel_tool_calls", "functions"}
    return "supervised" if is_answer and has_only_chat else "reinforcement"


def add_wrong_format(findings: Findings, line: int, kind: Format, *, whole_file: bool) -> None:
    """Say which other format this is, once for a file or for one row among good ones."""
    found = FORMATS[kind] if whole_file else f"a row as in {FORMATS[kind]}"
    expected = "rows for reinforcement fine-tuning, which end with the user's message"
    findings.add(line, None, "invalid_file_format", expected, found, _FIXES[kind])


def check_row(findings: Findings, line: int, row: dict[str, Any]) -> list[dict[str, Any]] | None:
    """Note what is wrong with a row for reinforcement; see :func:`check_conversation` for what is returned."""
    cleaned = check_conversation(findings, line, row)
    if cleaned is None:
        return None
    messages = row["messages"]
    last = messages[-1]
    if isinstance(last, dict) and last.get("role") == "assistant":
        expected = "a last message from user, developer or tool, which the model answers"
        key, fix = f"messages[{len(messages) - 1}].role", _FIXES["supervised"]
        findings.add(line, key, "ends_with_assistant", expected, '"assistant"', fix)
    if any(isinstance(message, dict) and message.get("role") == "system" for message in messages):
        findings.system_lines.append(line)
    return cleaned


def check_conversation(findings: Findings, line: int, row: dict[str, Any]) -> list[dict[str, Any]] | None:
    """Note what is wrong with a row, whatever it is for; return its messages as the model gets them, None without any.

    For the model a system message is a developer message, parts of text are one text, and nulls are absent.
    """
    for key, fix in _REFUSED_KEYS.items():
        if row.get(key) is not None:
            findings.add(line, key, "unrecognized_key", "no such key in a row", "one", fix)
    _check_tools(findings, line, row.get("tools"))
    messages = row.get("messages")
    if not isinstance(messages, list) or not messages:
        found = "nothing" if "messages" not in row else "an empty list" if messages == [] else kind_of(messages)
        close = difflib.get_close_matches("messages", list(row), n=1) if "messages" not in row else []
        hint = f' Is it what you called "{close[0]}"?' if close else ""
        fix = f'Add the prompt: "messages": [{{"role": "user", "content": "…"}}].{hint}'
        findings.add(line, "messages", "missing_messages_list", "a list of at least one message", found, fix)
        return None
    cleaned = [_check_message(findings, line, f"messages[{n}]", message) for n, message in enumerate(messages)]
    return [message for message in cleaned if message is not None]


def _check_message(findings: Findings, line: int, key: str, message: Any) -> dict[str, Any] | None:
    if not isinstance(message, dict):
        fix = 'Write {"role": "user", "content": "…"}.'
        findings.add(line, key, "data_type", "an object with role and content", kind_of(message), fix)
        return None
    for name in message:
        if name == "function_call" and message[name] is not None:
            fix = "Write the call as tool_calls."
            findings.add(line, f"{key}.{name}", "message_unrecognized_key", "no such key", "one", fix)
        elif name not in MESSAGE_KEYS and message[name] is not None:
            expected = f"only {', '.join(MESSAGE_KEYS)}"
            fix = "Remove it, or move it out of the message to the row." + _did_you_mean(name, MESSAGE_KEYS)
            findings.add(line, f"{key}.{name}", "message_unrecognized_key", expected, f'"{name}"', fix)
    role = message.get("role")
    _check_role(findings, line, f"{key}.role", message)
    clean = {name: value for name, value in message.items() if value is not None and name != "weight"}
    clean["role"] = "developer" if role == "system" else role
    calls = message.get("tool_calls")
    if calls is not None and (not isinstance(calls, list) or role != "assistant"):
        expected = "tool_calls only as a list, in a message of the assistant"
        findings.add(line, f"{key}.tool_calls", "data_type", expected, kind_of(calls), "Remove it.")
    if role == "tool" and not isinstance(message.get("tool_call_id"), str):
        fix = "Add the id of the call that this message answers."
        found = kind_of(message["tool_call_id"]) if "tool_call_id" in message else "nothing"
        findings.add(line, f"{key}.tool_call_id", "message_missing_key", "a string", found, fix)
    is_call = role == "assistant" and bool(calls)
    text = _check_content(findings, line, f"{key}.content", message, may_be_absent=is_call)
    if text is not None:
        clean["content"] = text
    return clean


def _check_role(findings: Findings, line: int, key: str, message: dict[str, Any]) -> None:
    expected = f"one of {', '.join(ROLES)}"
    role = message.get("role")
    if "role" not in message:
        findings.add(line, key, "message_missing_key", expected, "nothing", "Say who speaks.")
    elif not isinstance(role, str):
        findings.add(line, key, "unrecognized_role", expected, kind_of(role), "Say who speaks.")
    elif role not in ROLES and role != "system":
        hint = _did_you_mean(role, (*ROLES, "system"))
        findings.add(line, key, "unrecognized_role", expected, f'"{role[:40]}"', "Use one of these." + hint)


def _check_content(
    findings: Findings, line: int, key: str, message: dict[str, Any], *, may_be_absent: bool
) -> str | None:
    """The content as one text; None where there is none or it is wrong."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    if content is None:
        if not may_be_absent:
            code = "missing_content" if "content" in message else "message_missing_key"
            found = "null" if "content" in message else "nothing"
            findings.add(line, key, code, "a string", found, "Add the text of the message.")
        return None
    if not isinstance(content, list):
        findings.add(line, key, "data_type", "a string", kind_of(content), "Put it in quotes.")
        return None
    texts = []
    for n, part in enumerate(content):
        part_kind = part.get("type") if isinstance(part, dict) else None
        if part_kind == "text" and isinstance(part.get("text"), str):
            texts.append(part["text"])
            continue
        if isinstance(part_kind, str) and part_kind != "text":
            found = f'a part of type "{part_kind[:40]}"'
            fix = "Only text is supported so far; images, audio and files are not supported yet."
        else:
            found, fix = kind_of(part), 'Write {"type": "text", "text": "…"}, or the content as one string.'
        findings.add(line, f"{key}[{n}]", "unsupported_content", "a text part", found, fix)
    return "".join(texts) if len(texts) == len(content) else None


def _check_tools(findings: Findings, line: int, tools: Any) -> None:
    if tools is None:
        return
    fix = 'Write [{"type": "function", "function": {"name": "…", "parameters": {…}}}].'
    if not isinstance(tools, list):
        findings.add(line, "tools", "data_type", "a list of function tools", kind_of(tools), fix)
        return
    for n, tool in enumerate(tools):
        function = tool.get("function") if isinstance(tool, dict) else None
        is_function = isinstance(tool, dict) and tool.get("type") == "function" and isinstance(function, dict)
        if not is_function or not isinstance(function.get("name"), str):  # type: ignore[union-attr]
            found = kind_of(tool) if not isinstance(tool, dict) else "an object without type, function or name"
            findings.add(line, f"tools[{n}]", "invalid_tool", "a function tool with a name", found, fix)


def kind_of(value: Any) -> str:
    """A JSON value's type, with a small value itself, for a message."""
    if isinstance(value, str):
        return f'the string "{value[:40]}{"…" if len(value) > 40 else ""}"'
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    names: dict[type, str] = {dict: "an object", list: "a list"}
    return names.get(type(value), f"the number {str(value)[:40]}")


def _did_you_mean(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(known), n=1)
    return f' Did you mean "{close[0]}"?' if close else ""
