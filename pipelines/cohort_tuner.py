"""Has Ray Tune place the cohorts of a search on this machine's cores and GPUs.

To be imported after `import_ray` was called: Ray reads its settings, the token among them, when it is imported.
"""

import math
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import ray
from ray import tune

from pipelines import places
from pipelines.cohort_queue import CohortQueue
from pipelines.cohort_trial import run_trial
from pipelines.cohorts import Cohort, halves
from pipelines.local_ray import local_ray
from pipelines.machine import gpu_share
from pipelines.ray_watch import start_again, watched
from pipelines.stage import Stage
from pipelines.tune_callback import StopAtFault, TuneCallback

if TYPE_CHECKING:
    from pipelines.campaign import Campaign
    from pipelines.recorder import Recorder
    from pipelines.search_state import SearchState

Trainable = Callable[[dict[str, Any], dict[str, Any]], None]


def train(
    work: Stage,
    campaign: "Campaign",
    state: "SearchState",
    recorder: "Recorder",
    generations: Iterator[list[Cohort]],
    trainable: Trainable = run_trial,
) -> None:
    """Have all cohorts trained; call `import_ray` first.

    Args:
        work: the stage.
        campaign: whose generations these are.
        state: where checkpoints are, and what is split or given up is recorded.
        recorder: keeps the book.
        generations: see `CohortQueue`.
        trainable: trains a cohort in a worker; see `run_trial`.

    Raises:
        Fault: several cohorts met the same error, and none has got anywhere.
        OSError: the book cannot be kept, as the disk is full.
    """
    config = work.params.experiments[work.key].search
    workers = work.params.machine.cohorts(config.threads)
    # torch's own place for what it compiles is a folder that all users of a machine may write to.
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(places.state("compiled")))
    with local_ray(workers * config.threads) as folder:
        gpus = int(ray.cluster_resources().get("GPU", 0))  # type: ignore[no-untyped-call]
        queue = _queue(work, state, recorder, generations, lambda own: _share(own, campaign.gpu_memory, workers, gpus))
        task = tune.with_parameters(trainable, task=_task(work, state))
        tuner = tune.Tuner(
            tune.with_resources(task, lambda cohort: _resources(config.threads, cohort["gpu"])),
            # A new process for each cohort would spend its time on imports.
            tune_config=tune.TuneConfig(search_alg=queue, num_samples=-1, reuse_actors=True),
            run_config=tune.RunConfig(
                name="search",
                storage_path=str(folder),
                callbacks=[TuneCallback(recorder, queue)],
                stop=StopAtFault(queue),
                verbose=0,
            ),
        )
        with watched(work.title, folder):
            tuner.fit()
        if not queue.error and not queue.empty:
            start_again(work.title, "Ray Tune returned before all was done", folder)
    if queue.error:
        raise queue.error


def _queue(
    work: Stage,
    state: "SearchState",
    recorder: "Recorder",
    generations: Iterator[list[Cohort]],
    share: Callable[[list[Cohort]], float],
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

    return CohortQueue(generations, state.reached, split, give_up, work.say, share)


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


def _task(work: Stage, state: "SearchState") -> dict[str, Any]:
    """What all cohorts of the search share."""
    experiment = work.params.experiments[work.key]
    return {
        "family": experiment.family,
        "prepared": str(places.prepared(experiment.dataset).resolve()),
        "augmented": str(places.augmented(experiment.dataset).resolve()),
        "state": str(state.cohorts.resolve()),
    }
