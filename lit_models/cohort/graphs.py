"""Steps on a GPU as CUDA graphs: noted down once for each set of shapes, and replayed without Python from then on.

A step of small networks is some hundred kernels of a few microseconds each. Python, `torch.vmap` and autograd take
longer to launch them than a GPU takes to run them: stacked LSTMs kept an H100 busy for a tenth of the time. A graph
launches them all at once. They are the same kernels, so that results are what they would be without.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

log = logging.getLogger(__name__)

Tensors = tuple[Tensor, ...]


@dataclass(frozen=True)
class _Captured:
    """A graph, the tensors that it reads its inputs from, and those that it writes its results to."""

    graph: torch.cuda.CUDAGraph
    inputs: Tensors
    results: Tensors


class Graphed:
    """Calls a function of tensors that are on a GPU, from the second call with the same shapes on as a CUDA graph.

    What else the function reads or changes must stay where it is in the GPU's memory, or `forget` be called. What
    cannot be captured, because it waits for the GPU halfway, is called as it is.

    Attributes:
        possible: whether nothing was met yet that cannot be captured.

    Args:
        step: takes tensors and returns tensors.
    """

    def __init__(self, step: Callable[..., Tensors]) -> None:
        self._step = step
        self.possible = True
        self.forget()

    def forget(self) -> None:
        """Let go of all graphs: tensors that they know have moved."""
        self._graphs: dict[tuple[torch.Size, ...], _Captured | None] = {}
        self._pool: Any = None

    def __call__(self, *inputs: Tensor) -> Tensors:
        """Do what `step` does."""
        shapes = tuple(tensor.shape for tensor in inputs)
        if self.possible and shapes in self._graphs and self._graphs[shapes] is None:
            self._graphs[shapes] = self._capture(inputs)
        captured = self._graphs.get(shapes)
        if captured is None:
            # The first time libraries are loaded and choose their kernels, which no capture allows.
            self._graphs[shapes] = None
            return self._step(*inputs)
        for own, given in zip(captured.inputs, inputs, strict=True):
            own.copy_(given)
        captured.graph.replay()
        # The next replay writes its results where these are.
        return tuple(result.clone() for result in captured.results)

    def _capture(self, inputs: Tensors) -> _Captured | None:
        """Note the step down, which does not take it; None if it cannot be noted down."""
        own = tuple(tensor.clone() for tensor in inputs)
        graph, stream = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
        try:
            # One pool for all: they run one after another, and nothing but results outlives a replay.
            with torch.cuda.graph(graph, pool=self._pool):
                results = self._step(*own)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            torch.cuda.set_stream(stream)  # where torch leaves a capture by an exception, it does not
            self.possible = False
            log.info("no CUDA graph: %s", str(error).splitlines()[0][:160])
            return None
        self._pool = graph.pool()
        return _Captured(graph, own, results)
