"""JSON that a run has written, for answers of the API."""

from __future__ import annotations

import json
from typing import Any


def read_json(text: bytes) -> Any:
    """What ``text`` says, with U+FFFD for half a surrogate pair: JSON spells it, but an answer is UTF-8, which cannot.

    Models and graders do write such halves, and files keep them.
    """
    if b"\\ud" not in text:
        return json.loads(text)
    whole = json.dumps(json.loads(text), ensure_ascii=False)
    # In UTF-16 two halves that belong together are one character; what is alone is an error, and replaced.
    return json.loads(whole.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
