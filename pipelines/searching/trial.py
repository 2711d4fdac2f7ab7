"""A trial of a search as the recorder keeps it, and which of two is the better."""

from dataclasses import dataclass, field
from typing import Any

METRICS = ("train_loss", "val_loss", "val_accuracy", "lr")
OVER = ("finished", "stopped", "diverged", "failed")
COMPLETE = ("finished", "stopped")
Rank = tuple[float, float]


@dataclass
class Trial:
    """One configuration and its epochs."""

    index: int
    hyperparameters: dict[str, Any]
    run: str = ""
    epochs: list[dict[str, Any]] = field(default_factory=list)
    status: str = "planned"
    reason: str = ""
    began: float = 0.0
    ended: float = 0.0
    copied: list[tuple[int, int]] = field(default_factory=list)
    best: dict[str, Any] = field(default_factory=dict)

    def add(self, figures: dict[str, Any], metric: str) -> None:
        """Note an epoch; the other metric, then the earlier epoch, break ties for the best."""
        epoch = {"epoch": len(self.epochs) + 1, **figures}
        self.epochs.append(epoch)
        if not self.best or rank(epoch, metric) < rank(self.best, metric):
            self.best = epoch

    def summary(self) -> str:
        """The best epoch in words."""
        return f"validation accuracy {self.best['val_accuracy']:.4f} after epoch {self.best['epoch']}"


def rank(epoch: dict[str, Any], metric: str) -> Rank:
    """Lower is better."""
    accuracy, loss = -epoch["val_accuracy"], epoch["val_loss"]
    return (accuracy, loss) if metric == "val_accuracy" else (loss, accuracy)
