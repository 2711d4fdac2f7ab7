"""Stage `search`: tries configurations with Ray Tune and writes what came of each to results/<experiment>/search/.

    python -m pipelines.search digits-cnn

trials.parquet has a row per trial, history.parquet one per epoch: both byte-identical on a rerun. What a clock says is
in timings.parquet, the winner in best.yaml, its weights in winner.safetensors. Killed at any moment and started again,
it goes on from its last checkpoints, to the same tables. docs/search.md tells how.
"""

from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines import outs, places, stage
from pipelines.faults import Fault
from pipelines.stage import Stage

if TYPE_CHECKING:
    from pipelines.cohort_queue import Cohort
    from pipelines.journal import Journal
    from pipelines.planning import Planned, Planner
    from pipelines.recorder import Recorder
    from pipelines.search_state import SearchState
    from pipelines.searchers import Generations


def search(work: Stage) -> None:
    """Run every trial, then write tables and the winner; anything less than every trial is a fault."""
    from pipelines import search_state
    from pipelines.delivery import Delivery
    from pipelines.local_ray import import_ray
    from pipelines.planning import planner
    from pipelines.recorder import Recorder

    with search_state.opened(work) as state, planner() as plan:
        campaign = Campaign(work, state, plan)
        # Before the delivery's thread imports mlflow: two imports at once can trip over each other.
        import_ray()
        target = places.results(work.key) / "search"
        with Delivery(), _journal(work, state) as journal:
            with outs.staged(target) as (folder,):
                recorder = Recorder(work, journal, state)
                campaign.run(recorder)
                recorder.finish(folder)
                campaign.save_winner(recorder, folder)
                journal.save(folder / "journal.jsonl")
            state.drop_results()
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
            pass  # deleted by hand; its runs are told anew
    journal = Journal(work.title, resumable=state.folder)
    state.journal = journal.folder
    return journal


class Campaign:
    """Takes a search through its generations: plans each, or reads the plan, and has its cohorts trained."""

    def __init__(self, work: Stage, state: "SearchState", planner: "Planner") -> None:
        from pipelines.searchers import SEARCHERS

        self._work, self._state, self._planner = work, state, planner
        self._config = work.params.experiments[work.key].search
        self._generations: Generations = SEARCHERS[self._config.algorithm](self._config)
        self._drawn: list[dict[str, Any]] | None = next(self._generations)
        self._planned = [line for line in state.plan if "generation" in line]
        self._first = 0
        # Planning takes torch some seconds to import; meanwhile Ray starts.
        self._ahead: Future[Planned] | None = None if self._planned else self._submit()

    def _submit(self) -> "Future[Planned]":
        from pipelines.planning import Order

        experiment = self._work.params.experiments[self._work.key]
        bounds = {
            name: (*domain.bounds, domain.kind == "loguniform")
            for name, domain in self._config.space.items()
            if domain.kind in ("uniform", "loguniform")
        }
        order = Order(
            family=experiment.family,
            configs=[{**experiment.model, **drawn} for drawn in self._drawn or []],
            first=self._first,
            search=self._config.model_dump(mode="json"),
            bounds=bounds,
            prepared=str(places.prepared(experiment.dataset).resolve()),
            augmented=str(places.augmented(experiment.dataset).resolve()),
            memory=self._work.params.machine.memory(),
            trials=self._config.trials,
        )
        return self._planner.submit(order)

    def run(self, recorder: "Recorder") -> None:
        """Have all trials trained that are not yet, and see that none is missing.

        Raises:
            Fault: the trials cannot be trained, or not every one is accounted for.
        """
        from pipelines.recorder import OVER

        recorder.expect(self._config.trials if self._config.algorithm != "grid" else len(self._drawn or []))
        pending = self._cohorts(recorder)
        first = next(pending, None)
        if first is not None:
            _train(self._work, self._state, recorder, self._and_then(first, pending))
        missing = [trial.index for trial in recorder.trials.values() if trial.status not in OVER]
        if missing or self._drawn is not None:
            raise Fault(f"Ray Tune returned before {len(missing)} of the trials were done; the search is incomplete")

    def _and_then(self, first: "list[Cohort]", rest: "Iterator[list[Cohort]]") -> "Iterator[list[Cohort]]":
        yield first
        yield from rest

    def _cohorts(self, recorder: "Recorder") -> "Iterator[list[Cohort]]":
        """Yield for each generation the cohorts that are not finished; the next is proposed when all have ended."""
        number = 0
        while self._drawn is not None:
            cohorts = self._generation(number)
            for cohort in cohorts:
                recorder.plan(cohort)
            names = {cohort["name"] for cohort in cohorts}
            done = [record for record in self._state.records() if record["name"] in names]
            for record in done:
                cohort = next(cohort for cohort in cohorts if cohort["name"] == record["name"])
                recorder.begin(cohort)
                recorder.update(record["text"])
            for line in self._state.plan:
                if "given up" in line and line["given up"]["name"] in names:
                    recorder.begin(line["given up"])
                    recorder.give_up(line["given up"], line["reason"])
            over = {record["name"] for record in done}
            over |= {line["given up"]["name"] for line in self._state.plan if "given up" in line}
            if rest := [cohort for cohort in cohorts if cohort["name"] not in over]:
                yield rest
            self._next(recorder)
            number += 1

    def _next(self, recorder: "Recorder") -> None:
        """Tell the algorithm what the generation reached, and take its next proposals."""
        drawn = self._drawn or []
        reached = [recorder.reached(index) for index in range(self._first, self._first + len(drawn))]
        self._first += len(drawn)
        try:
            self._drawn = self._generations.send(reached)
        except StopIteration:
            self._drawn = None

    def _generation(self, number: int) -> "list[Cohort]":
        """Return the cohorts of a generation as planned, and with it what was split."""
        if number < len(self._planned):
            cohorts: list[Cohort] = list(self._planned[number]["cohorts"])
        else:
            planned = (self._ahead or self._submit()).result()
            self._ahead = None
            if planned.fault:
                raise Fault(planned.fault)
            for note in planned.notes:
                self._work.say(note)
            self._state.add({"generation": number, "cohorts": planned.cohorts, "notes": planned.notes})
            cohorts = planned.cohorts
        splits = {line["split"]: line["parts"] for line in self._state.plan if "split" in line}
        while broken := [cohort for cohort in cohorts if cohort["name"] in splits]:
            for cohort in broken:
                place = cohorts.index(cohort)
                cohorts[place : place + 1] = splits[cohort["name"]]
        return cohorts

    def save_winner(self, recorder: "Recorder", folder: Path) -> None:
        """Write the winner's weights, where it ran to the end and was the best of its cohort."""
        from pipelines.winner import save_winner

        save_winner(self._state.cohorts, recorder.best.index, folder / "winner.safetensors")


def _train(work: Stage, state: "SearchState", recorder: "Recorder", generations: "Iterator[list[Cohort]]") -> None:
    """Let Tune place the cohorts on this machine's cores.

    Raises:
        Fault: a cohort met a fault that would meet every other one too.
    """
    import ray
    from ray import tune

    from pipelines.cohort_queue import CohortQueue, halves
    from pipelines.cohort_trial import run_trial
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
                callbacks=[TuneCallback(recorder)],
                stop=StopAtFault(queue),
                verbose=0,
            ),
        )
        with watched(work.title, folder):
            tuner.fit()
        if not queue.fault and not queue.empty:
            start_again(work.title, "Ray Tune returned before all was done", folder)
    if queue.fault:
        raise Fault(f"training failed: {queue.fault}")


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
