"""Which trials share a cohort, how many at most, by which engine: settled before the first step, then recorded.

Runs in a process of its own, for it needs torch, and the search's own process would rather start Ray meanwhile.
"""

import json
import math
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from typing import Any

VERSION = 1


@dataclass(frozen=True)
class Order:
    """What there is to plan: one generation of a search.

    Attributes:
        family: name of the model family.
        configs: hyperparameters of each trial, fixed ones and drawn ones.
        first: number of the first trial.
        search: the section `search` as a dictionary, its space in plain form.
        bounds: float hyperparameter -> (low, high, logarithmic), what PBT may change.
        prepared: folder of the prepared data.
        augmented: folder of the augmented data.
        memory: bytes that a worker may take.
        trials: in the whole search.
    """

    family: str
    configs: list[dict[str, Any]]
    first: int
    search: dict[str, Any]
    bounds: dict[str, tuple[float, float, bool]]
    prepared: str
    augmented: str
    memory: int
    trials: int


@dataclass(frozen=True)
class Planned:
    """The cohorts of a generation, as plain data, and what there is to say about them, a sentence each."""

    cohorts: list[dict[str, Any]]
    notes: list[str]
    fault: str = ""


@contextmanager
def planner() -> Iterator["Planner"]:
    """Yield what plans in a process of its own; the process ends with the block, and with this process."""
    with ProcessPoolExecutor(1, get_context("spawn"), initializer=_begin, initargs=(os.getpid(),)) as pool:
        yield Planner(pool)


class Planner:
    """Hands orders to the planning process."""

    def __init__(self, pool: ProcessPoolExecutor) -> None:
        self._pool = pool

    def submit(self, order: Order) -> "Future[Planned]":
        """Begin to plan."""
        return self._pool.submit(plan, order)


def _begin(parent: int) -> None:
    import signal

    from pipelines import startup

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    # A pool's process waits for work for ever, even if the process that would bring it was killed.
    threading.Thread(target=watch, daemon=True).start()
    # Ctrl-C reaches the whole process group; the search's own process decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    startup.collect_seldom()


class _Unreadable(Exception):
    """The data are not what they should be."""


def plan(order: Order) -> Planned:
    """Group the trials into cohorts."""
    try:
        return _plan(order)
    except _Unreadable as error:
        return Planned([], [], f"the data cannot be read: {error}")


def _plan(order: Order) -> Planned:
    import torch

    from lit_models import FAMILIES
    from lit_models.cohort.lanes import Lane, signature
    from lit_models.seeds import derive_seed

    torch.set_num_threads(1)
    family = FAMILIES[order.family]
    lanes = [
        Lane(number, family.Config.model_validate_json(json.dumps(config)), derive_seed(order.search["seed"], number))
        for number, config in enumerate(order.configs, order.first)
    ]
    groups: dict[tuple[int, str], list[Lane]] = {}
    for lane, bracket in zip(lanes, _brackets(order), strict=True):
        groups.setdefault((bracket, signature(order.family, lane.config)), []).append(lane)
    return _Cohorts(order).plan(groups)


def _brackets(order: Order) -> list[int]:
    """Say which of Hyperband's brackets each trial of this generation belongs to; without Hyperband all are in one."""
    if order.search["scheduler"] != "hyperband":
        return [0] * len(order.configs)
    return [number for number, bracket in enumerate(_hyperband(order)) for _ in range(bracket.trials)]


def _hyperband(order: Order) -> list[Any]:
    from lit_models.cohort.rules import brackets

    search = order.search
    return brackets(len(order.configs), search["epochs"], search["eta"], search["grace_epochs"])


