"""Pictures of a policy: how its returns grew, how they are spread, and what it does."""

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines.evaluations.base import Task
from pipelines.pictures import save

INK, ACCENT, GREY = "#22303c", "#d1495b", "#9aa5b1"
WIDTH = 240
"""Of the animation, in pixels."""

COLOURS = 32
"""Of the animation: environments are drawn in few."""

MILLISECONDS = 80
"""That a frame is shown."""

Frames = list[NDArray[np.uint8]]


def curve(task: Task, threshold: float, baseline: float) -> None:
    """Draw the mean return of the validation episodes after each epoch, and the share of them that was solved."""
    from matplotlib.figure import Figure

    history = task.trained / "history.csv"
    task.learning.write_bytes(history.read_bytes())
    with history.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["val_loss"]]
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    returns, solved = figure.subplots(1, 2)
    epochs = [int(row["epoch"]) for row in rows]
    marker = "o" if len(epochs) == 1 else ""
    returns.plot(epochs, [-float(row["val_loss"]) for row in rows], color=ACCENT, marker=marker)
    returns.axhline(threshold, color=INK, linestyle="--", linewidth=1, label=f"solved from {threshold:g}")
    returns.axhline(baseline, color=GREY, linewidth=1, label=f"random actions {baseline:.1f}")
    returns.set(title="Mean return of validation episodes", xlabel="epoch", ylabel="sum of rewards")
    returns.legend(frameon=False)
    solved.plot(epochs, [float(row["val_accuracy"]) for row in rows], color=ACCENT, marker=marker)
    solved.set(title="Share of validation episodes solved", xlabel="epoch", ylim=(-0.03, 1.03))
    for axes in (returns, solved):
        axes.spines[["top", "right"]].set_visible(False)
        axes.xaxis.get_major_locator().set_params(integer=True)
    save(figure, task.pictures / "reward_curve.png")


def histogram(task: Task, trained: NDArray[np.float64], untrained: NDArray[np.float64], threshold: float) -> None:
    """Draw how the returns of the test episodes are spread, trained and at random."""
    from matplotlib.figure import Figure

    everything = np.concatenate([trained, untrained, [threshold]])
    bins = np.linspace(everything.min(), max(everything.max(), everything.min() + 1), 31).tolist()
    figure = Figure(figsize=(6, 3.4), layout="constrained")
    axes = figure.subplots()
    axes.hist(untrained, bins, color=GREY, label=f"random actions, mean {untrained.mean():.1f}")
    axes.hist(trained, bins, color=ACCENT, alpha=0.8, label=f"trained, mean {trained.mean():.1f}")
    axes.axvline(threshold, color=INK, linestyle="--", linewidth=1, label=f"solved from {threshold:g}")
    axes.set(title=f"Returns of {len(trained)} test episodes", xlabel="sum of rewards", ylabel="episodes")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    save(figure, task.pictures / "returns.png")


def strip(frames: Frames, most: int, every: int, title: str, picture: Path) -> None:
    """Draw some of the frames (height, width, 3) side by side, evenly spaced, the first and the last among them."""
    from matplotlib.figure import Figure

    places = np.unique(np.linspace(0, len(frames) - 1, min(most, len(frames))).round().astype(int))
    columns = min(4, len(places))
    rows = -(-len(places) // columns)
    figure = Figure(figsize=(2.6 * columns, 1.95 * rows + 0.4), layout="constrained")
    figure.suptitle(f"{title}: an episode of the trained agent")
    grid = figure.subplots(rows, columns, squeeze=False).flatten()
    for axes in grid:
        axes.set_axis_off()
    for axes, place in zip(grid, places, strict=False):
        axes.imshow(frames[place])
        axes.set_title("the end" if place == len(frames) - 1 else f"step {place * every}", fontsize=8)
    save(figure, picture)


def animation(frames: Frames, picture: Path) -> None:
    """Write frames (height, width, 3) as an animated GIF that starts over and over."""
    from PIL import Image

    height = max(1, round(frames[0].shape[0] * WIDTH / frames[0].shape[1]))
    small = [Image.fromarray(frame).resize((WIDTH, height), Image.Resampling.BILINEAR) for frame in frames]
    small = [image.quantize(COLOURS) for image in small]
    small[0].save(picture, save_all=True, append_images=small[1:], duration=MILLISECONDS, loop=0, optimize=True)
