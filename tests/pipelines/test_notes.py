"""Melodies: generated ones are in their mode, tokens say what notes are, and what is no note is named by line."""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError
from safetensors.numpy import load_file

from pipelines.datasets import notes
from pipelines.datasets.notes import MODES, NOTES, Note, NotesFetch, NotesPrepareConfig, generated, token, vocabulary
from pipelines.faults import Fault

HEADER = "melody,pitch,duration,label\n"
ALL = NotesFetch(melodies=80, modes=["dorian", "major", "minor", "mixolydian"])


def parsed(tmp_path: Path, text: str) -> tuple[list[list[Note]], list[str]]:
    (tmp_path / "a.csv").write_text(text, encoding="utf-8")
    return notes.parse(tmp_path / "a.csv")


def test_a_melody_keeps_to_its_mode_and_comes_home(tmp_path: Path) -> None:
    melodies, labels = parsed(tmp_path, generated(ALL))
    assert labels[:4] == ALL.modes
    for melody, label in zip(melodies, labels, strict=True):
        assert ALL.shortest <= len(melody) <= ALL.longest
        home = melody[-1].pitch
        assert {(note.pitch - home) % 12 for note in melody} <= set(MODES[label])
    tonics = {melody[-1].pitch % 12 for melody in melodies}
    assert len(tonics) == 12


def test_home_is_heard_for_longer_than_other_notes(tmp_path: Path) -> None:
    melodies, labels = parsed(tmp_path, generated(ALL))
    lasting = dict.fromkeys(range(7), 0.0)
    for melody, label in zip(melodies, labels, strict=True):
        for note in melody:
            lasting[MODES[label].index((note.pitch - melody[-1].pitch) % 12)] += note.duration
    assert sorted(lasting, key=lasting.__getitem__)[-3:] != [1, 3, 5]
    assert min(lasting[step] for step in (0, 2, 4)) > max(lasting[step] for step in (1, 3, 5, 6))


def test_what_is_generated_depends_on_the_seed_alone() -> None:
    few, more = (generated(NotesFetch(melodies=count)) for count in (50, 60))
    assert more.startswith(few)
    assert generated(NotesFetch(melodies=50, seed=1)) != few


@pytest.mark.parametrize(
    ("octaves", "note", "name"),
    [
        (False, Note(60, 0.5), "C short"),
        (False, Note(73, 0.51), "C# medium"),
        (False, Note(71, 1.01), "B long"),
        (True, Note(60, 1), "C4 medium"),
        (True, Note(0, 0.1), "C-1 short"),
        (True, Note(127, 9), "G9 long"),
    ],
)
def test_a_token_says_pitch_and_duration(octaves: bool, note: Note, name: str) -> None:
    config = NotesPrepareConfig(octaves=octaves)
    assert vocabulary(config)[token(note, config)] == name


def test_no_note_is_padding() -> None:
    for config in (NotesPrepareConfig(), NotesPrepareConfig(octaves=True)):
        ids = {token(Note(pitch, length), config) for pitch in range(128) for length in (0.1, 1, 2)}
        assert ids == set(range(1, len(vocabulary(config))))


def test_a_persons_own_melodies_are_prepared(tmp_path: Path) -> None:
    rows = [
        f"{name}{number},{60 + step},1,{name}" for name in "ab" for number in range(4) for step in range(3 + number)
    ]
    (tmp_path / "mine.csv").write_text(HEADER + "\n".join(rows))
    for name in ("raw", "prepared"):
        (tmp_path / name).mkdir()
    NOTES.fetch(NotesFetch(path="mine.csv"), tmp_path / "raw", tmp_path)
    NOTES.prepare(tmp_path / "raw", NotesPrepareConfig(), tmp_path / "prepared")
    card = json.loads((tmp_path / "prepared/card.json").read_text())
    assert (card["pitches"], card["length"], card["classes"]) == (12, 6, ["a", "b"])
    train = load_file(tmp_path / "prepared/train.safetensors")
    assert all(row[: 3 + index % 4].tolist() == list(range(2, 11 + 3 * (index % 4), 3))
               for row, index in zip(train["x"], train["index"].tolist(), strict=True))  # fmt: skip


def test_melodies_may_be_told_in_turn(tmp_path: Path) -> None:
    melodies, labels = parsed(tmp_path, "label,melody,pitch,duration\nx,a,60,1\ny,b,61,2\nx,a,62,.5\n")
    assert melodies == [[Note(60, 1), Note(62, 0.5)], [Note(61, 2)]]
    assert labels == ["x", "y"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("a,60,1,x\na,128,1,x\n", r"a\.csv, line 3: pitch is '128', not a whole number from 0 to 127"),
        ("a,-1,1,x\n", "line 2: pitch is '-1'"),
        ("a,60.5,1,x\n", "line 2: pitch is '60.5'"),
        ("a,60,0,x\n", "line 2: duration is '0', but a note lasts longer than 0"),
        ("a,60,-1,x\n", "line 2: duration is '-1'"),
        ("a,60,long,x\n", "line 2: duration is 'long', not a number"),
        ("a,60,1,x\nb,60,1,y\na,60,1,y\n", "line 4: the melody a has the label 'y' here, but 'x' in line 2"),
        ("a,60,1,\n", "line 2: the label is empty"),
        (",60,1,x\n", "line 2: the melody is empty"),
        ("a,60,1\n", "line 2: 3 instead of 4 columns"),
    ],
)
def test_a_bad_note_is_named_by_line(tmp_path: Path, rows: str, message: str) -> None:
    with pytest.raises(Fault, match=message):
        parsed(tmp_path, HEADER + rows)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"path": "a.csv", "melodies": 100}, "leave out melodies"),
        ({"shortest": 41}, "more than longest"),
        ({"modes": ["major"]}, "at least 2 items"),
        ({"modes": ["major", "minor", "major"]}, "one of them twice"),
        ({"modes": ["major", "lydian"]}, "'mixolydian'"),
    ],
)
def test_keys_that_make_no_sense_are_refused(config: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        NotesFetch.model_validate(config)


def test_short_is_below_long() -> None:
    with pytest.raises(ValidationError, match="more than long"):
        NotesPrepareConfig(short=2, long=1)
