"""Takes a search through its generations: plans each, or reads the plan, and says which cohorts are still to train."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

from pipelines import places
from pipelines.faults import Fault
from pipelines.search_state import SearchState
from pipelines.searchers import SEARCHERS, Generations
from pipelines.searching.cohorts import Cohort
from pipelines.searching.plan_order import Order
from pipelines.searching.planner import Planner
from pipelines.searching.recorder import Recorder
from pipelines.searching.trial import OVER
from pipelines.stage import Stage

# A cluster that is gone may answer whoever waits for its plan late, or never.
STOP_SECONDS = 5.0


class Campaign:
    """Takes a search through its generations: plans each, or reads the plan, and has its cohorts trained."""

    def __init__(self, work: Stage, state: SearchState, planner: Planner) -> None:
        self._work, self._state, self._planner = work, state, planner
        self._config = work.params.experiments[work.key].search
        self._generations: Generations = SEARCHERS[self._config.algorithm](self._config)
        self._drawn: list[dict[str, Any]] | None = next(self._generations)
        self._planned = [line for line in state.plan if "generation" in line]
        # What was done before an interruption; what is done from now on reaches the recorder as it comes.
        self._done = {record["name"]: record["text"] for record in state.records()}
        self._given_up = {line["given up"]["name"]: line for line in state.plan if "given up" in line}
        self._first = 0
        # Bytes of a GPU that the cohorts of this generation may fill; 0 if they were planned for none.
        self.gpu_memory = 0
        # Planning takes torch some seconds to import, and this process Ray and mlflow.
        self._ahead: Planner | None = None if self._planned else self._submit()

    def _submit(self) -> Planner:
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
            probed={kind: engine for line in self._state.plan for kind, engine in line.get("probed", {}).items()},
        )
        return self._planner.submit(order)

    def run(
        self,
        recorder: Recorder,
        train: Callable[[Iterator[list[Cohort]]], None],
        begin: Callable[[list[Cohort]], object] = lambda _: None,
    ) -> None:
        """Have all trials trained that are not yet, and see that none is missing.

        The first are planned by a thread, for in the time that this takes Ray can start.

        Args:
            recorder: keeps the book.
            begin: told the first cohorts when they are planned, by that thread; returns at once.
            train: trains the cohorts of each generation, and asks for the next when all have ended; called before the
                first are planned.

        Raises:
            Fault: the trials cannot be trained, or not every one is accounted for.
        """
        recorder.expect(self._config.trials if self._config.algorithm != "grid" else len(self._drawn or []))
        pending = self._cohorts(recorder)
        first: Future[list[Cohort]] = Future()
        thread = threading.Thread(target=_fetch, args=(pending, begin, first), name="first cohorts", daemon=True)
        thread.start()
        try:
            # Where a plan is known already, nothing may be left to train.
            if not self._planned or first.result():
                train(_one_by_one(first, pending))
        finally:
            self._planner.stop()
            thread.join(STOP_SECONDS)
        missing = [trial.index for trial in recorder.trials.values() if trial.status not in OVER]
        if missing or self._drawn is not None:
            raise Fault(f"Ray Tune returned before {len(missing)} of the trials were done; the search is incomplete")
        if all(trial.status == "failed" for trial in recorder.trials.values()):
            # Whoever mends what was wrong (more memory, say) shall find nothing given up.
            self._state.drop_results()

    def _cohorts(self, recorder: Recorder) -> Iterator[list[Cohort]]:
        """Yield for each generation the cohorts that are not finished; the next is proposed when all have ended."""
        number = 0
        while self._drawn is not None:
            cohorts = self._generation(number)
            for cohort in cohorts:
                recorder.plan(cohort)
            if rest := [cohort for cohort in cohorts if not self._is_over(cohort, recorder)]:
                yield rest
            self._next(recorder)
            number += 1

    def _is_over(self, cohort: Cohort, recorder: Recorder) -> bool:
        """Whether a cohort had ended before an interruption; the recorder is told of it then."""
        name = cohort["name"]
        if name not in self._done and name not in self._given_up:
            return False
        recorder.begin(cohort)
        if name in self._done:
            recorder.update(self._done[name])
        else:
            recorder.give_up(cohort, self._given_up[name]["reason"])
        return True

    def _next(self, recorder: Recorder) -> None:
        """Tell the algorithm what the generation reached, and take its next proposals."""
        drawn = self._drawn or []
        reached = [recorder.reached(index) for index in range(self._first, self._first + len(drawn))]
        self._first += len(drawn)
        try:
            self._drawn = self._generations.send(reached)
        except StopIteration:
            self._drawn = None

    def _generation(self, number: int) -> list[Cohort]:
        """Return the cohorts of a generation as planned, and with it what was split."""
        if number < len(self._planned):
            line = self._planned[number]
        else:
            planned = (self._ahead or self._submit()).result()
            self._ahead = None
            if planned.fault:
                raise Fault(planned.fault)
            for note in planned.notes:
                self._work.say(note)
            line = {"generation": number, "cohorts": planned.cohorts, "notes": planned.notes}
            line |= {"gpu_memory": planned.gpu_memory, "probed": planned.probed}
            self._state.add(line)
        cohorts: list[Cohort] = list(line["cohorts"])
        self.gpu_memory = line["gpu_memory"]
        splits = {line["split"]: line["parts"] for line in self._state.plan if "split" in line}
        while broken := [cohort for cohort in cohorts if cohort["name"] in splits]:
            for cohort in broken:
                place = cohorts.index(cohort)
                cohorts[place : place + 1] = splits[cohort["name"]]
        return cohorts


def _fetch(
    pending: Iterator[list[Cohort]], begin: Callable[[list[Cohort]], object], first: Future[list[Cohort]]
) -> None:
    try:
        if cohorts := next(pending, []):
            begin(cohorts)
        first.set_result(cohorts)
    except BaseException as error:  # it is raised where the cohorts are waited for
        first.set_exception(error)


def _one_by_one(first: Future[list[Cohort]], pending: Iterator[list[Cohort]]) -> Iterator[list[Cohort]]:
    yield first.result()
    yield from pending
