"""Transposed copies of melodies: every note moves by one interval, so that the mode stays. And a picture of some."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from pipelines.augmentations.base import PREVIEW, Augmentation, CopiesConfig, Tensors, write_copies
from pipelines.augmentations.sequences import (
    PREVIEW_COPIES,
    PREVIEW_SEQUENCES,
    Change,
    Ids,
    augment,
    generator,
    unpadded,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

OCTAVE = 12
BLACK = (1, 3, 6, 8, 10)
"""The black keys of a piano's octave."""

FINENESS = 8
"""Pixels of the shortest note in the preview."""

KEY, NOTE = (0.92, 0.94, 0.97), (0.17, 0.42, 0.69)
"""Colours of black keys and of notes: red, green, blue."""


class NotesAugmentConfig(CopiesConfig):
    """The section `datasets.<key>.augment` of melodies."""

    transpose: int = Field(default=0, ge=0, le=24, description="semitones that a copy is transposed by at most")


def write(train: Tensors, config: NotesAugmentConfig, folder: Path, card: dict[str, Any]) -> int:
    """Write copies of every training melody, each transposed by an interval of its own."""
    change = changing(config, card["pitches"], len(card["durations"]))
    x = augment(train["x"], config, change)
    titles = [card["classes"][label] for label in train["y"][:PREVIEW_SEQUENCES].tolist()]
    _preview(train["x"][:PREVIEW_SEQUENCES], titles, change, config.seed, card, folder / PREVIEW)
    return write_copies(folder, x, np.tile(train["y"], config.copies))


def changing(config: NotesAugmentConfig, pitches: int, durations: int) -> Change:
    """Make the function that transposes one melody, up or down but not by nothing.

    Args:
        config: the largest interval.
        pitches: 12 if octaves are not told apart, so that B is followed by C; otherwise all that there are.
            A melody is then moved no further than all of its notes can be.
        durations: of which a pitch has a token each, one after the other, from id 1 on.
    """
    intervals = np.array([interval for interval in range(-config.transpose, config.transpose + 1) if interval])

    def change(ids: Ids, random: np.random.Generator) -> Ids:
        pitch, duration = np.divmod(ids - 1, durations)
        possible = intervals
        if pitches > OCTAVE:
            possible = intervals[(intervals + pitch.min() >= 0) & (intervals + pitch.max() < pitches)]
        if not len(possible):
            return ids
        moved = (pitch + possible[random.integers(len(possible))]) % pitches
        transposed: Ids = (1 + durations * moved + duration).astype(ids.dtype)
        return transposed

    return change


def _preview(rows: Ids, titles: Sequence[str], change: Change, seed: int, card: dict[str, Any], path: Path) -> None:
    """Each melody and its copies as rolls of a pianola: time to the right, pitch upwards."""
    from matplotlib.figure import Figure

    from pipelines.pictures import save

    durations = len(card["durations"])
    figure = Figure(figsize=(3.2 * (1 + PREVIEW_COPIES), 1.6 * len(rows)))
    figure.subplots_adjust(left=0.04, right=0.99, top=1 - 0.16 / len(rows), bottom=0.02, wspace=0.03, hspace=0.2)
    grid = figure.subplots(len(rows), 1 + PREVIEW_COPIES, squeeze=False)
    for index, (row, title) in enumerate(zip(rows, titles, strict=True)):
        original = unpadded(row)
        copies = [change(original, generator(seed, copy, index)) for copy in range(PREVIEW_COPIES)]
        everything = (np.concatenate([original, *copies]) - 1) // durations
        low, high = (0, OCTAVE - 1) if card["pitches"] == OCTAVE else (int(everything.min()), int(everything.max()))
        for column, melody in enumerate([original, *copies]):
            axes = grid[index][column]
            _roll(axes, *np.divmod(melody - 1, durations), low, high)
            interval = int(melody[0] - original[0]) // durations
            if card["pitches"] == OCTAVE:
                interval = (interval + OCTAVE // 2) % OCTAVE - OCTAVE // 2  # the shorter way around
            axes.set_title(f"{title}, {f'copy {column}: {interval:+d}' if column else 'original'}", fontsize=8, pad=3)
        named = list(range(low, high + 1))[:: 1 + (high - low) // 13]
        names = [str(card["vocabulary"][1 + durations * pitch]).split()[0] for pitch in named]
        grid[index][0].set_yticks(named, names, fontsize=6)
    save(figure, path)


def _roll(axes: "Axes", pitch: Ids, duration: Ids, low: int, high: int) -> None:
    """One image, which is drawn far sooner than a bar for each note."""
    lasts = FINENESS * 2**duration
    ends = np.cumsum(lasts)
    roll = np.ones((high - low + 1, int(ends[-1]) + 1, 3))
    roll[[key - low for key in range(low, high + 1) if key % OCTAVE in BLACK]] = KEY
    for key, start, end in zip(pitch.tolist(), (ends - lasts).tolist(), ends.tolist(), strict=True):
        roll[key - low, start : end - 1] = NOTE  # without its last moment, so that two notes are not one
    axes.imshow(roll, aspect="auto", origin="lower", extent=(0, 1, low - 0.5, high + 0.5), interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.tick_params(length=0)


NOTES = Augmentation(NotesAugmentConfig, write)
