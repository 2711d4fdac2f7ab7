"""Which trials share a cohort, how many at most, by which engine: settled before the first step, then recorded.

Needs torch, and so runs in a process of its own; see planner.py.
"""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple, NoReturn

from pipelines.searching.plan_order import Order, Planned
from pipelines.searching.plan_rules import brackets, rule


class _Impossible(Exception):
    """There is nothing to plan; says why."""


class _Way(NamedTuple):
    """How a group of lanes is trained, and why not fused, if so."""

    engine: str
    compiled: bool = False
    reason: str = ""


@contextmanager
def _readable() -> Iterator[None]:
    """Say of whatever the file formats' libraries raise that the data cannot be read."""
    try:
        yield
    except Exception as error:
        raise _Impossible(f"the data cannot be read: {error}") from None


def plan(order: Order) -> Planned:
    """Group the trials into cohorts."""
    from lit_models.cohort.memory import release

    try:
        return _plan(order)
    except _Impossible as error:
        return Planned([], [], str(error))
    finally:
        release()


def _plan(order: Order) -> Planned:
    import torch

    from lit_models import FAMILIES
    from lit_models.cohort.lanes import Lane, shaping, signature
    from lit_models.core.seeds import derive_seed

    torch.set_num_threads(1)
    family = FAMILIES[order.family]
    lanes = [
        Lane(number, family.Config.model_validate_json(json.dumps(config)), derive_seed(order.search["seed"], number))
        for number, config in enumerate(order.configs, order.first)
    ]
    cohorts = _Cohorts(order)
    shapes = shaping(family, [lane.config for lane in lanes], cohorts.spec)
    groups: dict[tuple[int, str], list[Lane]] = {}
    for lane, bracket in zip(lanes, brackets(order.search, len(lanes)), strict=True):
        groups.setdefault((bracket, signature(order.family, lane.config, shapes)), []).append(lane)
    return cohorts.plan(groups)


