"""On-the-fly augmentation, batched against per sample: `python -m tests.benchmarks.augmentation`.

The same policy (shift, rotation, zoom, shear; flip and jitter on colour images), batches of 256, images per
second. Theirs: torchvision v2 transforms, one sample at a time, in a DataLoader with two worker processes.
Ours: `augment_batch` on whole batches in this process, with the same two threads.
"""

import argparse
import statistics
import time
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import InterpolationMode, v2

from lit_models.core.augment import AugmentPolicy, augment_batch
from lit_models.core.noise import EpochNoise, Noise

BATCH = 256


class PerSample(Dataset[Tensor]):
    """Images (N, C, H, W) in [0, 1], each changed by torchvision when it is asked for."""

    def __init__(self, x: Tensor, policy: AugmentPolicy) -> None:
        self.x = x
        zoom = 1 + policy.scale
        steps: list[torch.nn.Module] = [
            v2.RandomAffine(
                degrees=policy.rotate,
                translate=(policy.shift, policy.shift),
                scale=(1 / zoom, zoom),
                shear=policy.shear,
                interpolation=InterpolationMode.BILINEAR,
            )
        ]
        if policy.flip:
            steps.append(v2.RandomHorizontalFlip())
        if policy.jitter:
            steps.append(v2.ColorJitter(brightness=policy.jitter, contrast=policy.jitter))
        self.transform = v2.Compose(steps)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> Tensor:
        changed: Tensor = self.transform(self.x[index])
        return changed


def drain(batches: Iterator[Tensor]) -> float:
    """Return images per second, from the second batch on: the start of worker processes does not count."""
    next(batches)
    start, count = time.perf_counter(), 0
    for batch in batches:
        count += len(batch)
    return count / (time.perf_counter() - start)


def batched(x: Tensor, policy: AugmentPolicy, passes: int) -> Iterator[Tensor]:
    """Yield augmented batches, gathered by index as in training, over so many passes."""
    generator = torch.Generator().manual_seed(0)
    for epoch in range(passes):
        noise = EpochNoise(0, epoch)
        for index in torch.split(torch.randperm(len(x), generator=generator), BATCH):
            yield augment_batch(x.index_select(0, index), 1.0, policy, Noise(noise.next()))


def measure(shape: tuple[int, int, int], policy: AugmentPolicy, count: int, rounds: int) -> tuple[float, float]:
    """Return median images per second of (torchvision, ours), rounds alternating."""
    x = torch.rand(count, *shape)
    loader = DataLoader(PerSample(x, policy), batch_size=BATCH, shuffle=True, num_workers=2)
    theirs, ours = [], []
    for _ in range(rounds):
        theirs.append(drain(iter(loader)))
        ours.append(drain(batched(x, policy, passes=5)))
    return statistics.median(theirs), statistics.median(ours)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=8192)
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    cases = (
        ((1, 8, 8), AugmentPolicy(), 5.0),
        ((3, 32, 32), AugmentPolicy(flip=True, jitter=0.2), 2.0),
    )
    print(f"{'images':>10}{'torchvision/s':>16}{'ours/s':>12}{'ratio':>8}{'target':>8}")
    for shape, policy, target in cases:
        theirs, ours = measure(shape, policy, arguments.images, arguments.rounds)
        channels, height, width = shape
        name = f"{height}x{width}x{channels}"
        print(f"{name:>10}{theirs:>16,.0f}{ours:>12,.0f}{ours / theirs:>8.1f}{target:>8.1f}")


if __name__ == "__main__":
    main()
