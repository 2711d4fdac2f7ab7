"""What is decided for GPUs, on a machine that need not have one: what a cohort takes, and how many share a GPU.

The GPU's own part is left out at two seams of lit_models/cohort/memory.py: how large it is, and how much of it a step
takes. The step itself runs, on the CPU.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from lit_models.cohort import compiled, cost, memory
from lit_models.cohort.data import CohortData
from lit_models.cohort.record import CohortSpec
from pipelines.machine import gpu_share
from pipelines.searching.cohort_tuner import _resources, _share
from pipelines.searching.plan_order import Planned
from pipelines.searching.planning import plan
from pipelines.searching.space import Domain
from tests.pipelines.cohorts import cohort
from tests.pipelines.test_planning import data, order, sizes

__all__ = ["data"]

GB = 10**9


@pytest.mark.parametrize(
    ("taken", "total", "workers", "share"),
    [
        ([4 * GB], 16 * GB, 8, 0.25),
        ([4 * GB, 7 * GB, 1 * GB], 16 * GB, 8, 0.5),  # the largest decides
        ([1 * GB], 16 * GB, 3, 0.3333),  # no more parts than workers
        ([1 * GB], 80 * GB, 64, 0.0156),
        ([9 * GB], 16 * GB, 8, 1.0),  # once, not twice
        ([20 * GB], 16 * GB, 8, 1.0),  # not at all: it is tried with a GPU of its own
        ([GB, 0], 16 * GB, 8, 1.0),  # not probed
        ([], 16 * GB, 8, 1.0),
        ([GB], 16 * GB, 1, 1.0),
    ],
)
def test_a_gpu_is_shared_by_as_many_as_fit(taken: list[int], total: int, workers: int, share: float) -> None:
    assert gpu_share(taken, total, workers) == share


def test_ray_places_as_many_as_fit_and_not_one_more() -> None:
    for parts in range(1, 200):
        counted = round(gpu_share([GB], parts * GB, 1000) * 10_000)
        assert 10_000 // counted == min(parts, 99), "Ray counts in ten-thousandths"


def test_each_gpu_takes_its_part_of_the_workers() -> None:
    cohorts = [cohort(0, memory=GB, device="cuda"), cohort(2, memory=2 * GB, device="cuda")]
    assert _share(cohorts, 16 * GB, workers=8, gpus=1) == 0.125
    assert _share(cohorts, 16 * GB, workers=8, gpus=4) == 0.5
    assert _share(cohorts, 16 * GB, workers=8, gpus=0) == 0
    assert _share(cohorts, 0, workers=8, gpus=1) == 0, "planned for the CPU"
    assert _resources(2, 0.125).bundles == [{"CPU": 2, "GPU": 0.125}]
    assert _resources(1, 0).bundles == [{"CPU": 1}]


Pretend = Callable[..., list[int]]


@pytest.fixture
def pretend(monkeypatch: pytest.MonkeyPatch) -> Pretend:
    """Let there be a GPU on which each lane of a step takes 1 GB; return the lanes of each step that is tried."""
    tried: list[int] = []

    def have(gigabytes: int, fits: int = 10**6) -> list[int]:
        def peak(step: Callable[[], Any]) -> int:
            (engine,) = (
                cell.cell_contents for cell in step.__closure__ or () if isinstance(cell.cell_contents, CohortSpec)
            )
            tried.append(len(engine.trials))
            step()
            if tried[-1] > fits:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return tried[-1] * GB

        monkeypatch.setattr(memory, "gpu_memory", lambda: gigabytes * GB)
        monkeypatch.setattr(memory, "computing_on", lambda _: torch.device("cpu"))
        monkeypatch.setattr(memory, "peak", peak)
        return tried

    return have


def test_lanes_are_counted_by_the_gpu_and_one_cohort_is_tried_for_all(data: Path, pretend: Pretend) -> None:
    tried = pretend(1000)
    planned = plan(order(data, trials=300, memory=1))
    assert sizes(planned) == [100] * 3, "128 lanes at most, and main memory does not matter"
    assert tried == [100]
    assert {c["memory"] for c in planned.cohorts} == {100 * GB + memory.CONTEXT}
    assert {c["device"] for c in planned.cohorts} == {"cuda"}
    assert planned.gpu_memory == 1000 * GB


def test_cohorts_that_do_not_fit_are_cut_smaller(data: Path, pretend: Pretend) -> None:
    tried = pretend(1000, fits=20)
    assert sizes(plan(order(data, trials=64))) == [16] * 4
    assert tried == [32, 16]
    tried = pretend(12)
    assert sizes(plan(order(data, trials=64))) == [8] * 8, "fits by itself, and not beside the rest"
    assert tried[2:] == [32, 16, 8]


def test_a_trial_that_does_not_fit_alone_is_one_sentence(data: Path, pretend: Pretend) -> None:
    pretend(12, fits=0)
    planned = plan(order(data, trials=4))
    assert planned.cohorts == []
    assert planned.fault == (
        "one trial ran out of memory when it was tried, and a GPU's cohorts may take 12 GB; "
        "lower batch_size or the model's size"
    )


def test_cohorts_of_different_architectures_are_tried_each(data: Path, pretend: Pretend) -> None:
    tried = pretend(1000)
    planned = plan(order(data, trials=8, space={"hidden": Domain(int=(1, 500))}, model={}))
    assert tried == sizes(planned) == [4, 4]


def test_which_trials_share_a_cohort_depends_on_no_share(data: Path, pretend: Pretend) -> None:
    pretend(1000)
    one, other = plan(order(data, trials=64)), plan(order(data, trials=64))
    assert one == other
    assert all(CohortSpec.of(c).memory > 0 for c in one.cohorts)


def test_on_a_cpu_nothing_is_tried(data: Path) -> None:
    planned = plan(order(data))
    assert {c["memory"] for c in planned.cohorts} == {0}
    assert planned.gpu_memory == (memory.gpu_memory() if torch.cuda.is_available() else 0)


def whether(planned: Planned) -> set[tuple[str, bool]]:
    return {(c["engine"], c["compiled"]) for c in planned.cohorts}


def test_compiled_where_it_is_wanted(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "BACKEND", "eager")
    monkeypatch.setattr(compiled, "MODE", {"cpu": None})
    assert whether(plan(order(data, compile="always"))) == {("fused", True)}
    assert whether(plan(order(data, compile="always", engine="lone"))) == {("lone", False)}
    assert whether(plan(order(data, compile="never"))) == whether(plan(order(data))) == {("fused", False)}
    monkeypatch.setitem(cost.COMPILE, "cpu", True)
    assert whether(plan(order(data))) == {("fused", True)}
    assert whether(plan(order(data, compile="never"))) == {("fused", False)}


def test_what_cannot_be_compiled_is_trained_as_it_is_and_says_so(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(data / "prepared" / "card.json" / "cache"))
    planned = plan(order(data, compile="always"))
    assert whether(planned) == {("fused", False)}
    assert len(planned.notes) == 1
    assert planned.notes[0].startswith("16 trials are trained as they are: torch.compile failed: ")


def test_a_cohort_s_step_is_tried_on_one_batch_of_its_data(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lit_models import FAMILIES
    from lit_models.cohort.engine import Setting

    monkeypatch.setattr(memory, "peak", lambda step: sum(f.train_loss > 0 for f in step().values()))
    whole = CohortData.read(data / "prepared", data / "augmented")
    spec = CohortSpec.of(plan(order(data, trials=4, K=4)).cohorts[0])
    need = memory.cohort_memory(spec, Setting(FAMILIES["mlp"], whole, 10), GB * 10)
    assert need == memory.CONTEXT + 4
    assert memory.cohort_memory(spec, Setting(FAMILIES["mlp"], whole, 10), GB) == 0
