"""Where things are: outs stand in the working folder, state that must survive a stage in the main checkout."""

import os
from pathlib import Path


def main_checkout() -> Path:
    """The checkout that lasts. A queued DVC experiment works in a copy that vanishes; `DVC_ROOT` names the main one."""
    return Path(os.environ.get("DVC_ROOT") or Path.cwd()).resolve()


def state(*parts: str) -> Path:
    """A path for state that no out may hold: half-done work, unsent records."""
    return main_checkout().joinpath(".fifty", *parts)


def raw(dataset: str) -> Path:
    """Bytes as they came."""
    return Path("data/raw") / dataset


def prepared(dataset: str) -> Path:
    """Split, typed tensors and `card.json`."""
    return Path("data/prepared") / dataset


def augmented(dataset: str) -> Path:
    """The versioned augmented copies of the training set."""
    return Path("data/augmented") / dataset


def results(experiment: str) -> Path:
    """Everything the experiment found out, `search/` and `metrics.json` among it."""
    return Path("results") / experiment


def model(experiment: str) -> Path:
    """The trained winner."""
    return Path("models") / experiment
