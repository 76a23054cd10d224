"""A training step as one CUDA graph: small models spend their time on launches, and a graph launches all at once."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from dnamamba.errors import InputWarning

WARM_UP = 3
"""Steps that run one kernel after the other first: kernels are compiled and libraries take their workspaces there."""


class CapturedStep:
    """Calls `step` once a call; on a GPU, after a few calls, by replaying a recording of it.

    `step` must do the same each time, on tensors that stay where they are: what changes between calls (a step number)
    is in a tensor that the step itself moves on. `before_capture` lets go of what the recording is to allocate anew.
    """

    def __init__(self, step: Callable[[], None], before_capture: Callable[[], None], device: torch.device) -> None:
        self._step = step
        self._before_capture = before_capture
        self._graph: torch.cuda.CUDAGraph | None = None
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]
        self._left = WARM_UP

    @property
    def is_captured(self) -> bool:
        """Whether calls replay a recording by now."""
        return self._graph is not None

    def __call__(self) -> None:
        if self._graph is not None:
            self._graph.replay()
        elif self._stream is None:
            self._step()
        elif self._left > 0:
            self._left -= 1
            with _beside(self._stream):
                self._step()
        else:
            self._graph = self._capture()
            if self._graph is None:
                self._stream = None
            self()

    def _capture(self) -> torch.cuda.CUDAGraph | None:
        self._before_capture()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                self._step()
        except RuntimeError as error:
            reason = str(error).partition("\n")[0]
            warnings.warn(
                f"the training step could not be recorded as a CUDA graph ({reason}); it runs slower without",
                InputWarning,
                stacklevel=2,
            )
            self._before_capture()
            return None
        return graph


@contextmanager
def _beside(stream: torch.cuda.Stream) -> Iterator[None]:
    """Work on another stream, after what is queued on this one and before what comes next on it."""
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        yield
    torch.cuda.current_stream().wait_stream(stream)
