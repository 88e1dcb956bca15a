"""TensorBoard: event files in a folder."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.types_pb2 import DT_STRING
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from openrft.config.integrations import TensorBoard
from openrft.tracking.tracker import RunFacts, Status, verdict


class TensorBoardTracker:
    """A file for each attempt would show steps twice: an attempt writes the run's whole history and removes the file
    of the one before.
    """

    def __init__(self, options: TensorBoard) -> None:
        self._folder = options.folder

    def start(self, run: RunFacts, config: Mapping[str, Any]) -> int | None:
        """Begin the run's file; it holds nothing yet."""
        folder = Path(run.tensorboard_folder)
        if self._folder is not None:
            folder = Path(self._folder) / run.name
        folder.mkdir(parents=True, exist_ok=True)
        ours = f".openrft-{run.id}"
        for path in folder.glob(f"events.out.tfevents.*{ours}"):
            path.unlink()
        self._writer = EventFileWriter(str(folder), filename_suffix=ours)
        self._text("config", 0, f"```json\n{json.dumps(config, indent=2, ensure_ascii=False)}\n```")
        return None

    def step(self, step: int, metrics: Mapping[str, float]) -> None:
        """One event with all of them."""
        self._write(step, Summary(value=[Summary.Value(tag=tag, simple_value=it) for tag, it in metrics.items()]))
        self._writer.flush()

    def event(self, step: int, message: str, level: str) -> None:
        """A text."""
        self._text("events", step, message if level == "info" else f"**{level}**: {message}")

    def finish(self, status: Status, report: Mapping[str, Any] | None, files: Sequence[Path]) -> None:
        """The report as a text, its figures as numbers."""
        if report is not None:
            step = int(report["shipped_step"])
            self.step(step, verdict(report))
            self._text("report", step, str(report["sentence"]))
        self._writer.close()

    def _text(self, tag: str, step: int, text: str) -> None:
        """What TensorBoard's page of texts shows, as Markdown."""
        content = TensorProto(dtype=DT_STRING, string_val=[text.encode("utf-8", "backslashreplace")])
        metadata = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="text"))
        self._write(step, Summary(value=[Summary.Value(tag=tag, tensor=content, metadata=metadata)]))

    def _write(self, step: int, summary: Summary) -> None:
        self._writer.add_event(Event(wall_time=time.time(), step=step, summary=summary))
