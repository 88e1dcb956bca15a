"""What a run tells whoever watches it, while it goes on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from openrft.types import Metrics


class Progress(Protocol):
    """Receives a run's news. Called from the thread that trains; must return quickly."""

    def phase(self, text: str, total: int | None = None) -> None:
        """A new piece of work has begun; ``total`` rollouts belong to it, where that is known."""
        ...

    def rollout(self) -> None:
        """One more completion of the present phase is finished."""
        ...

    def step(self, step: int, num_steps: int, metrics: Metrics) -> None:
        """A step is recorded. Step 0 is the untouched base."""
        ...

    def note(self, message: str, level: str = "info", data: Mapping[str, Any] | None = None) -> None:
        """Something that people should read; ``data`` says the same to programs, where it is more than words."""
        ...


class Silence:
    """Tells nobody anything."""

    def phase(self, text: str, total: int | None = None) -> None:
        """Ignored."""

    def rollout(self) -> None:
        """Ignored."""

    def step(self, step: int, num_steps: int, metrics: Metrics) -> None:
        """Ignored."""

    def note(self, message: str, level: str = "info", data: Mapping[str, Any] | None = None) -> None:
        """Ignored."""


class Notes(Silence):
    """Keeps what people should read, for a single JSON document at the end."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def note(self, message: str, level: str = "info", data: Mapping[str, Any] | None = None) -> None:
        """Kept."""
        self.messages.append(message if level == "info" else f"{level}: {message}")
