"""Augmented sequences mean what the originals do, depend on (seed, copy, index) alone, and stay padded at the right."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from safetensors.numpy import load_file

from pipelines.augmentations import dna, notes, tokens
from pipelines.augmentations.base import Augmentation
from pipelines.datasets.dna import reverse_complement
from pipelines.datasets.notes import NotesPrepareConfig, vocabulary
from pipelines.formats.fasta import ALPHABET

DNA_CARD = {"alphabet": ALPHABET, "classes": ["no", "yes"]}
NOTES_CARD = {"pitches": 12, "durations": ["short", "medium", "long"], "classes": ["major", "minor"],
              "vocabulary": vocabulary(NotesPrepareConfig())}  # fmt: skip
OCTAVES_CARD = NOTES_CARD | {"pitches": 128, "vocabulary": vocabulary(NotesPrepareConfig(octaves=True))}
TEXT_CARD = {"unknown": 1, "vocabulary": ["", "<unknown>", *(f"$word{number}" for number in range(2, 40))]}
KINDS: dict[str, tuple[Augmentation[Any], dict[str, Any], dict[str, Any]]] = {
    "dna": (dna.DNA, {"reverse_complement": 0.5, "mutate": 0.2}, DNA_CARD),
    "notes": (notes.NOTES, {"transpose": 5}, NOTES_CARD),
    "octaves": (notes.NOTES, {"transpose": 5}, OCTAVES_CARD),
    "tokens": (tokens.TOKENS, {"unknown": 0.2, "delete": 0.2}, TEXT_CARD),
}


def ids_of(letters: str) -> np.ndarray[Any, np.dtype[np.int32]]:
    return np.array([ALPHABET.index(letter) + 1 for letter in letters], np.int32)


def letters_of(ids: np.ndarray[Any, Any]) -> str:
    return "".join(ALPHABET[token - 1] for token in ids.tolist())


def train(count: int = 6, length: int = 30, most: int = 5) -> dict[str, Any]:
    """Sequences of at least 3 tokens, padded at the right."""
    random = np.random.default_rng(0)
    x = random.integers(1, most + 1, (count, length)).astype(np.int32)
    x[np.arange(length) >= random.integers(3, length, (count, 1))] = 0
    return {"x": x, "y": np.arange(count) % 2, "index": np.arange(count)}


def written(kind: str, folder: Path, data: dict[str, Any], **changes: Any) -> dict[str, Any]:
    augmentation, config, card = KINDS[kind]
    folder.mkdir()
    augmentation.write(data, augmentation.Config.model_validate({"copies": 3} | config | changes), folder, card)
    return dict(load_file(folder / "train.safetensors"))


@pytest.mark.parametrize("kind", KINDS)
def test_copies_are_of_the_same_form_and_padded_at_the_right(kind: str, tmp_path: Path) -> None:
    data = train()
    made = written(kind, tmp_path / "a", data)
    assert made["x"].shape == (18, 30)
    assert (made["x"].dtype, made["y"].dtype) == (data["x"].dtype, data["y"].dtype)
    assert made["y"].tolist() == data["y"].tolist() * 3
    filled = made["x"] != 0
    assert (filled[:, :-1] >= filled[:, 1:]).all()
    lengths, before = filled.sum(1), np.tile((data["x"] != 0).sum(1), 3)
    assert (lengths >= 1).all()
    assert (lengths <= before if kind == "tokens" else lengths == before).all()
    assert (tmp_path / "a/preview.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_depends_on_seed_copy_and_index_alone(kind: str, tmp_path: Path) -> None:
    data = train()
    whole = written(kind, tmp_path / "a", data)["x"]
    few = written(kind, tmp_path / "b", {name: values[:4] for name, values in data.items()}, copies=2)["x"]
    assert np.array_equal(few.reshape(2, 4, -1), whole.reshape(3, 6, -1)[:2, :4])
    assert not np.array_equal(written(kind, tmp_path / "c", data, seed=1)["x"], whole)
    assert not np.array_equal(whole[:6], whole[6:12])
    assert (tmp_path / "a/preview.png").read_bytes() != (tmp_path / "c/preview.png").read_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_off_changes_nothing(kind: str, tmp_path: Path) -> None:
    data = train()
    off = dict.fromkeys(KINDS[kind][1], 0)
    assert np.array_equal(written(kind, tmp_path / "a", data, **off)["x"], np.tile(data["x"], (3, 1)))
    assert written(kind, tmp_path / "b", data, copies=0)["x"].shape == (0, 30)


@settings(deadline=None)
@given(letters=st.text(ALPHABET, min_size=1, max_size=50), seed=st.integers(0, 99))
def test_the_other_strand_is_the_reverse_complement(letters: str, seed: int) -> None:
    change = dna.changing(dna.DnaAugmentConfig(reverse_complement=1), ALPHABET)
    turned = change(ids_of(letters), np.random.default_rng(seed))
    assert letters_of(turned) == reverse_complement(letters)
    assert np.array_equal(change(turned, np.random.default_rng(seed)), ids_of(letters))


def test_a_mutation_makes_another_letter_but_not_of_n() -> None:
    before = ids_of(ALPHABET * 2000)
    change = dna.changing(dna.DnaAugmentConfig(mutate=1), ALPHABET)
    after = change(before, np.random.default_rng(0))
    for letter in "ACGT":
        counts = np.bincount(after[before == ALPHABET.index(letter) + 1], minlength=6)
        assert counts[ALPHABET.index(letter) + 1] == counts[0] == counts[5] == 0
        assert (counts[counts > 0] > 550).all()
        assert (counts > 0).sum() == 3
    assert (after[before == 5] == 5).all()
    rare = dna.changing(dna.DnaAugmentConfig(mutate=0.1), ALPHABET)(before, np.random.default_rng(0))
    assert 0.09 < (rare != before)[before != 5].mean() < 0.11


@pytest.mark.parametrize(("card", "pitches"), [(NOTES_CARD, 12), (OCTAVES_CARD, 128)])
def test_a_transposition_keeps_intervals_and_durations(card: dict[str, Any], pitches: int) -> None:
    change = notes.changing(notes.NotesAugmentConfig(transpose=7), card["pitches"], 3)
    melody = 1 + 3 * np.array([1, 4, 2, 11, 0]) + np.array([0, 1, 2, 0, 1])
    shifts = set()
    for seed in range(300):
        moved = change(melody, np.random.default_rng(seed))
        assert np.array_equal((moved - 1) % 3, (melody - 1) % 3)
        found = ((moved - 1) // 3 - (melody - 1) // 3) % pitches
        assert len(set(found.tolist())) == 1
        assert moved.min() >= 1
        assert moved.max() < len(card["vocabulary"])
        shifts.add(int(found[0]))
    # Downwards there is no room where octaves are told apart, and any where they are not.
    assert shifts == set(range(1, 8 if pitches == 128 else 12))


def test_a_melody_without_room_stays_where_it_is() -> None:
    change = notes.changing(notes.NotesAugmentConfig(transpose=3), 128, 3)
    widest = 1 + 3 * np.array([0, 127])
    assert np.array_equal(change(widest, np.random.default_rng(0)), widest)


@settings(deadline=None)
@given(count=st.integers(1, 60), seed=st.integers(0, 99), delete=st.sampled_from([0.0, 0.5, 0.99]))
def test_something_is_left_of_every_text(count: int, seed: int, delete: float) -> None:
    config = tokens.TokenAugmentConfig(unknown=0.3, delete=delete)
    fate = tokens.fates(count, config, np.random.default_rng(seed))
    ids = np.arange(2, count + 2, dtype=np.int32)
    left = tokens.changed(ids, fate, 1)
    assert 1 <= len(left) == (fate != tokens.DELETED).sum()
    assert left.dtype == ids.dtype
    words = left[left != 1]
    assert np.array_equal(words, ids[fate == tokens.KEPT])
    assert np.array_equal(words, np.sort(words))


def test_words_are_dropped_as_often_as_asked() -> None:
    fate = tokens.fates(20_000, tokens.TokenAugmentConfig(unknown=0.2, delete=0.1), np.random.default_rng(0))
    assert np.bincount(fate) / len(fate) == pytest.approx([0.72, 0.18, 0.1], abs=0.01)


@pytest.mark.parametrize("kind", KINDS)
def test_a_preview_of_little_is_drawn(kind: str, tmp_path: Path) -> None:
    for number, x in enumerate(([[3]], [[2, 3, 0], [1, 0, 0]])):
        data = {"x": np.array(x, np.int32), "y": np.zeros(len(x), np.int64)}
        written(kind, tmp_path / str(number), data)
        assert (tmp_path / f"{number}/preview.png").stat().st_size > 500


def test_a_script_that_the_font_lacks_is_drawn(tmp_path: Path) -> None:
    card = TEXT_CARD | {"vocabulary": ["", "<unknown>", "値段", "w" * 200]}
    data = {"x": np.array([[2, 3, 2, 1]], np.int32), "y": np.zeros(1, np.int64)}
    tokens.TOKENS.write(data, tokens.TokenAugmentConfig(copies=1), tmp_path, card)
    assert (tmp_path / "preview.png").is_file()


@pytest.mark.parametrize(
    ("config", "wrong"),
    [
        (dna.DnaAugmentConfig, {"reverse_complement": 1.1}),
        (dna.DnaAugmentConfig, {"mutate": -0.1}),
        (notes.NotesAugmentConfig, {"transpose": 25}),
        (tokens.TokenAugmentConfig, {"delete": 1}),
        (tokens.TokenAugmentConfig, {"drop": 0.1}),
    ],
)
def test_sections_are_checked(config: Any, wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        config.model_validate(wrong)
