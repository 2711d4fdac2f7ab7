"""How the benchmark times: contenders train epochs over the same data in turns; the median of their turns counts."""

import math
import os
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import cast

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from lit_models.cohort import memory
from lit_models.cohort.bench_networks import Case
from lit_models.cohort.compiled import MODE
from lit_models.cohort.cost import Cost, step_cost
from lit_models.cohort.data import CohortData
from lit_models.cohort.engine import Engine, Setting
from lit_models.cohort.fused import FusedEngine
from lit_models.cohort.lanes import Lane
from lit_models.cohort.lone import LoneEngine
from lit_models.core.config import ImageConfig
from lit_models.core.optim import build_optimizer

# Trains and validates for one epoch, of the number that it is given.
Epoch = Callable[[int], object]
WARM_UP = 2


def noise(case: Case, samples: int, device: torch.device) -> CohortData:
    """Make uint8 noise to train on, and a batch of 64 to validate on."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (samples + 64, *case.shape), dtype=torch.uint8, generator=generator)
    y = torch.randint(0, case.spec.classes, (samples + 64,), generator=generator)
    return CohortData(x[:samples], y[:samples], x[samples:], y[samples:], case.spec).to(device)


def lane_configs(case: Case, lanes: int, precision: str) -> list[ImageConfig]:
    """Hyperparameters that differ from lane to lane, as they do in a search."""
    shared = {"schedule": "constant", "precision": precision, **case.config}
    kind = cast("type[ImageConfig]", case.family.Config)
    return [
        kind(
            lr=1e-3 * (1 + share),
            weight_decay=0.01 * share,
            dropout=0.1 + 0.2 * share,
            label_smoothing=0.1 * share,
            **shared,
        )
        for share in (lane / lanes for lane in range(lanes))
    ]


def cost_of(case: Case) -> Cost:
    """What a lane's step costs."""
    return step_cost(case.family, lane_configs(case, 1, "32")[0], case.spec)


def fused(case: Case, lanes: int, data: CohortData, precision: str, mode: str) -> Epoch:
    """The fused engine; `mode` is eager, graphs or compiled."""
    setting = Setting(case.family, data, 1, data.x.device, compiled=mode == "compiled", graphs=mode == "graphs")
    return FusedEngine(_lanes(case, lanes, precision), setting).run_epoch


def lone(case: Case, data: CohortData, precision: str) -> Epoch:
    """The lone engine, with one lane."""
    engine: Engine = LoneEngine(_lanes(case, 1, precision), Setting(case.family, data, 1, data.x.device))
    return engine.run_epoch


def _lanes(case: Case, lanes: int, precision: str) -> list[Lane]:
    return [Lane(number, config, number) for number, config in enumerate(lane_configs(case, lanes, precision))]


def plain(case: Case, data: CohortData, precision: str, compiled: bool) -> Epoch:
    """The loop that a person would write: data on the device, normalised beforehand; no engine, no noise by counter."""
    (config,) = lane_configs(case, 1, precision)
    model = case.family(config, case.spec)
    network = case.plain(model).to(data.x.device)
    optimizer = build_optimizer(network.parameters(), config)
    model.to(data.x.device)
    train, validate = (model.normalize(model.unit(x)) for x in (data.x, data.val_x))
    called: nn.Module | Callable[[Tensor], Tensor] = network
    if compiled:
        called = torch.compile(network, mode=MODE[data.x.device.type])

    def loss(x: Tensor, y: Tensor) -> Tensor:
        with torch.autocast(x.device.type, torch.bfloat16) if precision == "bf16" else nullcontext():
            logits = called(x)
        return F.cross_entropy(logits.float(), y, label_smoothing=config.label_smoothing)

    def epoch(_: int) -> float:
        network.train()
        for index in torch.split(torch.randperm(len(data.y), device=data.x.device), config.batch_size):
            optimizer.zero_grad()
            torch.autograd.backward(loss(train[index], data.y[index]))
            optimizer.step()
        network.eval()
        with torch.no_grad():
            return float(F.cross_entropy(network(validate), data.val_y))

    return epoch


@dataclass
class Timed:
    """What came of a contender: lane-samples per second, or why there are none."""

    rate: float = 0.0
    fault: str = ""


def rates(
    contenders: Mapping[str, Callable[[], Epoch]], samples: Mapping[str, int], rounds: int, seconds: float
) -> dict[str, Timed]:
    """Time each contender in turns.

    Args:
        contenders: builders, by name.
        samples: of an epoch, all lanes together, by name.
        rounds: turns, the median of which counts.
        seconds: how long a turn lasts at least, in whole epochs.
    """
    results = {name: Timed() for name in contenders}
    ready, epochs, done = {}, {}, {}
    for name, build in contenders.items():
        try:
            epoch = build()
            for number in range(WARM_UP):
                epoch(number)
            epochs[name] = max(1, math.ceil(seconds / _seconds(epoch, WARM_UP, 1)))
        except (RuntimeError, MemoryError) as error:  # torch's own OutOfMemoryError among them
            results[name].fault = _reason(error)
            continue
        ready[name], done[name] = epoch, WARM_UP + 1
    turns: dict[str, list[float]] = {name: [] for name in ready}
    for _ in range(rounds):
        for name, epoch in ready.items():
            turns[name].append(_seconds(epoch, done[name], epochs[name]) / epochs[name])
            done[name] += epochs[name]
    for name, times in turns.items():
        results[name].rate = samples[name] / median(times)
    return results


def _reason(error: Exception) -> str:
    full = isinstance(error, torch.OutOfMemoryError | MemoryError) or "allocate memory" in str(error)
    return "out of memory" if full else str(error).splitlines()[0][:60]


def _seconds(epoch: Epoch, first: int, count: int) -> float:
    """Seconds that so many epochs take."""
    _synchronize()
    began = time.perf_counter()
    for number in range(first, first + count):
        epoch(number)
    _synchronize()
    return time.perf_counter() - began


def _synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def release() -> None:
    """Give memory back after a cell: what was compiled, and what torch holds in reserve."""
    torch.compiler.reset()
    memory.release()


def too_large(cost: Cost, lanes: int, device: str) -> str:
    """Say that so many lanes need more than the machine's memory; on a GPU that is tried instead."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    need = lanes * cost.bytes
    return f"needs about {need / 1e9:.0f} GB" if device == "cpu" and need > whole / 2 else ""


def machine(device: str) -> str:
    """Name what is measured on."""
    torch_and_threads = f"torch {torch.__version__}, {torch.get_num_threads()} CPU thread(s)"
    if device == "cuda":
        gigabytes = torch.cuda.get_device_properties(0).total_memory / 1e9
        return f"{torch.cuda.get_device_name(0)}, {gigabytes:.0f} GB, CUDA {torch.version.cuda}; {torch_and_threads}"
    return f"{_processor()}; {torch_and_threads}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return "CPU"
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "CPU")
