"""Hands cohorts to Tune one after another, and again when their worker died.

To Tune this is a search algorithm whose proposals are cohorts: its public way to decide what runs next.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ray.tune.search import Searcher

from pipelines.faults import Fault
from pipelines.searching.cohorts import Cohort, whole_name

# A cohort that dies so often without getting further is split; a single trial is given up.
DEATHS = 3
# Or so often together with the machine it is on: rented machines are taken away, which is no fault of the cohort's.
LOSSES = 10


@dataclass
class _Life:
    """How a cohort fares: how far it was when its worker last died, and how often it died there, and of what."""

    epoch: int = -1
    deaths: int = 0
    losses: int = 0


class CohortQueue(Searcher):
    """The cohorts of a search, generation by generation.

    Attributes:
        error: what ended the search before its time: every cohort met it, or the search's own process did.
        empty: whether every cohort has been handed out and has ended.

    Args:
        generations: yields the cohorts of each generation that are not finished yet; asked for the next one when all
            of the last have ended.
        reached: returns how many epochs of a cohort are safe.
        split: told of a cohort that keeps dying; returns its parts.
        give_up: told of a cohort of one trial that keeps dying, and why.
        say: tells the person at the terminal.
        share: told of the cohorts of a generation, returns the fraction of a GPU that each is given.
        left: told that a cohort has ended (Tune's id of it, the cohort, whether it died), returns whether its machine
            is gone.
    """

    def __init__(
        self,
        generations: Iterator[list[Cohort]],
        reached: Callable[[str], int],
        split: Callable[[Cohort, str], list[Cohort]],
        give_up: Callable[[Cohort, str], None],
        say: Callable[[str], None],
        share: Callable[[list[Cohort]], float] = lambda _: 0.0,
        left: Callable[[str, Cohort, bool], bool] = lambda *_: False,
    ) -> None:
        super().__init__()
        self._generations = generations
        self._reached, self._split, self._give_up = reached, split, give_up
        self._say, self._share, self._left = say, share, left
        self._gpu = 0.0
        self._waiting: list[Cohort] = []
        self._placed: dict[str, Cohort] = {}
        self._lives: dict[str, _Life] = {}
        self._met: dict[str, set[str]] = {}
        self._trained = False
        self.error: Exception | None = None
        self.empty = False

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its algorithm for a restore, which a search never does: it has a state of its own."""
        return {}

    def suggest(self, trial_id: str) -> Any:
        """Return the next cohort, None while there is none yet, or FINISHED."""
        with self.kept():
            while not self._waiting and not self.error:
                if self._placed:
                    return None
                following = next(self._generations, None)
                if following is None:
                    self.empty = True
                    return str(Searcher.FINISHED)
                self._waiting = list(following)
                self._gpu = self._share(self._waiting)
        if self.error:
            return str(Searcher.FINISHED)
        self._placed[trial_id] = cohort = self._waiting.pop(0)
        # One string: Tune walks through, flattens and copies whatever is structured.
        return {"cohort": json.dumps(cohort), "gpu": self._gpu}

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Keep an error of the block for the search to raise: Tune would bury it in one of its own."""
        try:
            yield
        except Exception as error:
            self.error = self.error or error

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Take a cohort back whose worker died, or met an error; stop everything at one that all cohorts meet."""
        cohort = self._placed.pop(trial_id, None)
        if cohort is None:
            return
        reason = (result or {}).get("fault", "its worker died" if error else "")
        with self.kept():
            gone = self._left(trial_id, cohort, bool(reason))
            if not reason:
                self._trained = True
            elif self._is_general(cohort, reason, error):
                self.error = self.error or Fault(f"training failed: {reason}")
            else:
                self._died(cohort, "its machine is gone" if gone else reason, gone)

    def _is_general(self, cohort: Cohort, reason: str, killed: bool) -> bool:
        """Whether two cohorts met the very same error, and none has got anywhere: it is no fault of theirs."""
        if killed:
            return False
        self._met.setdefault(reason, set()).add(whole_name(cohort))
        self._trained = self._trained or self._reached(cohort["name"]) > 0
        return not self._trained and len(self._met[reason]) > 1

    def _died(self, cohort: Cohort, reason: str, gone: bool) -> None:
        epoch = self._reached(cohort["name"])
        life = self._lives.get(cohort["name"], _Life())
        if epoch != life.epoch:
            life = _Life(epoch)
        self._lives[cohort["name"]] = life
        life.losses += gone
        life.deaths += not gone
        if life.deaths < DEATHS and life.losses < LOSSES:
            self._say(f"cohort {cohort['name']}: {reason}; it goes on from epoch {epoch}")
            self._waiting.insert(0, cohort)
        elif len(cohort["trials"]) > 1:
            self._waiting[:0] = self._split(cohort, reason)
        else:
            self._give_up(cohort, reason)

    def save(self, checkpoint_path: str) -> None:
        """Save nothing: the search keeps a state of its own."""

    def restore(self, checkpoint_path: str) -> None:
        """Restore nothing."""
