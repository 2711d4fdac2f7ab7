"""What is to be planned, and what a plan is: plain data, which goes from one process to another."""

from dataclasses import dataclass, field
from typing import Any

# Of the way plans are made: another one begins searches anew.
VERSION = 2


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
        memory: bytes of main memory that a worker may take; counts where there is no GPU.
        probed: signature -> the engine that a timed probe found faster, in an earlier generation.
    """

    family: str
    configs: list[dict[str, Any]]
    first: int
    search: dict[str, Any]
    bounds: dict[str, tuple[float, float, bool]]
    prepared: str
    augmented: str
    memory: int
    probed: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Planned:
    """The cohorts of a generation, as plain data, and what there is to say about them, a sentence each.

    `gpu_memory` are the bytes of a GPU that they may fill together, 0 if they are planned for none; `probed` are the
    answers of timed probes, by signature.
    """

    cohorts: list[dict[str, Any]]
    notes: list[str]
    fault: str = ""
    gpu_memory: int = 0
    probed: dict[str, str] = field(default_factory=dict)
