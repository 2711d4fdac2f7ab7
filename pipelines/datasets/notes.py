"""Melodies as notes, a pitch and a duration each, and the mode that they are in: generated, or a person's own CSV file.

A generated melody walks over the seven steps of a mode on any tonic, stays on the notes of the tonic's triad for
longer than on others, and comes home at its end by way of the third and the second. Modes share their notes with
others (C major's are also D Dorian's), so that a network has to hear which note is home. Transposing a melody leaves
its mode as it is.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, Self

import numpy as np
from pydantic import Field, model_validator

from pipelines.datasets.parts import own
from pipelines.faults import Fault
from pipelines.formats import tables, tokens
from pipelines.formats.base import Dataset
from pipelines.formats.tokens import OwnOrGenerated, TokensPrepareConfig
from pipelines.transport.raw import verified, write_manifest

if TYPE_CHECKING:
    from lit_models.specs.sequence import TokenSpec

FILE = "melodies.csv"
COLUMNS = ("melody", "pitch", "duration", "label")
PITCHES, OCTAVE = 128, 12
"""MIDI's pitches, of which 60 is the middle C, and the semitones of an octave."""

MODES = {
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
}
"""Semitones above the tonic of each mode's steps; minor is the natural one."""

Mode = Literal["dorian", "major", "minor", "mixolydian"]
NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
LENGTHS = ("short", "medium", "long")
TRIAD = (0, 2, 4)
"""Steps of a scale on which a melody rests."""

RESTING, PASSING = (0.5, 0.5, 1, 1, 1, 2, 2, 2), (0.5, 0.5, 0.5, 0.5, 0.5, 1, 1, 1)
"""Beats that notes of the triad and others last, each as likely as it is often here."""

CADENCE = (2, 1, 0)
"""The steps of the last notes: from the third home."""

LOWEST, HIGHEST = -5, 9
"""The lowest and the highest step, counted from home."""

MOVES = (-3, -2, -2, -2, -1, -1, -1, -1, 1, 1, 1, 1, 2, 2, 2, 3)
"""Steps from a note to the next."""


class NotesFetch(OwnOrGenerated):
    """Melodies: generated ones, or a CSV file of your own."""

    path: str | None = Field(
        default=None,
        min_length=1,
        description="a CSV file of your own, a note a line: melody, pitch (MIDI), duration, label; null generates",
    )
    seed: int = Field(default=0, ge=0, lt=2**32, description="seed of what is generated")
    melodies: int = Field(default=800, ge=40, le=1_000_000, description="melodies to generate")
    modes: list[Mode] = Field(default=["major", "minor"], min_length=2, description="modes to generate, the classes")
    shortest: int = Field(default=24, ge=8, le=10_000, description="notes of the shortest, generated")
    longest: int = Field(default=40, ge=8, le=10_000, description="notes of the longest, generated")

    @model_validator(mode="after")
    def _make_sense(self) -> Self:
        if self.shortest > self.longest:
            raise ValueError(f"shortest is {self.shortest}, which is more than longest, {self.longest}")
        if len(set(self.modes)) < len(self.modes):
            raise ValueError("modes names one of them twice")
        return self


class NotesPrepareConfig(TokensPrepareConfig):
    """The section `datasets.<key>.prepare` of melodies."""

    octaves: bool = Field(default=False, description="tell octaves apart: a token for each of 128 pitches, not for 12")
    short: float = Field(default=0.5, gt=0, description="a duration up to this is short")
    long: float = Field(default=1.0, gt=0, description="a duration above this is long; between, medium")

    @model_validator(mode="after")
    def _short_is_below_long(self) -> Self:
        if self.short > self.long:
            raise ValueError(f"short is {self.short:g}, which is more than long, {self.long:g}")
        return self


class Note(NamedTuple):
    """A MIDI pitch, 0 to 127, and how long it sounds, in beats."""

    pitch: int
    duration: float


def fetch(config: NotesFetch, folder: Path, base: Path) -> None:
    """Copy a person's CSV file, or write generated melodies as one.

    Raises:
        Fault: a person's own file cannot be had.
    """
    if config.path is None:
        (folder / FILE).write_text(generated(config), encoding="ascii")
    else:
        own.copy(config.path, base, folder / FILE)
    write_manifest(folder)


def generated(config: NotesFetch) -> str:
    """Make a CSV file of melodies in every mode in turn, on any tonic."""
    random = np.random.Generator(np.random.PCG64(config.seed))
    lines = [",".join(COLUMNS)]
    for number in range(config.melodies):
        mode = config.modes[number % len(config.modes)]
        size = int(random.integers(config.shortest, config.longest + 1))
        notes = _melody(random, MODES[mode], tonic=60 + int(random.integers(-6, 6)), size=size)
        lines += [f"m{number + 1:05d},{note.pitch},{note.duration:g},{mode}" for note in notes]
    return "\n".join(lines) + "\n"


