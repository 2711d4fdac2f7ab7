"""When a step is taken, noted down and replayed. What CUDA does is played here; test_cohort_gpu.py has it do it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor

from lit_models.cohort.graphs import Graphed


class Device:
    """Keeps account of steps: those taken, and those noted down with the tensors that a replay reads and writes."""

    def __init__(self) -> None:
        self.taken: list[list[float]] = []
        self.noted: list[tuple[Tensor, Tensor]] = []
        self.replayed = 0
        self.capturing = False
        self.refuses = ""

    def step(self, x: Tensor) -> tuple[Tensor]:
        """Double the numbers."""
        if self.capturing and self.refuses:
            raise RuntimeError(self.refuses)
        y = 2 * x
        if self.capturing:
            self.noted.append((x, y))
        else:
            self.taken.append(x.tolist())
        return (y,)


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Device:
    """In place of a GPU."""
    device = Device()

    class Graph:
        def replay(self) -> None:
            device.replayed += 1
            x, y = device.noted[self.number]
            y.copy_(2 * x)

        def pool(self) -> Any:
            return "pool"

    @contextmanager
    def graph(graph: Graph, pool: Any) -> Iterator[None]:
        assert pool == ("pool" if device.noted else None)
        graph.number = len(device.noted)  # type: ignore[attr-defined]
        device.capturing = True
        try:
            yield
        finally:
            device.capturing = False

    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", graph)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: "stream")
    monkeypatch.setattr(torch.cuda, "set_stream", lambda stream: None)
    return device


def call(graphed: Graphed, *numbers: float) -> list[float]:
    (result,) = graphed(torch.tensor(numbers))
    return result.tolist()


def test_the_first_step_is_taken_and_all_others_are_replayed(device: Device) -> None:
    graphed = Graphed(device.step)
    assert [call(graphed, n, 1) for n in (1, 2, 3)] == [[2, 2], [4, 2], [6, 2]]
    assert device.taken == [[1, 1]]
    assert (len(device.noted), device.replayed) == (1, 2)


def test_each_shape_has_a_graph_of_its_own(device: Device) -> None:
    graphed = Graphed(device.step)
    assert [call(graphed, *row) for row in ([1, 2], [3], [4, 5], [6], [7, 8])] == [[2, 4], [6], [8, 10], [12], [14, 16]]
    assert device.taken == [[1, 2], [3]]
    assert len(device.noted) == 2


def test_results_outlive_the_next_replay(device: Device) -> None:
    graphed = Graphed(device.step)
    results = [graphed(torch.tensor([float(n)]))[0] for n in range(4)]
    assert [result.item() for result in results] == [0, 2, 4, 6]


def test_tensors_that_have_moved_are_noted_down_anew(device: Device) -> None:
    graphed = Graphed(device.step)
    for number in (1, 2):
        call(graphed, number)
    device.noted.clear()
    graphed.forget()
    assert [call(graphed, n) for n in (3, 4)] == [[6], [8]]
    assert device.taken == [[1], [3]]


def test_what_cannot_be_noted_down_is_taken_every_time(device: Device) -> None:
    device.refuses = "operation not permitted when stream is capturing"
    graphed = Graphed(device.step)
    assert [call(graphed, n) for n in (1, 2, 3)] == [[2], [4], [6]]
    assert device.taken == [[1], [2], [3]]
    assert not graphed.possible


def test_too_little_memory_is_told(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    graphed = Graphed(device.step)
    call(graphed, 1)

    def greedy(_: Tensor) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(graphed, "_step", greedy)
    with pytest.raises(torch.OutOfMemoryError):
        call(graphed, 2)
