"""Stage `search`: tries configurations with Ray Tune and writes what came of each to results/<experiment>/search/.

python -m pipelines.search digits-cnn

trials.parquet has a row per trial, history.parquet one per epoch: both byte-identical on a rerun where the algorithm
is deterministic. What a clock says is in timings.parquet, the winner in best.yaml.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines import outs, places, stage
from pipelines.faults import Fault
from pipelines.stage import Stage

if TYPE_CHECKING:
    from pipelines.recorder import Recorder


def search(work: Stage) -> None:
    """Run every trial, then write tables and the winner; anything less than every trial is a fault."""
    from pipelines.delivery import Delivery
    from pipelines.journal import Journal
    from pipelines.local_ray import import_ray
    from pipelines.recorder import Recorder

    # Before the delivery's thread imports mlflow: two imports at once can trip over each other.
    import_ray()

    target = places.results(work.key) / "search"
    with Delivery(), Journal(work.title) as journal, outs.staged(target) as (folder,):
        recorder = Recorder(work, journal)
        run_trials(work, recorder)
        recorder.finish(folder)
        journal.save(folder / "journal.jsonl")
    best = recorder.best
    work.say(f"{len(recorder.trials)} trials, best is trial {best.index}: {best.summary()}")


def run_trials(work: Stage, recorder: "Recorder") -> None:
    """Let Tune place the trials on this machine's cores, and see that none is missing.

    Raises:
        Fault: a trial failed, or Tune returned before all were done.
    """
    from pipelines.local_ray import local_ray

    cores = os.cpu_count() or 1
    with local_ray(cores) as folder:
        expected = _tune(work, recorder, folder)
    failed = [trial for trial in recorder.trials if trial.status == "failed"]
    if failed:
        reasons = "; ".join(f"trial {trial.index}: {trial.reason}" for trial in failed[:3])
        raise Fault(f"{len(failed)} of {expected} trials failed: {reasons}")
    done = sum(trial.status in ("finished", "stopped", "diverged") for trial in recorder.trials)
    if done != expected:
        raise Fault(f"Ray Tune returned after {done} of {expected} trials; the search is incomplete")


def _tune(work: Stage, recorder: "Recorder", folder: Path) -> int:
    """Run Tune to its end and return how many trials there had to be."""
    import ray
    from ray import tune

    from pipelines.searchers import SCHEDULERS, SEARCHERS
    from pipelines.trial import run_trial

    config = work.params.experiments[work.key].search
    searcher = SEARCHERS[config.algorithm]
    space: dict[str, Any] = {}
    expected, samples = config.trials, config.trials
    if searcher.trials is not None:
        planned = searcher.trials(config.space, config.trials, config.seed)
        space = {"planned": tune.grid_search([{"index": i, "drawn": drawn} for i, drawn in enumerate(planned)])}
        expected, samples = len(planned), 1
    recorder.expect(expected)
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    trainable = tune.with_resources(
        tune.with_parameters(run_trial, task=_task(work)), {"cpu": 1, "gpu": 1 if resources.get("GPU") else 0}
    )
    tuner = tune.Tuner(
        trainable,
        param_space=space,
        tune_config=tune.TuneConfig(
            metric=config.metric,
            mode="max" if config.metric == "val_accuracy" else "min",
            search_alg=searcher.algorithm(config) if searcher.algorithm else None,
            scheduler=SCHEDULERS[config.scheduler](config),
            num_samples=samples,
            # A new process for each trial would spend its time on imports.
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            name="search",
            storage_path=str(folder),
            callbacks=[recorder.callback()],
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=1),
        ),
    )
    tuner.fit()
    return expected


def _task(work: Stage) -> dict[str, Any]:
    """What all trials of the search share."""
    experiment = work.params.experiments[work.key]
    return {
        "family": experiment.family,
        "model": dict(experiment.model),
        "prepared": str(places.prepared(experiment.dataset).resolve()),
        "augmented": str(places.augmented(experiment.dataset).resolve()),
        "epochs": experiment.search.epochs,
        "seed": experiment.search.seed,
    }


if __name__ == "__main__":
    stage.main("search", "Search an experiment's hyperparameters.", search, over="experiments")
