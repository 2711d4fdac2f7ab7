"""The first cohorts are trained while Ray starts, and whoever takes over ends in the same bits."""

import json
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest

from lit_models import FAMILIES
from lit_models.cohort.checkpoint import read_record
from lit_models.cohort.data import CohortData
from lit_models.cohort.record import CohortSpec
from lit_models.cohort.run import run_cohort
from pipelines import zygote
from pipelines.cohort_work import AHEAD_SECONDS, NAME
from pipelines.cohorts import Cohort
from pipelines.head_start import HeadStart
from pipelines.planning import plan
from tests.pipelines.test_planning import data, order  # noqa: F401  a fixture

PATIENCE = 120.0


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with zygote.started(tmp_path_factory.mktemp("z")) as address:
        yield address


@pytest.fixture
def task(data: Path, tmp_path: Path, address: str) -> dict[str, Any]:  # noqa: F811
    state = tmp_path / "state"
    state.mkdir()
    folders = {"prepared": data / "prepared", "augmented": data / "augmented", "state": state}
    return {"family": "mlp", "zygote": address, **{name: str(path) for name, path in folders.items()}}


def planned(folder: Path, epochs: int) -> list[Cohort]:
    """Three cohorts of two lanes."""
    found = plan(order(folder, trials=6, epochs=epochs, K=2)).cohorts
    assert [len(cohort["trials"]) for cohort in found] == [2, 2, 2]
    return found


def workers() -> list[psutil.Process]:
    children = psutil.Process().children(recursive=True)
    return [one for one in children if one.name() == NAME and one.status() != psutil.STATUS_ZOMBIE]


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def train(cohort: Cohort, task: dict[str, Any], state: Path) -> dict[str, Any]:
    """Train to the end; return what does not depend on a clock."""
    spec = CohortSpec.of(json.loads(json.dumps(cohort)))
    read = CohortData.read(Path(task["prepared"]), Path(task["augmented"]))
    found = json.loads(run_cohort(spec, FAMILIES["mlp"], read, state, lambda _: None).text())
    for lane in found["lanes"].values():
        del lane["ended"]
    return {name: found[name] for name in ("epoch", "lanes")}


def test_whoever_takes_over_ends_in_the_same_bits(task: dict[str, Any], data: Path, tmp_path: Path) -> None:  # noqa: F811
    first, second, third = planned(data, 800)
    state = Path(task["state"])
    checkpoint = state / f"{first['name']}.safetensors"
    with closing(HeadStart(task["zygote"], task, 2)) as ahead:
        ahead.begin([first, second, third])
        wait_for(checkpoint)
        assert workers()
        ahead.stop(first["name"])
        left = checkpoint.stat()
        ahead.stop(third["name"])  # that would have been the first one's next
        time.sleep(2 * AHEAD_SECONDS)
        assert checkpoint.stat() == left, "its files are another's when the call returns"
        assert not list(state.glob(f"{third['name']}.*"))
    deadline = time.monotonic() + PATIENCE
    while workers():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    aside = tmp_path / "aside"
    aside.mkdir()
    assert train(first, task, state) == train(first, task, aside)


def test_what_it_has_finished_is_finished(task: dict[str, Any], data: Path) -> None:  # noqa: F811
    cohorts = planned(data, 2)
    with closing(HeadStart(task["zygote"], task, 1)) as ahead:
        ahead.begin(cohorts)
        for cohort in cohorts:
            done = Path(task["state"]) / f"{cohort['name']}.done.safetensors"
            wait_for(done)
            record = read_record(done)
            assert record is not None
            assert record.epoch == 2
        ahead.stop(cohorts[0]["name"])


def test_a_gpu_is_left_to_ray(task: dict[str, Any], data: Path) -> None:  # noqa: F811
    cohorts = [{**cohort, "device": "cuda"} for cohort in planned(data, 2)]
    with closing(HeadStart(task["zygote"], task, 2)) as ahead:
        ahead.begin(cohorts)
        time.sleep(0.2)
        assert not workers()


def test_without_what_forks_nothing_is_begun(task: dict[str, Any], data: Path, tmp_path: Path) -> None:  # noqa: F811
    with closing(HeadStart(str(tmp_path / "nobody"), task, 2)) as ahead:
        ahead.begin(planned(data, 2))
        ahead.stop("c00000")
