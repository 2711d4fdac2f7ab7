"""Pictures of translators: where heads look, and how the share of right translations depends on length."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from pipelines.evaluations.base import Task
from pipelines.evaluations.reading import differing_heads
from pipelines.evaluations.sequence_pictures import heads
from pipelines.pictures import save

if TYPE_CHECKING:
    from torch import Tensor

    from lit_models.transformer import LitTransformer

PARTS = {"test": ("test part", "#22577a"), "held_out": ("held out, of a kind never trained on", "#d1495b")}
Floats = NDArray[np.floating[Any]]


def accuracy_by_length(parts: Mapping[str, tuple[NDArray[np.int64], NDArray[np.bool_]]], picture: Path) -> None:
    """Draw the share of right translations for each length of the target.

    Args:
        parts: name of a part -> its targets' lengths in tokens (N,), and whether each was written right (N,).
        picture: the PNG to write.
    """
    from matplotlib.figure import Figure

    lengths = sorted({int(length) for own, _ in parts.values() for length in own})
    figure = Figure(figsize=(max(5.0, 1.5 + 0.45 * len(lengths) * len(parts)), 3.6), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / len(parts)
    for number, (name, (own, right)) in enumerate(parts.items()):
        label, color = PARTS[name]
        present = [length for length in lengths if (own == length).any()]
        at = [lengths.index(length) + (number - (len(parts) - 1) / 2) * width for length in present]
        shares = [float(right[own == length].mean()) for length in present]
        axes.bar(at, shares, width * 0.92, color=color, label=label)
        for place, length, share in zip(at, present, shares, strict=True):
            hits, count = int(right[own == length].sum()), int((own == length).sum())
            axes.text(place, share + 0.015, f"{hits}\nof {count}", ha="center", va="bottom", fontsize=7)
    axes.set(title="Exact match by length of the target", xlabel="tokens of the target", ylabel="share right")
    axes.set(ylim=(0, 1.2), yticks=np.linspace(0, 1, 6))
    axes.set_xticks(range(len(lengths)), [str(length) for length in lengths])
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(frameon=False, loc="outside lower center", ncols=2)
    save(figure, picture)


def attention(task: Task, right: "Tensor", most: int) -> None:
    """Draw the two heads that differ most, between target and source and within the source, of one test pair.

    It is the longest of at most `most` tokens a side that is translated right, if there is one.
    """
    import torch

    from pipelines.evaluations.pairs import words

    network = cast("LitTransformer", task.model).network
    sizes = (task.x != 0).sum(1), (task.y != 0).sum(1) - 1
    fits = torch.maximum(*sizes) <= most
    position = int((fits * (right * 4 * most + sizes[0] + sizes[1])).argmax())
    x, y = task.x[position : position + 1], task.y[position : position + 1]
    read = words(task.card, "source", x[0].tolist())[:most]
    written = [*words(task.card, "target", y[0].tolist()), "<end>"][:most]
    with torch.inference_mode():
        across, within = network.cross_attention(x, y[:, :-1]), network.self_attention(x)
    two = differing_heads(across[:, 0, :, : len(written), : len(read)].numpy())
    _heatmaps(two, read, written, task.pictures / "cross_attention_two_heads.png")
    pair = differing_heads(within[:, 0, :, : len(read), : len(read)].numpy())
    if len(pair) == 2:
        heads(read, list(pair.values()), list(pair), task.pictures / "self_attention_two_heads.png")


def _heatmaps(weights: Mapping[str, Floats], read: Sequence[str], written: Sequence[str], picture: Path) -> None:
    """Draw weights (T, S) side by side: a row for each token that is written, a column for each that is read."""
    from matplotlib.figure import Figure

    wide, high = 1.6 + 0.27 * len(read), 1.9 + 0.27 * len(written)
    figure = Figure(figsize=(max(7.0, 0.8 + wide * len(weights)), max(3.4, high)), layout="constrained")
    figure.suptitle("Where two heads look in the source as each token of the target is written", fontsize=11)
    panels = figure.subplots(1, len(weights), squeeze=False)[0]
    for axes, (name, own) in zip(panels, weights.items(), strict=True):
        image = axes.imshow(own, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        axes.set_title(name, fontsize=10)
        axes.set_xticks(range(len(read)), read, rotation=90, fontsize=8, parse_math=False)
        axes.set_yticks(range(len(written)), written, fontsize=8, parse_math=False)
    panels[0].set_ylabel("written")
    figure.colorbar(image, ax=list(panels), label="attention", shrink=0.9)
    save(figure, picture)
