"""What the train stage may take over from the search: the weights that the winner ended with, and its epochs."""

from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.faults import Fault

if TYPE_CHECKING:
    from lit_models.core.base import LitModel
    from lit_models.fit import FitResult


def take_weights(model: "LitModel", search: Path) -> None:
    """Load the winner's weights into a model.

    Raises:
        Fault: the search kept none.
    """
    from safetensors.torch import load_file

    weights = load_file(search / "winner.safetensors")
    if not weights:
        raise Fault(
            "the search has no weights of its winner, which was stopped early or changed on the way; "
            "set train.start: scratch"
        )
    model.load_state_dict(weights)


def as_trained(search: Path, trial: int) -> "FitResult":
    """The winner's own epochs, as if they were those of a training."""
    import pyarrow.parquet as pq

    from lit_models.fit import EpochResult, FitResult

    names = ("epoch", "train_loss", "val_loss", "val_accuracy", "lr")
    rows = pq.read_table(search / "history.parquet", filters=[("trial", "==", trial)]).to_pylist()
    history = [EpochResult(**{name: row[name] for name in names}, seconds=0.0) for row in rows]
    return FitResult(history, len(history), "finished")
