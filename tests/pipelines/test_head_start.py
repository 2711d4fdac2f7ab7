"""The first cohorts are trained while Ray starts, and whoever takes over ends in the same bits."""

import errno
import json
import time
from collections.abc import Callable, Iterator
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
from pipelines.head_start import HeadStart
from pipelines.searching.cohort_work import AHEAD_SECONDS, NAME
from pipelines.searching.cohorts import Cohort
from pipelines.searching.planning import plan
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


def wait_until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def wait_for(path: Path) -> None:
    wait_until(path.exists)


def train(cohort: Cohort, task: dict[str, Any], state: Path) -> dict[str, Any]:
    """Train to the end; return what does not depend on a clock."""
    spec = CohortSpec.of(json.loads(json.dumps(cohort)))
    read = CohortData.read(Path(task["prepared"]), Path(task["augmented"]))
    found = json.loads(run_cohort(spec, FAMILIES["mlp"], read, state, lambda _: None).text())
    for lane in found["lanes"].values():
        del lane["ended"]
    return {name: found[name] for name in ("epoch", "lanes")}


def unheard(cohort: Cohort, record: str) -> None:
    """Take no notice."""


def test_whoever_takes_over_ends_in_the_same_bits(task: dict[str, Any], data: Path, tmp_path: Path) -> None:  # noqa: F811
    first, second, third = planned(data, 800)
    state = Path(task["state"])
    checkpoint = state / f"{first['name']}.safetensors"
    with closing(HeadStart(task["zygote"], task, 2)) as ahead:
        ahead.begin([first, second, third], unheard)
        wait_for(checkpoint)
        assert workers()
        ahead.stop(first["name"])
        left = checkpoint.stat()
        ahead.stop(third["name"])  # that would have been the first one's next
        time.sleep(2 * AHEAD_SECONDS)
        assert checkpoint.stat() == left, "its files are another's when the call returns"
        assert not list(state.glob(f"{third['name']}.*"))
    wait_until(lambda: not workers())
    aside = tmp_path / "aside"
    aside.mkdir()
    assert train(first, task, state) == train(first, task, aside)


def test_what_it_has_finished_is_finished(task: dict[str, Any], data: Path) -> None:  # noqa: F811
    cohorts = planned(data, 2)
    with closing(HeadStart(task["zygote"], task, 1)) as ahead:
        ahead.begin(cohorts, unheard)
        for cohort in cohorts:
            done = Path(task["state"]) / f"{cohort['name']}.done.safetensors"
            wait_for(done)
            record = read_record(done)
            assert record is not None
            assert record.epoch == 2
        ahead.stop(cohorts[0]["name"])


def test_every_epoch_is_told_once_and_in_order(task: dict[str, Any], data: Path) -> None:  # noqa: F811
    """Whoever takes over begins where what was told ends, or before: no epoch is told that is not safe on disk."""
    cohorts = planned(data, 300)
    told: dict[str, list[dict[str, Any]]] = {cohort["name"]: [] for cohort in cohorts}

    def tell(cohort: Cohort, record: str) -> None:
        told[cohort["name"]].append(json.loads(record))

    with closing(HeadStart(task["zygote"], task, 2)) as ahead:
        ahead.begin(cohorts, tell)
        wait_until(lambda: all(told[cohort["name"]] for cohort in cohorts[:2]))
        for cohort in cohorts:
            ahead.stop(cohort["name"])
            files = [Path(task["state"]) / f"{cohort['name']}.{end}" for end in ("done.safetensors", "safetensors")]
            saved = next((found for file in files if (found := read_record(file)) is not None), None)
            lane = str(cohort["trials"][0])
            heard = [epoch for record in told[cohort["name"]] for epoch in record["lanes"][lane]["epochs"]]
            safe = json.loads(saved.text())["lanes"][lane]["epochs"] if saved else []
            assert heard == safe[: len(heard)]


def test_what_goes_wrong_in_telling_is_raised_by_whoever_takes_over(task: dict[str, Any], data: Path) -> None:  # noqa: F811
    cohorts = planned(data, 300)
    tried = []

    def tell(cohort: Cohort, record: str) -> None:
        tried.append(cohort)
        raise OSError(errno.ENOSPC, "No space left on device")

    with closing(HeadStart(task["zygote"], task, 1)) as ahead:
        ahead.begin(cohorts, tell)
        wait_until(lambda: tried)
        with pytest.raises(OSError, match="No space left"):
            ahead.stop(cohorts[0]["name"])
    assert len(tried) == 1
    wait_until(lambda: not workers())


def test_closed_it_begins_nothing(task: dict[str, Any], data: Path) -> None:  # noqa: F811
    """It was interrupted while the first cohorts were planned."""
    ahead = HeadStart(task["zygote"], task, 2)
    ahead.close()
    ahead.begin(planned(data, 2), unheard)
    time.sleep(0.2)
    assert not workers()


def test_a_gpu_is_left_to_ray(task: dict[str, Any], data: Path) -> None:  # noqa: F811
    cohorts = [{**cohort, "device": "cuda"} for cohort in planned(data, 2)]
    with closing(HeadStart(task["zygote"], task, 2)) as ahead:
        ahead.begin(cohorts, unheard)
        time.sleep(0.2)
        assert not workers()


def test_without_what_forks_nothing_is_begun(task: dict[str, Any], data: Path, tmp_path: Path) -> None:  # noqa: F811
    with closing(HeadStart(str(tmp_path / "nobody"), task, 2)) as ahead:
        ahead.begin(planned(data, 2), unheard)
        ahead.stop("c00000")
