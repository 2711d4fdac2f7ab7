"""The network as a person would write it for Lightning, and the callback that reports to Ray Tune."""

from typing import Any

import pytorch_lightning as pl
import torch
import torch.nn.functional as F  # noqa: N812
from ray import tune

from tests.benchmarks.rivals.plain import Log, network


class Model(pl.LightningModule):
    """LeNet-5 with AdamW and a cosine schedule; `config` has lr, weight_decay, dropout and label_smoothing."""

    def __init__(self, config: dict[str, float]) -> None:
        super().__init__()
        self.config = config
        self.net = network(config["dropout"])

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        """Return the loss of a batch."""
        x, y = batch
        loss = F.cross_entropy(self.net(x), y, label_smoothing=self.config["label_smoothing"])
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Log loss and accuracy of a batch."""
        x, y = batch
        logits = self.net(x)
        self.log("val_loss", F.cross_entropy(logits, y))
        self.log("val_accuracy", (logits.argmax(1) == y).float().mean())

    def configure_optimizers(self) -> Any:
        """Return optimizer and schedule."""
        rates = {"lr": self.config["lr"], "weight_decay": self.config["weight_decay"]}
        optimizer = torch.optim.AdamW(self.parameters(), **rates)
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class Report(pl.Callback):
    """Reports to Tune after each validation."""

    def __init__(self, trial: int, note: Log) -> None:
        self.trial, self.note = trial, note

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Report the figures of the epoch."""
        figures = {name: value.item() for name, value in trainer.callback_metrics.items()}
        self.note(self.trial, trainer.current_epoch + 1, figures["val_accuracy"])
        tune.report(figures)
