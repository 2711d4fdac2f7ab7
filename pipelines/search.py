"""Stage `search`: tries configurations with Ray Tune and writes what came of each to results/<experiment>/search/.

    python -m pipelines.search digits-cnn

trials.parquet has a row per trial, history.parquet one per epoch: both byte-identical on a rerun. What a clock says is
in timings.parquet, the winner in best.yaml, its weights in winner.safetensors. Killed at any moment and started again,
it goes on from its last checkpoints, to the same tables. docs/search.md tells how.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines import outs, places, stage
from pipelines.stage import Stage

if TYPE_CHECKING:
    from pipelines.cohorts import Cohort
    from pipelines.journal import Journal
    from pipelines.recorder import Recorder
    from pipelines.search_state import SearchState


def search(work: Stage) -> None:
    """Run every trial, then write tables and the winner; anything less than every trial is a fault."""
    from pipelines import search_state
    from pipelines.delivery import Delivery

    target = places.results(work.key) / "search"
    with search_state.opened(work) as state:
        if state.take_finished(target):
            with Delivery():
                work.say("it had finished before it was interrupted; nothing is done again")
            return
        _search(work, state, target)


def _search(work: Stage, state: "SearchState", target: Path) -> None:
    from pipelines.campaign import Campaign
    from pipelines.delivery import Delivery
    from pipelines.local_ray import import_ray
    from pipelines.planning import planner
    from pipelines.recorder import Recorder

    with planner() as plan:
        campaign = Campaign(work, state, plan)
        # Before the delivery's thread imports mlflow: two imports at once can trip over each other.
        import_ray()
        with Delivery(), _journal(work, state) as journal:
            with outs.staged(target) as (folder,):
                recorder = Recorder(work, journal, state)
                campaign.run(recorder, lambda generations: _train(work, state, recorder, generations))
                recorder.finish(folder)
                state.save_weights(recorder.best.index, folder / "winner.safetensors")
                journal.save(folder / "journal.jsonl")
            state.finish(target)
            journal.release()
    _say(work, recorder)


def _say(work: Stage, recorder: "Recorder") -> None:
    failed = [trial for trial in recorder.trials.values() if trial.status == "failed"]
    if failed:
        reasons = "; ".join(f"trial {trial.index}: {trial.reason}" for trial in failed[:3])
        work.say(f"{len(failed)} of {len(recorder.trials)} trials failed: {reasons}")
    best = recorder.best
    work.say(f"{len(recorder.trials)} trials, best is trial {best.index}: {best.summary()}")


def _journal(work: Stage, state: "SearchState") -> "Journal":
    """Begin the journal, or go on with that of the search that was interrupted."""
    from pipelines.journal import Journal

    if state.journal is not None:
        try:
            return Journal.reopen(state.journal)
        except FileNotFoundError:
            pass  # deleted by hand, or by its sender just now; its runs are told anew
    journal = Journal(work.title, resumable=state.running)
    state.journal = journal.folder
    return journal


def _train(work: Stage, state: "SearchState", recorder: "Recorder", generations: "Iterator[list[Cohort]]") -> None:
    """Let Tune place the cohorts on this machine's cores.

    Raises:
        Fault: several cohorts met the same error, and none has got anywhere.
        OSError: the book cannot be kept, as the disk is full.
    """
    import ray
    from ray import tune

    from pipelines.cohort_queue import CohortQueue
    from pipelines.cohort_trial import run_trial
    from pipelines.cohorts import halves
    from pipelines.local_ray import local_ray
    from pipelines.ray_watch import start_again, watched
    from pipelines.tune_callback import StopAtFault, TuneCallback

    def split(cohort: "Cohort", reason: str) -> "list[Cohort]":
        parts = halves(cohort)
        state.add({"split": cohort["name"], "reason": reason, "parts": parts})
        recorder.restart(cohort)
        work.say(f"cohort {cohort['name']} keeps dying ({reason}); it goes on as two halves")
        return parts

    def give_up(cohort: "Cohort", reason: str) -> None:
        state.add({"given up": cohort, "reason": reason})
        recorder.give_up(cohort, reason)

    config = work.params.experiments[work.key].search
    workers = work.params.machine.cohorts(config.threads)
    with local_ray(workers * config.threads) as folder:
        queue = CohortQueue(generations, state.reached, split, give_up, work.say)
        resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        share: dict[str, float] = {"cpu": config.threads, "gpu": 1 if resources.get("GPU") else 0}
        tuner = tune.Tuner(
            tune.with_resources(tune.with_parameters(run_trial, task=_task(work, state)), share),
            tune_config=tune.TuneConfig(
                search_alg=queue,
                num_samples=-1,
                # A new process for each cohort would spend its time on imports.
                reuse_actors=True,
            ),
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


def _task(work: Stage, state: "SearchState") -> dict[str, Any]:
    """What all cohorts of the search share."""
    experiment = work.params.experiments[work.key]
    return {
        "family": experiment.family,
        "prepared": str(places.prepared(experiment.dataset).resolve()),
        "augmented": str(places.augmented(experiment.dataset).resolve()),
        "state": str(state.cohorts.resolve()),
    }


if __name__ == "__main__":
    stage.main("search", "Search an experiment's hyperparameters.", search, over="experiments")