def _melody(random: np.random.Generator, scale: Sequence[int], tonic: int, size: int) -> list[Note]:
    """A walk of `size` notes, by steps rather than by leaps, that comes home by way of the third and the second."""
    steps = [TRIAD[int(random.integers(len(TRIAD)))]]
    while len(steps) < size - len(CADENCE):
        moved = steps[-1] + int(_one_of(random, MOVES))
        steps.append(moved if LOWEST <= moved <= HIGHEST else 2 * steps[-1] - moved)
    octave = 7 * round((steps[-1] - CADENCE[0]) / 7)
    notes = []
    for step in (*steps, *(octave + step for step in CADENCE)):
        above, degree = divmod(step, 7)
        beats = _one_of(random, RESTING if degree in TRIAD else PASSING)
        notes.append(Note(tonic + OCTAVE * above + scale[degree], beats))
    return [*notes[:-1], notes[-1]._replace(duration=max(RESTING))]


def _one_of(random: np.random.Generator, choices: Sequence[float]) -> float:
    return choices[int(random.integers(len(choices)))]


def parse(path: Path) -> tuple[list[list[Note]], list[str]]:
    """The melodies of a CSV file in the order in which they begin, and their labels.

    Raises:
        Fault: a pitch is no whole number from 0 to 127, a duration is not positive, a melody has no name, no
            label or two; the line is named.
    """
    header, rows = tables.read(path, columns=COLUMNS)
    places = [header.index(column) for column in COLUMNS]
    melodies: dict[str, list[Note]] = {}
    labels: dict[str, tuple[str, int]] = {}
    for row in rows:
        name, pitch, duration, label = (row.cells[place].strip() for place in places)
        where = tables.place(path, row.line)
        if not name or not label:
            raise Fault(f"{where}: the {'label' if name else 'melody'} is empty")
        first, line = labels.setdefault(name, (label, row.line))
        if first != label:
            raise Fault(f"{where}: the melody {name} has the label {label!r} here, but {first!r} in line {line}")
        length = tables.number(path, row.line, "duration", duration)
        if length <= 0:
            raise Fault(f"{where}: duration is {duration!r}, but a note lasts longer than 0")
        note = Note(tables.whole(path, row.line, "pitch", pitch, 0, PITCHES - 1), length)
        melodies.setdefault(name, []).append(note)
    return list(melodies.values()), [label for label, _ in labels.values()]


def token(note: Note, config: NotesPrepareConfig) -> int:
    """The id of a note: 1 + 3 * pitch + duration, where pitch counts semitones, duration 0 short, 1 medium, 2 long."""
    pitch = note.pitch if config.octaves else note.pitch % OCTAVE
    return 1 + len(LENGTHS) * pitch + (note.duration > config.short) + (note.duration > config.long)


def vocabulary(config: NotesPrepareConfig) -> list[str]:
    """The names of the ids, such as `C# long`, or `C#4 long` where octaves are told apart."""
    pitches = [f"{NAMES[pitch % OCTAVE]}{pitch // OCTAVE - 1}" for pitch in range(PITCHES)]
    found = pitches if config.octaves else NAMES
    return [tokens.PADDING, *(f"{pitch} {length}" for pitch in found for length in LENGTHS)]


def prepare(raw: Path, config: NotesPrepareConfig, folder: Path) -> str:
    """Write notes as tokens.

    Raises:
        Fault: the raw file changed, or holds a bad record; the line is named.
    """
    verified(raw)
    melodies, labels = parse(raw / FILE)
    return tokens.write(
        [[token(note, config) for note in melody] for melody in melodies],
        tokens.labelled(labels, config, raw / FILE),
        vocabulary(config),
        config,
        folder,
        {"pitches": PITCHES if config.octaves else OCTAVE, "durations": list(LENGTHS)},
    )


def sketch(fetch: NotesFetch, prepare: NotesPrepareConfig) -> "TokenSpec | None":
    """Known of what is generated."""
    from lit_models.specs.sequence import TokenSpec

    if fetch.path is not None:
        return None
    return TokenSpec(len(vocabulary(prepare)), min(fetch.longest, prepare.length or fetch.longest), len(fetch.modes))


NOTES = Dataset("notes", tokens.FORM, "notes", NotesFetch, NotesPrepareConfig, fetch, prepare, sketch)
