"""What a cohort is and what came of it, as plain data that goes through JSON."""

import json
import math
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self

from lit_models.cohort.engine import Figures
from lit_models.cohort.rules import Rank, RuleSpec

EngineName = Literal["fused", "lone"]
Status = Literal["running", "finished", "stopped", "diverged"]
Metric = Literal["val_accuracy", "val_loss"]


@dataclass(frozen=True)
class CohortSpec:
    """What is settled about a cohort before its first step, and decides every bit of its results.

    Attributes:
        name: names its files.
        trials: numbers of its lanes in the search.
        configs: the lanes' hyperparameters, all of the family's fields.
        seeds: the lanes' seeds.
        engine: how they are trained.
        threads: CPU threads of the process that trains them.
        rule: which lanes go on after an epoch.
        metric: what rules compare lanes by.
        device: kind of device that it was planned for.
        explosion: a loss beyond this has diverged, though it may be finite.
        compiled: whether the fused engine's steps go through `torch.compile`, which rounds otherwise.
        memory: bytes of a GPU that it takes, as probed; 0 if not probed. Decides how many share a GPU, and no result.
    """

    name: str
    trials: tuple[int, ...]
    configs: tuple[dict[str, Any], ...]
    seeds: tuple[int, ...]
    engine: EngineName
    threads: int
    rule: RuleSpec
    metric: Metric
    device: str = "cpu"
    explosion: float = 1e6
    compiled: bool = False
    memory: int = 0

    @classmethod
    def of(cls, data: dict[str, Any]) -> Self:
        """Make one from what `asdict` and JSON made of another."""
        lists = {name: tuple(data[name]) for name in ("trials", "configs", "seeds")}
        return cls(**{**data, **lists, "rule": RuleSpec(**data["rule"])})


@dataclass
class LaneRecord:
    """What became of one lane.

    Attributes:
        status: "running" until it ran to the end, was stopped by its rule, or diverged.
        epochs: the figures of each epoch whose losses were finite.
        changes: hyperparameters that it took over from other lanes (PBT).
        copied: (epoch, trial) of each lane whose weights it took over.
        ended: when it stopped running, Unix time in seconds; 0 before.
    """

    status: Status = "running"
    epochs: list[Figures] = field(default_factory=list)
    changes: dict[str, float] = field(default_factory=dict)
    copied: list[tuple[int, int]] = field(default_factory=list)
    ended: float = 0.0

    def end(self, status: Status) -> None:
        """Stop running."""
        self.status, self.ended = status, time.time()


@dataclass
class Record:
    """What became of a cohort so far.

    Attributes:
        epoch: how many epochs are done.
        lanes: by trial.
        seconds: wall time of each epoch; with `began` and `ended` all that differs from run to run.
        began: when the first step was taken, Unix time in seconds; 0 before it.
    """

    epoch: int
    lanes: dict[int, LaneRecord]
    seconds: list[float] = field(default_factory=list)
    began: float = 0.0

    @classmethod
    def new(cls, trials: Iterable[int]) -> Self:
        """Begin a record."""
        return cls(0, {trial: LaneRecord() for trial in trials})

    @property
    def alive(self) -> list[int]:
        """The trials that go on."""
        return [trial for trial, lane in self.lanes.items() if lane.status == "running"]

    def since(self, epoch: int) -> str:
        """As JSON, without the figures of the first `epoch` epochs."""
        lanes = {
            trial: LaneRecord(lane.status, lane.epochs[epoch:], lane.changes, lane.copied, lane.ended)
            for trial, lane in self.lanes.items()
        }
        return Record(self.epoch, lanes, self.seconds[epoch:], self.began).text()

    def text(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `text` wrote."""
        return cls.of(json.loads(text))

    @classmethod
    def of(cls, data: dict[str, Any]) -> Self:
        """Make one from what JSON made of another."""
        lanes = {
            int(trial): LaneRecord(
                lane["status"],
                [Figures(**figures) for figures in lane["epochs"]],
                lane["changes"],
                [(epoch, source) for epoch, source in lane["copied"]],
                lane["ended"],
            )
            for trial, lane in data["lanes"].items()
        }
        return cls(data["epoch"], lanes, data["seconds"], data["began"])


def rank(figures: Figures, metric: Metric) -> Rank:
    """Order figures: lower is better; the other metric breaks ties."""
    accuracy, loss = -figures.val_accuracy, figures.val_loss
    return (accuracy, loss) if metric == "val_accuracy" else (loss, accuracy)


def has_diverged(figures: Figures, explosion: float) -> bool:
    """Whether a loss is no number, or beyond what training comes back from."""
    losses = (figures.train_loss, figures.val_loss)
    return not all(math.isfinite(loss) and loss <= explosion for loss in losses)
