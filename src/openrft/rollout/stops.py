"""Stop strings: where a completion's text ends before its tokens do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def cut_at_stop(text: str, stops: Sequence[str]) -> str | None:
    """``text`` before the first of the stop strings, or None when it holds none of them."""
    places = [place for place in (text.find(stop) for stop in stops) if place >= 0]
    return text[: min(places)] if places else None


class StopWatch:
    """Follows one completion token by token and says when a stop string is complete.

    Decoding everything after each token would be quadratic. Every visible token spells at least one byte, so
    a stop string of n bytes that the newest token completes lies within the last n visible tokens; only these
    are decoded. What looks like a match there is confirmed on the whole text, because a tokenizer may decode
    the first token of a window differently from the same token inside a text.
    """

    def __init__(self, stops: Sequence[str], tokenizer: Any) -> None:
        self._stops = tuple(stops)
        self._tokenizer = tokenizer
        self._invisible = frozenset(tokenizer.all_special_ids)
        self._visible: list[int] = []
        # A few more than needed, because the window's first token may be the tail of a character.
        self._window = max(len(stop.encode()) for stop in stops) + 4

    def push(self, token_id: int) -> str | None:
        """Add the newest token. Returns the text before the stop string once one is complete, else None."""
        if token_id in self._invisible:
            return None
        self._visible.append(token_id)
        if cut_at_stop(self._decode(self._visible[-self._window :]), self._stops) is None:
            return None
        return cut_at_stop(self._decode(self._visible), self._stops)

    def _decode(self, token_ids: list[int]) -> str:
        text: str = self._tokenizer.decode(token_ids, skip_special_tokens=True)
        return text
