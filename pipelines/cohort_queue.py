"""Hands cohorts to Tune one after another, and again when their worker died.

To Tune this is a search algorithm whose proposals are cohorts: its public way to decide what runs next.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ray.tune.search import Searcher

# A cohort that dies so often without getting further is split; a single trial is given up.
DEATHS = 3

Cohort = dict[str, Any]


@dataclass
class _Life:
    """How a cohort fares: how far it was when its worker last died, and how often it died there."""

    epoch: int = -1
    deaths: int = 0
    reason: str = ""


class CohortQueue(Searcher):
    """The cohorts of a search, generation by generation.

    Attributes:
        fault: why no cohort can be trained, if that is so.
        empty: whether every cohort has been handed out and has ended.

    Args:
        generations: yields the cohorts of each generation that are not finished yet; asked for the next one when all
            of the last have ended.
        reached: returns how many epochs of a cohort are safe.
        split: told of a cohort that keeps dying; returns its parts.
        give_up: told of a cohort of one trial that keeps dying, and why.
        say: tells the person at the terminal.
    """

    def __init__(
        self,
        generations: Iterator[list[Cohort]],
        reached: Callable[[str], int],
        split: Callable[[Cohort, str], list[Cohort]],
        give_up: Callable[[Cohort, str], None],
        say: Callable[[str], None],
    ) -> None:
        super().__init__()
        self._generations = generations
        self._reached, self._split, self._give_up = reached, split, give_up
        self._say = say
        self._waiting: list[Cohort] = []
        self._placed: dict[str, Cohort] = {}
        self._lives: dict[str, _Life] = {}
        self.fault = ""
        self.empty = False

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its algorithm for a restore, which a search never does: it has a state of its own."""
        return {}

    def suggest(self, trial_id: str) -> Any:
        """Return the next cohort, None while there is none yet, or FINISHED."""
        if self.fault:
            return str(Searcher.FINISHED)
        while not self._waiting:
            if self._placed:
                return None
            following = next(self._generations, None)
            if following is None:
                self.empty = True
                return str(Searcher.FINISHED)
            self._waiting = list(following)
        self._placed[trial_id] = cohort = self._waiting.pop(0)
        # One string: Tune walks through, flattens and copies whatever is structured.
        return {"cohort": json.dumps(cohort)}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Take a cohort back whose worker died or found too little memory; stop everything at any other fault."""
        cohort = self._placed.pop(trial_id, None)
        if cohort is None:
            return
        result = result or {}
        if result.get("fault") == "error":
            self.fault = result["reason"]
        elif error or result.get("fault"):
            self._died(cohort, result.get("reason") or "its worker died")

    def _died(self, cohort: Cohort, reason: str) -> None:
        life = self._lives.setdefault(cohort["name"], _Life())
        epoch = self._reached(cohort["name"])
        life.deaths = life.deaths + 1 if epoch == life.epoch else 1
        life.epoch = epoch
        if life.deaths < DEATHS:
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


def halves(cohort: Cohort) -> list[Cohort]:
    """Divide a cohort of two trials or more; both parts begin anew."""
    middle = (len(cohort["trials"]) + 1) // 2

    def part(letter: str, places: slice) -> Cohort:
        own = {name: cohort[name][places] for name in ("trials", "configs", "seeds")}
        engine = cohort["engine"] if len(own["trials"]) > 1 else "lone"
        return {**cohort, **own, "name": cohort["name"] + letter, "engine": engine}

    return [part("a", slice(middle)), part("b", slice(middle, None))]
