"""What happens between epochs: seeding, history, early stopping, checkpoints."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from torch import Tensor
from tqdm import tqdm

from lit_models.core.base import LitModel
from lit_models.core.data import PreparedData

CHECKPOINT = "last.ckpt"
# Epochs shorter than this share a checkpoint, so that writing it never costs more than a few per cent.
CHECKPOINT_SECONDS = 2.0

StopReason = Literal["finished", "early", "asked", "diverged"]


@dataclass(frozen=True)
class EpochResult:
    """Figures of one epoch.

    Attributes:
        epoch: 1-based.
        train_loss: mean over the epoch's samples as trained on (augmented, smoothed).
        val_loss: mean of the plain losses, or None without validation data.
        val_accuracy: share of hits, or None without validation data; the family says what a hit is, where targets are
            no classes.
        lr: learning rate of the epoch's first step.
        seconds: wall time; the only figure that differs from run to run.
    """

    epoch: int
    train_loss: float
    val_loss: float | None
    val_accuracy: float | None
    lr: float
    seconds: float


class EpochKeeper(pl.Callback):
    """Seeds each epoch, keeps its figures, decides whether to go on, and saves the state."""

    def __init__(
        self,
        model: LitModel,
        data: PreparedData,
        epochs: int,
        seed: int,
        on_epoch: Callable[[EpochResult], bool | None] | None,
        patience: int | None,
        checkpoint_dir: Path | None,
        progress: bool,
    ) -> None:
        self.model, self.data = model, data
        self.epochs, self.seed = epochs, seed
        self.on_epoch, self.patience = on_epoch, patience
        self.checkpoint_dir = checkpoint_dir
        self.progress = progress
        self.history: list[EpochResult] = []
        self.best_epoch = 0
        self.best_loss = math.inf
        self.best_weights: dict[str, Tensor] | None = None
        self.stopped: StopReason | None = None
        self.resume_from: Path | None = None
        self.saved_at = time.monotonic()

    @property
    def run(self) -> dict[str, Any]:
        """Return what a checkpoint must agree on with the call that resumes it."""
        return {
            "model": type(self.model).__name__,
            "config": self.model.config.model_dump(),
            "epochs": self.epochs,
            "seed": self.seed,
            "patience": self.patience,
            "data_seed": self.data.seed,
            "samples": len(self.data.train.y),
        }

    def peek(self, path: Path) -> None:
        """Look whether there is a state to go on from; take up at once one that has ended.

        Raises:
            ValueError: the checkpoint belongs to other arguments.
        """
        if not path.is_file():
            return
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        state = checkpoint["callbacks"][self.state_key]
        for key, value in self.run.items():
            if state["run"].get(key) != value:
                raise ValueError(f"{path} is of another run: its {key} is {state['run'].get(key)}, not {value}")
        self.resume_from = path
        if state["stopped"] is not None:
            self.load_state_dict(state)
            self.model.load_state_dict(checkpoint["state_dict"])

    def state_dict(self) -> dict[str, Any]:
        """Return all that goes into the checkpoint beside weights, optimizer and sampler."""
        return {
            "run": self.run,
            "history": [asdict(result) for result in self.history],
            "best_epoch": self.best_epoch,
            "best_loss": self.best_loss,
            "best_weights": self.best_weights,
            "stopped": self.stopped,
            "carried": self.model.carried(),
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take up a state."""
        self.history = [EpochResult(**result) for result in state_dict["history"]]
        self.best_epoch = state_dict["best_epoch"]
        self.best_loss = state_dict["best_loss"]
        self.best_weights = state_dict["best_weights"]
        self.stopped = state_dict["stopped"]
        self.model.carry(state_dict["carried"])

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Let the sampler hear of losses, if it listens."""
        del trainer, pl_module
        self.bar = tqdm(
            total=self.epochs, initial=len(self.history), unit="epoch", disable=not self.progress, leave=False
        )
        self.model.observe = self.data.train.sampler.observe

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Seed the epoch and start its clock."""
        del pl_module
        self.started = time.perf_counter()
        self.data.train.epoch = trainer.current_epoch
        self.model.seed_epoch(self.seed, trainer.current_epoch)
        self.lr = float(trainer.optimizers[0].param_groups[0]["lr"])

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note the epoch's figures, decide, tell, save."""
        del pl_module
        result = self._result(trainer.current_epoch + 1)
        self.history.append(result)
        self.stopped = self._judge(result)
        self.bar.update(1)
        if self.on_epoch is not None and self.on_epoch(result) and self.stopped is None:
            self.stopped = "asked"
        if self.stopped is None and result.epoch == self.epochs:
            self.stopped = "finished"
        trainer.should_stop = self.stopped is not None
        self._save(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Close the bar."""
        del trainer, pl_module
        self.bar.close()

    def _result(self, epoch: int) -> EpochResult:
        model = self.model
        val_loss = val_accuracy = None
        if self.data.val is not None:
            val_loss, val_accuracy = (model.val_sums / model.val_count).tolist()
        return EpochResult(
            epoch=epoch,
            train_loss=float(model.train_sum / model.train_count),
            val_loss=val_loss,
            val_accuracy=val_accuracy,
            lr=self.lr,
            seconds=time.perf_counter() - self.started,
        )

    def _judge(self, result: EpochResult) -> StopReason | None:
        """Keep the best epoch, and say whether this one is the last."""
        if not all(math.isfinite(loss) for loss in (result.train_loss, result.val_loss or 0.0)):
            return "diverged"
        if result.val_loss is None:
            self.best_epoch = result.epoch
        elif result.val_loss < self.best_loss:
            self.best_epoch, self.best_loss = result.epoch, result.val_loss
            if self.patience is not None:
                weights = self.model.state_dict()
                self.best_weights = {name: value.detach().clone() for name, value in weights.items()}
        elif self.patience is not None and result.epoch - self.best_epoch >= self.patience:
            return "early"
        return None

    def _save(self, trainer: pl.Trainer) -> None:
        """Write the checkpoint beside its place and swap it in, so that a kill never leaves half of one."""
        if self.checkpoint_dir is None:
            return
        if self.stopped is None and time.monotonic() - self.saved_at < CHECKPOINT_SECONDS:
            return
        self.checkpoint_dir.mkdir(parents=True, exist_ok=True)
        whole = self.checkpoint_dir / CHECKPOINT
        part = whole.with_suffix(".part")
        trainer.save_checkpoint(part)
        part.replace(whole)
        self.saved_at = time.monotonic()
