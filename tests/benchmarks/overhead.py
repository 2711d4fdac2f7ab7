"""What training through Lightning costs over a bare PyTorch loop: `python -m tests.benchmarks.overhead`.

Both train the digits CNN (8x8x1, 1257 samples, batches of 64, AdamW) on the same batches and validate after
every epoch. Rounds alternate, so that a noisy machine disturbs both alike; the table shows medians.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812
from safetensors.torch import save_file
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from lit_models.cnn import CNNConfig, LitCNN
from lit_models.core.data import PreparedData
from lit_models.fit import fit


def write_digits(folder: Path) -> None:
    """Write scikit-learn's digits in the prepared format, split 70/15/15, stratified."""
    images, labels = load_digits(return_X_y=True)
    images = images.reshape(-1, 1, 8, 8).astype("uint8")
    train, rest, y_train, y_rest = train_test_split(images, labels, test_size=0.3, stratify=labels, random_state=0)
    val, test, y_val, y_test = train_test_split(rest, y_rest, test_size=0.5, stratify=y_rest, random_state=0)
    for name, x, y in (("train", train, y_train), ("val", val, y_val), ("test", test, y_test)):
        tensors = {"x": torch.from_numpy(x), "y": torch.from_numpy(y).long()}
        save_file(tensors, folder / f"{name}.safetensors")
    card = {
        "shape": [1, 8, 8],
        "classes": [str(digit) for digit in range(10)],
        "form": "image",
        "scale": 16.0,
        "mean": [float(train.mean() / 16)],
        "std": [float(train.std() / 16)],
    }
    (folder / "card.json").write_text(json.dumps(card), encoding="utf-8")


def ours(folder: Path, config: CNNConfig, epochs: int) -> float:
    """Train with `fit`; return seconds."""
    data = PreparedData(folder, None, config, seed=0)
    model = LitCNN(config, data.spec)
    start = time.perf_counter()
    fit(model, data, epochs=epochs, seed=0, accelerator="cpu")
    return time.perf_counter() - start


def bare(folder: Path, config: CNNConfig, epochs: int) -> float:
    """Train with the loop a person would write; return seconds."""
    data = PreparedData(folder, None, config, seed=0)
    model = LitCNN(config, data.spec)
    start = time.perf_counter()
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.lr, weight_decay=config.weight_decay)
    for epoch in range(epochs):
        data.train.epoch = epoch
        model.train()
        total = 0.0
        for x, y, _ in data.train:
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            total += loss.item() * len(y)
        model.eval()
        with torch.no_grad():
            for x, y, _ in data.val or ():
                logits = model(x)
                F.cross_entropy(logits, y).item()
                (logits.argmax(1) == y).sum().item()
    return time.perf_counter() - start


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    config = CNNConfig()
    times: dict[str, list[float]] = {"bare loop": [], "fit": []}
    with tempfile.TemporaryDirectory() as folder:
        write_digits(Path(folder))
        ours(Path(folder), config, 1)  # warm up: imports, allocator, oneDNN
        bare(Path(folder), config, 1)
        for _ in range(arguments.rounds):
            times["bare loop"].append(bare(Path(folder), config, arguments.epochs))
            times["fit"].append(ours(Path(folder), config, arguments.epochs))
    ratio = statistics.median(b / a for a, b in zip(times["bare loop"], times["fit"], strict=True))
    print(f"digits CNN, {arguments.epochs} epochs, {arguments.threads} thread(s), {arguments.rounds} rounds")
    print(f"{'':12}{'median s':>10}{'ratio':>8}")
    print(f"{'bare loop':12}{statistics.median(times['bare loop']):>10.3f}{1.0:>8.2f}")
    print(f"{'fit':12}{statistics.median(times['fit']):>10.3f}{ratio:>8.2f}")


if __name__ == "__main__":
    main()
