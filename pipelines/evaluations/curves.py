"""The learning curves of a training, as a picture for people and a table for DVC's plots."""

import csv
from pathlib import Path

from pipelines.pictures import save

INK, ACCENT = "#22303c", "#d1495b"
NOTHING_LEFT = "trained on train + val:\nnothing left to validate on"


def learning_curves(
    history: Path,
    table: Path,
    picture: Path,
    *,
    loss: str = "cross-entropy (nats)",
    hits: str = "Validation accuracy",
) -> None:
    """Copy a training's `history` to `table` and draw it: losses on the left, hits on validation data on the right.

    Args:
        history: CSV with the columns epoch, train_loss, val_loss and val_accuracy; an epoch without a figure has an
            empty cell.
        table: the CSV to write.
        picture: the PNG to write.
        loss: what the loss is, with its unit.
        hits: what val_accuracy counts, as the right panel's title.
    """
    from matplotlib.figure import Figure

    table.write_bytes(history.read_bytes())
    curves = _read(history)
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    losses, accuracies = figure.subplots(1, 2)
    for name, label, color in (("train_loss", "training", INK), ("val_loss", "validation", ACCENT)):
        if curves[name][0]:
            losses.plot(*curves[name], label=label, color=color, marker=_marker(curves[name][0]))
    losses.set(title="Loss", xlabel="epoch", ylabel=loss)
    losses.legend(frameon=False)
    epochs, values = curves["val_accuracy"]
    if epochs:
        accuracies.plot(epochs, values, color=ACCENT, marker=_marker(epochs))
        accuracies.set(title=hits, xlabel="epoch")
    else:
        accuracies.set_axis_off()
        accuracies.text(0.5, 0.5, NOTHING_LEFT, ha="center", va="center")
    for axes in (losses, accuracies):
        axes.spines[["top", "right"]].set_visible(False)
        axes.xaxis.get_major_locator().set_params(integer=True)
    save(figure, picture)


def _read(history: Path) -> dict[str, tuple[list[int], list[float]]]:
    """Column -> (epochs, values), of the epochs that have one."""
    with history.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    curves = {}
    for name in ("train_loss", "val_loss", "val_accuracy"):
        found = [(int(row["epoch"]), float(row[name])) for row in rows if row.get(name)]
        curves[name] = ([epoch for epoch, _ in found], [value for _, value in found])
    return curves


def _marker(epochs: list[int]) -> str:
    """A single epoch makes no line; a dot at least shows it."""
    return "o" if len(epochs) == 1 else ""
