"""Has Ray Tune place the cohorts of a search on this machine's cores and GPUs, or on those of a cluster.

To be imported after `import_ray` was called: Ray reads its settings, the token among them, when it is imported.
"""

import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
from ray import tune

from pipelines.cohort_queue import CohortQueue
from pipelines.costs import Meter
from pipelines.local_ray import local_ray
from pipelines.machine import gpu_share
from pipelines.ray_watch import start_again, watched
from pipelines.searching.cohort_trial import run_trial
from pipelines.searching.cohorts import Cohort, halves
from pipelines.searching.tune_callback import StopAtFault, TuneCallback
from pipelines.stage import Stage
from pipelines.this_machine import ThisMachine

if TYPE_CHECKING:
    from pipelines.ray_cluster import Cluster
    from pipelines.search_state import SearchState
    from pipelines.searching.campaign import Campaign
    from pipelines.searching.recorder import Recorder

Trainable = Callable[[dict[str, Any], dict[str, Any]], None]


@dataclass(frozen=True)
class _Ground:
    """Where cohorts are trained.

    Attributes:
        folder: for what Tune must write on this machine.
        trainable: trains a cohort that it is told of; knows what all share.
        share: told cohorts and the bytes of a GPU, returns the fraction of one that each is given.
        dollars_per_hour: told the machine and the fraction of a GPU that a cohort has there, returns its price.
        is_gone: whether a machine has left.
        take_over: told a cohort that a worker is about to train.
    """

    folder: Path
    trainable: Callable[[dict[str, Any]], None]
    share: Callable[[list[Cohort], int], float]
    dollars_per_hour: Callable[[str, float], float] = lambda *_: 0.0
    is_gone: Callable[[str], bool] = lambda _: False
    take_over: Callable[[Cohort], None] = lambda _: None


def train(
    work: Stage,
    campaign: "Campaign",
    state: "SearchState",
    recorder: "Recorder",
    generations: Iterator[list[Cohort]],
    place: "ThisMachine | Cluster",
    trainable: Trainable = run_trial,
) -> None:
    """Have all cohorts trained; call `import_ray` first.

    Args:
        work: the stage.
        campaign: whose generations these are.
        state: where checkpoints are, and what is split or given up is recorded.
        recorder: keeps the book.
        generations: see `CohortQueue`.
        place: whose cores and GPUs train.
        trainable: trains a cohort in a worker; see `run_trial`.

    Raises:
        Fault: several cohorts met the same error, and none has got anywhere.
        OSError: the book cannot be kept, as the disk is full.
    """
    config = work.params.experiments[work.key].search
    with _here(place, trainable) if isinstance(place, ThisMachine) else _there(work, place, trainable) as ground:
        meter = Meter()
        queue = _queue(work, campaign, state, recorder, generations, ground, meter)
        tuner = tune.Tuner(
            tune.with_resources(ground.trainable, lambda cohort: _resources(config.threads, cohort["gpu"])),
            # A new process for each cohort would spend its time on imports.
            tune_config=tune.TuneConfig(search_alg=queue, num_samples=-1, reuse_actors=True),
            run_config=tune.RunConfig(
                name="search",
                storage_path=str(ground.folder),
                callbacks=[TuneCallback(recorder, queue, meter, ground.dollars_per_hour, ground.take_over)],
                stop=StopAtFault(queue),
                verbose=0,
            ),
        )
        with watched(work.title, place.folder) if isinstance(place, ThisMachine) else place.watched():
            tuner.fit()
        recorder.costs.save()
        if not queue.error and not queue.empty:
            start_again(work.title, "Ray Tune returned before all was done", ground.folder)
    if queue.error:
        raise queue.error


@contextmanager
def _here(place: ThisMachine, trainable: Trainable) -> Iterator[_Ground]:
    """Have Ray here for as long as the block works."""
    workers = place.workers
    # By default Tune would start one worker, and the next when that is at work.
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(workers)
    with local_ray(workers * place.threads, place.folder):
        gpus = int(ray.cluster_resources().get("GPU", 0))  # type: ignore[no-untyped-call]
        yield _Ground(
            place.folder,
            _enclosing(trainable, place.task),
            lambda own, memory: _share(own, memory, workers, gpus),
            take_over=lambda cohort: place.ahead.stop(cohort["name"]),
        )


@contextmanager
def _there(work: Stage, cluster: "Cluster", trainable: Trainable) -> Iterator[_Ground]:
    """Have the cluster that we are connected to, as large as it may get."""
    task = {"family": work.params.experiments[work.key].family, "away": cluster.away}
    # Through Ray's store, where the data are that the task names.
    given = tune.with_parameters(trainable, task=task)
    yield _Ground(cluster.folder, given, cluster.share, cluster.dollars_per_hour, cluster.is_gone)


def _enclosing(trainable: Trainable, task: dict[str, Any]) -> Callable[[dict[str, Any]], None]:
    """Give the trainable its task within its code, and not by `tune.with_parameters`: Ray's store stays empty.

    When the raylet dies, Ray looks for what this process has in the store, finds nobody to ask, and ends the process
    by exit code 1 without a word, before it is known here that the raylet is dead, or that a signal ended it.
    """

    def train_cohort(config: dict[str, Any]) -> None:
        trainable(config, task)

    return train_cohort


def _queue(
    work: Stage,
    campaign: "Campaign",
    state: "SearchState",
    recorder: "Recorder",
    generations: Iterator[list[Cohort]],
    ground: _Ground,
    meter: Meter,
) -> CohortQueue:
    """Make the queue of cohorts; what is split or given up is recorded in the plan."""

    def split(cohort: Cohort, reason: str) -> list[Cohort]:
        parts = halves(cohort)
        state.add({"split": cohort["name"], "reason": reason, "parts": parts})
        recorder.restart(cohort)
        work.say(f"cohort {cohort['name']} keeps dying ({reason}); it goes on as two halves")
        return parts

    def give_up(cohort: Cohort, reason: str) -> None:
        state.add({"given up": cohort, "reason": reason})
        recorder.give_up(cohort, reason)

    def share(cohorts: list[Cohort]) -> float:
        return ground.share(cohorts, campaign.gpu_memory)

    def left(trial_id: str, cohort: Cohort, died: bool) -> bool:
        machine, dollars = meter.leave(trial_id)
        if died:
            recorder.lose(cohort, dollars)
        return died and ground.is_gone(machine)

    return CohortQueue(generations, state.reached, split, give_up, work.say, share, left)


def _share(cohorts: list[Cohort], memory: int, workers: int, gpus: int) -> float:
    """Say what fraction of a GPU each of these cohorts is given.

    Ray fills one GPU before it begins the next, so that each must take no more than its part of the workers.
    """
    if not gpus or not memory:
        return 0.0
    return gpu_share([cohort["memory"] for cohort in cohorts], memory, math.ceil(workers / gpus))


def _resources(cpus: float, gpu: float) -> Any:
    """To Tune, what a cohort needs to be placed."""
    return tune.PlacementGroupFactory([{"CPU": cpus, **({"GPU": gpu} if gpu else {})}])
