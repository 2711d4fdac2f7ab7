"""How much of a GPU a cohort takes: asked of its own engine, for libraries take more than is counted on paper."""

import gc
from collections.abc import Callable
from dataclasses import replace

import torch

from lit_models.cohort.engine import Setting
from lit_models.cohort.record import CohortSpec
from lit_models.cohort.run import build_engine
from lit_models.core.data import EVAL_BATCH

# What a process takes of a GPU beside torch's allocator: the context, and the kernels of cuBLAS and cuDNN. On an H100
# with torch 2.11 it was 750 to 825 MiB.
CONTEXT = 1 << 30
# Share of a GPU that cohorts may fill: beside them are the planning process's context, and memory in pieces too small.
SPARE = 0.9


def gpu_memory() -> int:
    """Bytes of a GPU that cohorts may fill, 0 without a GPU.

    Of its whole memory, not of what happens to be free: a plan must come out the same on all machines of a kind.
    """
    if not torch.cuda.is_available():
        return 0
    return int(torch.cuda.get_device_properties(0).total_memory * SPARE)


def computing_on(kind: str) -> torch.device:
    """The device on which what is planned for that kind of device is tried."""
    return torch.device(kind)


def peak(step: Callable[[], object]) -> int:
    """Return the most bytes that torch's allocator holds of the GPU while `step` runs.

    Raises:
        torch.OutOfMemoryError: it does not fit.
    """
    release()
    torch.cuda.reset_peak_memory_stats()
    step()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_reserved()


def release() -> None:
    """Give back to the GPU, if there is one, what torch keeps of it in reserve."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def cohort_memory(spec: CohortSpec, setting: Setting, available: int) -> int:
    """Return the bytes of a GPU that a cohort takes, data, context and all; 0 if that is more than is available.

    Args:
        spec: the cohort.
        setting: as it will be trained.
        available: bytes.
    """
    data = setting.data
    size = max(config["batch_size"] for config in spec.configs)
    few = replace(data, x=data.x[:size], y=data.y[:size], val_x=data.val_x[:EVAL_BATCH], val_y=data.val_y[:EVAL_BATCH])
    setting = replace(setting, data=few, compiled=spec.compiled)

    def train() -> object:
        engine = build_engine(spec, setting)
        # The first step of a CUDA graph is taken without it, the second one in it.
        return [engine.run_epoch(epoch) for epoch in range(2)][-1]

    try:
        need = CONTEXT + peak(train)
    except torch.OutOfMemoryError:
        return 0
    return need if need <= available else 0
