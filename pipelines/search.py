"""Stage `search`: tries configurations with Ray Tune and writes what came of each to results/<experiment>/search/.

    python -m pipelines.search digits-cnn
    RAY_ADDRESS=auto python -m pipelines.search digits-cnn      # on the machines of the cluster that this one heads

trials.parquet has a row per trial, history.parquet one per epoch: both byte-identical on a rerun. What a clock says is
in timings.parquet, the winner in best.yaml, its weights in winner.safetensors. Killed at any moment and started again,
it goes on from its last checkpoints, to the same tables. docs/search.md tells how.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines import outs, places, stage
from pipelines.stage import Stage

if TYPE_CHECKING:
    from pipelines.journal import Journal
    from pipelines.ray_cluster import Cluster
    from pipelines.search_state import SearchState
    from pipelines.searching.recorder import Recorder
    from pipelines.this_machine import ThisMachine


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
    from pipelines.costs import CostBook
    from pipelines.delivery import Delivery
    from pipelines.local_ray import import_ray
    from pipelines.searching.campaign import Campaign
    from pipelines.searching.recorder import Recorder

    with _place(work, state) as place:
        campaign = Campaign(work, state, place.planner)
        for sentence in state.broken:
            work.say(sentence)
        # Before the delivery's thread imports mlflow: two imports at once can trip over each other.
        import_ray()
        from pipelines.searching.cohort_tuner import train

        with Delivery() as delivery, _journal(work, state) as journal:
            with outs.staged(target) as (folder,):
                recorder = Recorder(work, journal, CostBook(state.costs), delivery.hasten)
                with closing(place):
                    campaign.run(
                        recorder,
                        train=lambda cohorts: train(work, campaign, state, recorder, cohorts, place),
                        begin=lambda cohorts: place.begin(cohorts, recorder),
                    )
                recorder.finish(folder)
                state.save_weights(recorder.best.index, folder / "winner.safetensors")
                journal.save(folder / "journal.jsonl")
            state.finish(target)
            journal.release()
    _say(work, recorder)


@contextmanager
def _place(work: Stage, state: "SearchState") -> Iterator["ThisMachine | Cluster"]:
    """Yield where to search: the cluster that the environment names, or this machine."""
    from pipelines.local_ray import cluster_address, import_ray

    if address := cluster_address():
        import_ray()
        from pipelines.ray_cluster import connected

        with connected(work, state, address) as cluster:
            yield cluster
    else:
        from pipelines.this_machine import this_machine

        with this_machine(work, state) as machine:
            yield machine


def _say(work: Stage, recorder: "Recorder") -> None:
    failed = [trial for trial in recorder.trials.values() if trial.status == "failed"]
    if failed:
        reasons = "; ".join(f"trial {trial.index}: {trial.reason}" for trial in failed[:3])
        work.say(f"{len(failed)} of {len(recorder.trials)} trials failed: {reasons}")
    best = recorder.best
    cost = f"; they cost ${recorder.costs.total:.4f}" if recorder.costs.total else ""
    trials = f"{len(recorder.trials)} trial{'s' if len(recorder.trials) > 1 else ''}"
    work.say(f"{trials}, best is trial {best.index}: {best.summary()}{cost}")


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


if __name__ == "__main__":
    stage.main("search", "Search an experiment's hyperparameters.", search, over="experiments", forks=True)
