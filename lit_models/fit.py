"""The train entry: a model, its data and a seed go in; trained weights and their history come out."""

import contextlib
import logging
import signal
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.exceptions import SIGTERMException

from lit_models.core.base import LitModel
from lit_models.core.data import PreparedData
from lit_models.epochs import CHECKPOINT, EpochKeeper, EpochResult, StopReason

__all__ = ["EpochResult", "FitResult", "fit"]


@dataclass(frozen=True)
class FitResult:
    """How a training went.

    Attributes:
        history: one entry an epoch, those before an interruption included.
        best_epoch: 1-based epoch of the lowest validation loss; the last epoch where nothing validates;
            0 if none was finite.
        stopped: "finished" all epochs, "early" by patience, "asked" by on_epoch, or "diverged".
    """

    history: list[EpochResult]
    best_epoch: int
    stopped: StopReason


def fit(
    model: LitModel,
    data: PreparedData,
    *,
    epochs: int,
    seed: int,
    on_epoch: Callable[[EpochResult], bool | None] | None = None,
    patience: int | None = None,
    checkpoint_dir: Path | None = None,
    progress: bool = False,
    accelerator: Literal["auto", "cpu", "gpu"] = "auto",
) -> FitResult:
    """Train a model in place and leave it in evaluation mode, on the CPU.

    Given a checkpoint_dir, the state is written there after every epoch (every two seconds if epochs are
    shorter) and a call with the same arguments goes on from it: killed at any moment and started again, it
    ends in the same weights and history, bit by bit on a CPU with the same number of threads (on a GPU as
    far as its kernels repeat themselves). The checkpoint knows the arguments, but of the data only its seed
    and size: give each data set a folder of its own. The schedule stretches over `epochs`.

    Args:
        model: freshly built, also when resuming.
        data: freshly built, also when resuming.
        epochs: how many at most.
        seed: of dropout, augmentation and mixing; batches have the seed of `data`, weights that of `model`.
        on_epoch: called after each epoch, before its checkpoint, so that an epoch lost to a kill is told
            again; true ends the training.
        patience: end after so many epochs without a lower validation loss, and restore the weights of
            the best epoch.
        checkpoint_dir: where to keep the resumable state, or None to write nothing.
        progress: show a bar of epochs on stderr.
        accelerator: where to train; "auto" takes a GPU if there is one.

    Raises:
        ValueError: patience without validation data; a checkpoint of other arguments.
        KeyboardInterrupt: on SIGINT, at once.
        SystemExit: with code 143 on SIGTERM, after the step at hand.
    """
    if epochs < 1:
        raise ValueError(f"epochs must be at least 1, not {epochs}")
    if patience is not None and data.val is None:
        raise ValueError("patience needs validation data: fit_on is train+val")
    keeper = EpochKeeper(model, data, epochs, seed, on_epoch, patience, checkpoint_dir, progress)
    if checkpoint_dir is not None:
        keeper.peek(checkpoint_dir / CHECKPOINT)
    if keeper.stopped is None:
        _train(model, data, keeper, accelerator)
    if keeper.best_weights is not None:
        model.load_state_dict(keeper.best_weights)
    model.eval()
    return FitResult(keeper.history, keeper.best_epoch, keeper.stopped or "finished")


def _train(model: LitModel, data: PreparedData, keeper: EpochKeeper, accelerator: str) -> None:
    """Run Lightning's Trainer with all that costs time or writes files turned off."""
    with _quiet(), _private_randomness(), _plain_interrupts():
        trainer = pl.Trainer(
            max_epochs=keeper.epochs,
            accelerator=accelerator,
            devices=1,
            callbacks=[keeper],
            limit_val_batches=0 if data.val is None else 1.0,
            num_sanity_val_steps=0,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        try:
            trainer.fit(model, datamodule=data, ckpt_path=keeper.resume_from, weights_only=True)
        finally:
            # Nothing of the run clings to the model, which may then be copied, pickled and exported.
            model.release()
            data.trainer = None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep Lightning's log lines (devices found, tips, why it stopped) off the screen.

    And two of its warnings: of a deprecated name that it uses itself, and of a GPU left alone on purpose.
    """
    loggers = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning", "lightning_fabric")]
    loggers += [logging.getLogger("pytorch_lightning.utilities.rank_zero")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)
            warnings.filterwarnings("ignore", message="GPU available but not used")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


@contextlib.contextmanager
def _private_randomness() -> Iterator[None]:
    """Give the caller's torch generators back as they were: training seeds them every epoch."""
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        yield


@contextlib.contextmanager
def _plain_interrupts() -> Iterator[None]:
    """Undo what Lightning makes of signals: SIGINT becomes exit code 1, SIGTERM exit code 0."""
    try:
        yield
    except SIGTERMException:
        raise SystemExit(128 + signal.SIGTERM) from None
    except SystemExit as stop:
        if isinstance(stop.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        raise
