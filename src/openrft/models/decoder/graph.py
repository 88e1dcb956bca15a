"""A step of fixed shapes on a GPU: recorded once as a CUDA graph, then replayed as a whole.

A token is some hundreds of short kernels, and starting one from Python takes longer than many of them run. A graph
starts them all at once. It reads and writes the memory that it was recorded with, so whoever changes a shape, or puts
another tensor into a place, calls :meth:`Replayed.forget`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from openrft.models.memory import is_out_of_memory

Step = Callable[[Tensor], Tensor]


class Replayed:
    """Takes steps of one tensor, with the results that calling them has; on a CPU that is all it does.

    A step may not wait for the device, nor depend on anything of Python's that changes while shapes do not. What it
    returns is overwritten by the next call.
    """

    def __init__(self, device: torch.device) -> None:
        self._is_recording = device.type == "cuda"
        self._has_run = False
        self._graph: Any = None  # torch.cuda.CUDAGraph
        self._given: Tensor | None = None
        self._result: Tensor | None = None
        self._pool: Any = None  # memory that one recording leaves to the next

    def __call__(self, step: Step, given: Tensor) -> Tensor:
        """One step, the same one every time. The first of new shapes runs as it is, the second is recorded."""
        if not self._is_recording:
            return step(given)
        if self._graph is None:
            if not self._has_run:  # libraries get ready in their first call, which no graph can hold
                self._has_run = True
                return step(given)
            if not self._record(step, given):
                return step(given)
        assert self._given is not None
        assert self._result is not None
        self._given.copy_(given)
        self._graph.replay()
        return self._result

    def forget(self) -> None:
        """Shapes or tensors are others from now on."""
        self._graph = self._given = self._result = None
        self._has_run = False

    def _record(self, step: Step, given: Tensor) -> bool:
        """Recording computes nothing; False, and no further try, where it is not possible."""
        graph, static, stream = torch.cuda.CUDAGraph(), given.clone(), torch.cuda.current_stream()
        try:
            # Other threads may use the GPU meanwhile.
            with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
                result = step(static)
        except RuntimeError as error:
            torch.cuda.set_stream(stream)  # a recording that failed leaves its own behind
            for problem in (error, error.__context__):  # ending a failed recording may fail as well
                if problem is not None and is_out_of_memory(problem):
                    raise problem from None
            logging.getLogger(__name__).warning("tokens are sampled without CUDA graphs, which is slower: %s", error)
            self._is_recording = False
            return False
        self._graph, self._given, self._result, self._pool = graph, static, result, graph.pool()
        return True