class _Cohorts:
    """Makes cohorts of groups of lanes that could be fused."""

    def __init__(self, order: Order) -> None:
        import torch

        self.order, self.search = order, order.search
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.cohorts: list[dict[str, Any]] = []
        self.notes: dict[str, int] = {}
        self._data: Any = None

    def plan(self, groups: dict[tuple[int, str], list[Any]]) -> Planned:
        """Plan each group, and put those of a single lane together."""
        from lit_models.cohort.cost import step_cost

        singles: dict[int, list[Any]] = {}
        for (bracket, _), lanes in groups.items():
            cost = step_cost(self._family, lanes[0].config, self._spec)
            if cost.bytes > self.order.memory:
                need, have = cost.bytes / 1e9, self.order.memory / 1e9
                fault = f"one trial needs about {need:.2g} GB, and a worker may take {have:.2g} GB"
                return Planned([], [], f"{fault}; lower batch_size or the model's size, or raise machine.memory_gb")
            if len(lanes) == 1:
                singles.setdefault(bracket, []).extend(lanes)
                continue
            engine, reason = self._engine(lanes, cost)
            if reason:
                self.notes[reason] = self.notes.get(reason, 0) + len(lanes)
            self._divide(lanes, bracket, engine, cost)
        for bracket, lanes in singles.items():
            self.notes["every one of these has an architecture of its own"] = len(lanes)
            self._divide(lanes, bracket, "lone", step_cost(self._family, lanes[0].config, self._spec))
        notes = [f"{count} trials are trained one by one: {reason}" for reason, count in self.notes.items()]
        return Planned(self.cohorts, notes)

    @property
    def _family(self) -> Any:
        from lit_models import FAMILIES

        return FAMILIES[self.order.family]

    @property
    def _spec(self) -> Any:
        from pathlib import Path

        from lit_models.spec import load_spec

        return load_spec(Path(self.order.prepared))

    def _engine(self, lanes: list[Any], cost: Any) -> tuple[str, str]:
        """Return the engine, and why it is not the fused one."""
        from lit_models.cohort.cost import choose_engine, obstacle, probe

        wanted = self.search["engine"]
        if wanted == "lone":
            return "lone", "search.engine says so"
        if self.search["K"] == 1:
            return "lone", "search.K is 1"
        if wanted == "auto" and choose_engine(cost, self.device) == "lone":
            size = f"{cost.flops_per_kernel / 1e6:.3g} MFLOP a kernel"
            return "lone", f"their kernels are so large ({size}) that fusing them gains nothing on this device"
        setting = self._setting()
        if hindrance := obstacle(lanes[:2], setting):
            return "lone", f"they cannot be fused ({hindrance})"
        if wanted == "probe" and probe(lanes[: self._most("fused", cost)], setting) == "lone":
            return "lone", "a timed probe found it faster"
        return "fused", ""

    def _setting(self) -> Any:
        from pathlib import Path

        import torch

        from lit_models.cohort.data import CohortData
        from lit_models.cohort.engine import Setting

        device = torch.device(self.device)
        try:
            self._data = self._data or CohortData.read(Path(self.order.prepared), Path(self.order.augmented)).to(device)
        except Exception as error:  # whatever the file formats' libraries raise
            raise _Unreadable(str(error)) from None
        return Setting(self._family, self._data, self.search["epochs"], device)

    def _most(self, engine: str, cost: Any) -> int:
        from lit_models.cohort.cost import choose_lanes

        best = choose_lanes(cost, engine, self.device, self.order.memory)  # type: ignore[arg-type]
        if self.search["K"] != "auto":
            return int(self.search["K"] if engine == "lone" else min(self.search["K"], self.order.memory // cost.bytes))
        # Rules compare the lanes of one cohort, so it must have enough of them.
        return int(best if self.search["scheduler"] == "none" else max(best, self.search["eta"] ** 2))

    def _divide(self, lanes: list[Any], bracket: int, engine: str, cost: Any) -> None:
        """Cut a group into cohorts of equal size, two at least where there are enough, for there may be two workers."""
        parts = math.ceil(len(lanes) / self._most(engine, cost))
        least = 2 if self.search["scheduler"] == "none" else 2 * self.search["eta"]
        if self.search["K"] == "auto" and len(lanes) >= 2 * least:
            parts = max(parts, 2)
        for part in range(parts):
            own = lanes[part * len(lanes) // parts : (part + 1) * len(lanes) // parts]
            fused = engine if len(own) > 1 else "lone"
            self.cohorts.append(self._cohort(own, bracket, fused))

    def _cohort(self, lanes: list[Any], bracket: int, engine: str) -> dict[str, Any]:
        from lit_models.cohort.record import CohortSpec

        spec = CohortSpec(
            name=f"c{lanes[0].trial:05d}",
            trials=tuple(lane.trial for lane in lanes),
            configs=tuple(lane.config.model_dump() for lane in lanes),
            seeds=tuple(lane.seed for lane in lanes),
            engine=engine,  # type: ignore[arg-type]
            threads=self.search["threads"],
            rule=self._rule(bracket),
            metric=self.search["metric"],
            device=self.device,
        )
        return asdict(spec)

    def _rule(self, bracket: int) -> Any:
        from lit_models.cohort.rules import RuleSpec, rungs

        search = self.search
        name, epochs, eta = search["scheduler"], search["epochs"], search["eta"]
        common: dict[str, Any] = {"epochs": epochs, "eta": eta, "seed": search["seed"]}
        if name == "hyperband":
            return RuleSpec(name="halving", rungs=_hyperband(self.order)[bracket].rungs, **common)
        if name in ("halving", "asha"):
            return RuleSpec(name=name, rungs=search["rungs"] or rungs(epochs, eta, search["grace_epochs"]), **common)
        if name == "pbt":
            return RuleSpec(name=name, interval=search["perturb_epochs"], space=self.order.bounds, **common)
        return RuleSpec(name=name, grace=search["grace_epochs"], **common)