class _Cohorts:
    """Makes cohorts of groups of lanes that could be fused."""

    def __init__(self, order: Order) -> None:
        from lit_models.cohort.memory import gpu_memory

        self.order, self.search = order, order.search
        self.gpu = gpu_memory()
        self.device = "cuda" if self.gpu else "cpu"
        self.memory = self.gpu or order.memory
        self.cohorts: list[dict[str, Any]] = []
        self.notes: dict[str, int] = {}
        self.probed = dict(order.probed)
        self._data: Any = None

    def plan(self, groups: dict[tuple[int, str], list[Any]]) -> Planned:
        """Plan each group, and put those of a single lane together."""
        from lit_models.cohort.cost import step_cost

        singles: dict[int, list[Any]] = {}
        for (bracket, _), lanes in groups.items():
            cost = step_cost(self._family, lanes[0].config, self.spec, self._samples)
            if (need := cost.bytes + cost.shared) > self.memory:
                self._refuse(f"one trial needs about {need / 1e9:.2g} GB")
            if len(lanes) == 1:
                singles.setdefault(bracket, []).extend(lanes)
                continue
            way = self._way(lanes, cost)
            if way.reason:
                self._note(f"trained one by one: {way.reason}", lanes)
            self._divide(lanes, bracket, way, cost)
        for bracket, lanes in singles.items():
            self._note("trained alone: no other trial has the same architecture", lanes)
            self._divide(
                lanes, bracket, _Way("lone"), step_cost(self._family, lanes[0].config, self.spec, self._samples)
            )
        notes = [f"{count} trial{' is' if count == 1 else 's are'} {text}" for text, count in self.notes.items()]
        return Planned(self.cohorts, notes, "", self.gpu, self.probed)

    def _note(self, text: str, lanes: list[Any]) -> None:
        self.notes[text] = self.notes.get(text, 0) + len(lanes)

    def _refuse(self, what: str) -> NoReturn:
        """Give up for want of memory."""
        where, mend = ("a GPU's cohorts", "") if self.gpu else ("a worker", ", or raise machine.memory_gb")
        have = f"{where} may take {self.memory / 1e9:.2g} GB"
        raise _Impossible(f"{what}, and {have}; lower batch_size or the model's size{mend}")

    @property
    def _family(self) -> Any:
        from lit_models import FAMILIES

        return FAMILIES[self.order.family]

    @cached_property
    def spec(self) -> Any:
        from pathlib import Path

        from lit_models.forms import load_spec

        with _readable():
            return load_spec(Path(self.order.prepared))

    @cached_property
    def _samples(self) -> int:
        """Count the training and the validation set, whose bytes every worker holds."""
        from pathlib import Path

        from safetensors import safe_open

        count = 0
        with _readable():
            for folder, part in (
                (self.order.prepared, "train"),
                (self.order.augmented, "train"),
                (self.order.prepared, "val"),
            ):
                with safe_open(Path(folder) / f"{part}.safetensors", framework="numpy") as file:
                    count += file.get_slice("y").get_shape()[0]
        return count

    def _way(self, lanes: list[Any], cost: Any) -> _Way:
        """Choose the engine."""
        from lit_models.cohort.cost import choose_engine, obstacle, probe
        from lit_models.cohort.lanes import signature

        wanted = self.search["engine"]
        if wanted == "lone":
            return _Way("lone", reason="search.engine says so")
        if self._family.ALONE:
            return _Way("lone", reason=self._family.ALONE)
        if self.search["K"] == 1:
            return _Way("lone", reason="search.K is 1")
        if wanted == "auto" and choose_engine(cost, self.device) == "lone":
            size = f"{cost.flops_per_kernel / 1e6:.3g} MFLOP a kernel"
            reason = f"their kernels are so large ({size}) that fusing them gains nothing on this device"
            return _Way("lone", reason=reason)
        setting = self._setting()
        if hindrance := obstacle(lanes[:2], setting):
            return _Way("lone", reason=f"they cannot be fused ({hindrance})")
        setting = replace(setting, compiled=self._compiles(lanes, setting))
        if wanted == "probe":
            kind = signature(self.order.family, lanes[0].config)
            if kind not in self.probed:
                self.probed[kind] = probe(lanes[: self._most("fused", cost)], setting)
            if self.probed[kind] == "lone":
                return _Way("lone", reason="a timed probe found it faster")
        return _Way("fused", setting.compiled)

    def _compiles(self, lanes: list[Any], setting: Any) -> bool:
        """Say whether fused steps go through torch.compile: where it is wanted, and works."""
        from lit_models.cohort.cost import COMPILE, obstacle

        wanted = self.search["compile"]
        if wanted == "never" or (wanted == "auto" and not COMPILE[self.device]):
            return False
        if hindrance := obstacle(lanes[:2], replace(setting, compiled=True)):
            self._note(f"trained as they are: {hindrance}", lanes)
            return False
        return True

    def _setting(self) -> Any:
        from pathlib import Path

        from lit_models.cohort.data import CohortData
        from lit_models.cohort.engine import Setting
        from lit_models.cohort.memory import computing_on

        device = computing_on(self.device)
        with _readable():
            self._data = self._data or CohortData.read(Path(self.order.prepared), Path(self.order.augmented)).to(device)
        return Setting(self._family, self._data, self.search["epochs"], device)

    def _most(self, engine: str, cost: Any) -> int:
        from lit_models.cohort.cost import choose_lanes

        fits = (self.memory - cost.shared) // cost.bytes
        compares = self.search["scheduler"] != "none"
        most = choose_lanes(cost, engine, self.device, self.memory)  # type: ignore[arg-type]
        if self.search["K"] != "auto":
            most = self.search["K"]
        elif compares:
            # Rules compare the lanes of one cohort, so it must have enough of them.
            most = max(most, self.search["eta"] ** 2)
        return int(min(most, fits))

    def _divide(self, lanes: list[Any], bracket: int, way: _Way, cost: Any) -> None:
        """Cut a group into cohorts of equal size, two at least where there are enough, for there may be two workers.

        On a GPU into more, where a cohort would not fit.
        """
        most = self._most(way.engine, cost)
        if self.search["scheduler"] != "none" and most < min(self.search["eta"], len(lanes)):
            self._note(f"compared in cohorts of {most}, for want of memory for more: few rungs can let one go", lanes)
        parts = math.ceil(len(lanes) / most)
        least = 2 if self.search["scheduler"] == "none" else 2 * self.search["eta"]
        if self.search["K"] == "auto" and len(lanes) >= 2 * least:
            parts = max(parts, 2)
        while not (specs := self._probed(self._cut(lanes, parts, bracket, way))):
            if parts == len(lanes):
                self._refuse("one trial ran out of memory when it was tried")
            parts = min(2 * parts, len(lanes))
        self.cohorts += map(asdict, specs)

    def _cut(self, lanes: list[Any], parts: int, bracket: int, way: _Way) -> list[Any]:
        ends = [part * len(lanes) // parts for part in range(parts + 1)]
        return [self._cohort(lanes[start:end], bracket, way) for start, end in pairwise(ends)]

    def _probed(self, specs: list[Any]) -> list[Any]:
        """Return the cohorts with the memory of a GPU that each takes; none if one does not fit."""
        from lit_models.cohort.memory import cohort_memory

        if not self.gpu:
            return specs
        kinds = {spec.name: self._kinds(spec) for spec in specs}
        known: dict[frozenset[str], int] = {}
        # Of cohorts whose lanes are alike, the largest speaks for all.
        for spec in sorted(specs, key=lambda spec: -len(spec.trials)):
            kind = kinds[spec.name]
            if kind not in known:
                known[kind] = cohort_memory(spec, self._setting(), self.gpu)
            if not known[kind]:
                return []
        return [replace(spec, memory=known[kinds[spec.name]]) for spec in specs]

    def _kinds(self, spec: Any) -> frozenset[str]:
        """The signatures of a cohort's lanes."""
        from lit_models.cohort.lanes import signature

        return frozenset(signature(self.order.family, self._family.Config(**config)) for config in spec.configs)

    def _cohort(self, lanes: list[Any], bracket: int, way: _Way) -> Any:
        from lit_models.cohort.record import CohortSpec

        fused = way.engine == "fused" and len(lanes) > 1
        return CohortSpec(
            name=f"c{lanes[0].trial:05d}",
            trials=tuple(lane.trial for lane in lanes),
            configs=tuple(lane.config.model_dump() for lane in lanes),
            seeds=tuple(lane.seed for lane in lanes),
            engine="fused" if fused else "lone",
            threads=self.search["threads"],
            rule=rule(self.search, len(self.order.configs), self.order.bounds, bracket),
            metric=self.search["metric"],
            device=self.device,
            compiled=fused and way.compiled,
        )
