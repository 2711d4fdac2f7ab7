"""What every evaluation is made of: its section, and a function that scores a trained model and draws pictures."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pydantic import BaseModel

if TYPE_CHECKING:
    from torch import Tensor

    from lit_models.core.base import LitModel

# Every evaluation has a naive baseline: what its headline would be without learning anything from inputs.
BASELINE = "baseline"


@dataclass(frozen=True)
class Task:
    """A trained model and what it is tested on.

    Attributes:
        model: in evaluation mode.
        x: inputs (N, ...) of the test part.
        y: targets (N, ...).
        card: of the prepared data.
        prepared: folder of the prepared data.
        trained: folder of the model, with history.csv.
        plots: folder to write into; `pictures` (PNG), `tables` (CSV) and `confusion` (for DVC's plots) are made in it.
    """

    model: "LitModel"
    x: "Tensor"
    y: "Tensor"
    card: dict[str, Any]
    prepared: Path
    trained: Path
    plots: Path

    @property
    def pictures(self) -> Path:
        """Where pictures go."""
        return self.plots / "pictures"

    @property
    def tables(self) -> Path:
        """Where tables go."""
        return self.plots / "tables"

    @property
    def learning(self) -> Path:
        """The CSV of the learning curves, for DVC's plots."""
        return self.plots / "learning.csv"

    @property
    def confusion(self) -> Path:
        """Where confusion.csv goes, of tasks with classes."""
        return self.plots / "confusion"


Options = TypeVar("Options", bound=BaseModel)


@dataclass(frozen=True)
class Evaluation(Generic[Options]):
    """How models of one form of data are tested.

    Attributes:
        Config: the section `experiments.<key>.evaluate`.
        run: `run(task, config)` draws pictures and returns scores, among them the form's headline (headlines.py), and
            the same of a naive baseline as `baseline`.
    """

    Config: type[Options]
    run: Callable[[Task, Options], dict[str, float]]
