"""What the rivals share: the data, the network and a training loop in plain PyTorch.

The network is LeNet-5 as `lit_models.cnn` builds it by default: 6 and 16 maps of 5x5, 120 and 84 units.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from safetensors.torch import load_file
from torch import Tensor, nn

BATCH = 64
EPOCHS = 10


def read(prepared: Path, part: str) -> tuple[Tensor, Tensor]:
    """Read images (N, 1, 8, 8), normalised, and labels (N,) of one part of the prepared data."""
    card = json.loads((prepared / "card.json").read_text())
    tensors = load_file(prepared / f"{part}.safetensors")
    x = tensors["x"].float() / card["scale"]
    return (x - card["mean"][0]) / card["std"][0], tensors["y"]


def network(dropout: float) -> nn.Sequential:
    """Build the network."""
    net = nn.Sequential(
        *(nn.Conv2d(1, 6, 5, padding=2), nn.MaxPool2d(2), nn.ReLU()),
        *(nn.Conv2d(6, 16, 5, padding=2), nn.MaxPool2d(2), nn.ReLU(), nn.Flatten()),
        *(nn.Linear(64, 120), nn.ReLU(), nn.Dropout(dropout)),
        *(nn.Linear(120, 84), nn.ReLU(), nn.Dropout(dropout), nn.Linear(84, 10)),
    )
    for layer in net:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
    return net


def train(config: dict[str, Any], seed: int, prepared: Path) -> Iterator[float]:
    """Train one configuration and yield its validation accuracy after each epoch."""
    torch.manual_seed(seed)
    (x, y), (val_x, val_y) = read(prepared, "train"), read(prepared, "val")
    net = network(config["dropout"])
    optimizer = torch.optim.AdamW(net.parameters(), lr=config["lr"], weight_decay=config["weight_decay"], fused=True)
    steps = -(-len(y) // BATCH) * EPOCHS
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(EPOCHS):
        net.train()
        for index in torch.randperm(len(y)).split(BATCH):
            loss = F.cross_entropy(net(x[index]), y[index], label_smoothing=config["label_smoothing"])
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
        net.eval()
        with torch.no_grad():
            logits = net(val_x)
            F.cross_entropy(logits, val_y).item()
            yield (logits.argmax(1) == val_y).float().mean().item()


class Log:
    """Notes validation accuracies with the time of day, a JSON line each, for the table."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self, trial: int, epoch: int, accuracy: float) -> None:
        """Note what a trial reached after an epoch."""
        with self._path.open("a") as file:
            file.write(json.dumps({"time": time.time(), "trial": trial, "epoch": epoch, "accuracy": accuracy}) + "\n")
