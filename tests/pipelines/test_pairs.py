"""Pairs of sentences: what is wrong in a person's file, vocabularies, the split, augmentation, evaluation."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file
from torch import Tensor

from lit_models.core.data import read_split
from lit_models.forms import load_spec
from lit_models.parts.decoding import Decoded
from lit_models.specs.sequence import BEGIN, END, PairSpec
from lit_models.transformer import LitTransformer, TransformerConfig
from pipelines.augmentations.pairs import PAIRS as AUGMENTATION
from pipelines.augmentations.pairs import PairsAugmentConfig, dropped
from pipelines.datasets.pairs_file import PAIRS_FILE, PairsFileFetch
from pipelines.evaluations.base import Task
from pipelines.evaluations.pairs import PAIRS as EVALUATION
from pipelines.evaluations.pairs import PairsEvaluateConfig, Result, words
from pipelines.faults import Fault
from pipelines.formats.pairs import (
    HELD_OUT,
    PAIRS,
    SPECIAL,
    UNKNOWN,
    PairsPrepare,
    joined,
    numbered,
    prepare,
    read_pairs,
    tokenize,
    vocabulary,
    write_pairs,
)
from pipelines.headlines import HEADLINES
from pipelines.transport.raw import write_manifest

SENTENCES = [(f"w{'abcde'[i % 5]} is {i}", f"{i} ist w{'abcde'[i % 5]}!") for i in range(60)]
LONGER = [(f"now a longer one is {i}", f"{i} ist jetzt ein langes") for i in range(10)]


def raw_folder(folder: Path, pairs: list[tuple[str, str]], apart: list[tuple[str, str]] | None = None) -> Path:
    folder.mkdir()
    write_pairs(folder / PAIRS, pairs)
    if apart is not None:
        write_pairs(folder / HELD_OUT, apart)
    write_manifest(folder)
    return folder


def prepared(tmp_path: Path, pairs: list[tuple[str, str]], apart: Any = None, **settings: Any) -> Path:
    raw, folder = raw_folder(tmp_path / "raw", pairs, apart), tmp_path / "prepared"
    folder.mkdir()
    prepare(raw, PairsPrepare(**settings), folder)
    return folder


def card_of(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "card.json").read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a\tb\nc\n", "line 2: 1 instead of 2 columns"),
        (b"a\tb\nc\td\te\n", "line 2: 3 instead of 2 columns"),
        (b"a\tb\n\n\tc\n", "line 3: the source is empty"),
        (b"a\tb\nc\t \n", "line 2: the target is empty"),
        (b"a\tb\nna\xefve\tc\n", "line 2: byte 0xef is not UTF-8"),
        ("gr\u00fc\u00df\tb\n".encode() + "gr\u00fc\u00df\tc\n".encode("latin-1"), "line 2: byte 0xfc is not UTF-8"),
        ("a\tb\n".encode("utf-16"), "line 1: this is UTF-16"),
        (b"\n\n", "has no records"),
        (b"", "has no records"),
    ],
)
def test_what_is_no_pair_is_named_by_file_and_line(content: bytes, said: str, tmp_path: Path) -> None:
    own = tmp_path / "mine.tsv"
    own.write_bytes(content)
    with pytest.raises(Fault, match=said) as fault:
        read_pairs(own)
    assert str(own) in str(fault.value)
    (tmp_path / "raw").mkdir()
    with pytest.raises(Fault, match=said) as fault:
        PAIRS_FILE.fetch(PairsFileFetch(path="mine.tsv"), tmp_path / "raw", tmp_path)
    assert str(fault.value).startswith("mine.tsv")


def test_a_file_of_one_s_own_is_fetched_and_prepared(tmp_path: Path) -> None:
    for name, pairs in (("mine.tsv", SENTENCES), ("long.tsv", LONGER)):
        write_pairs(tmp_path / name, pairs)
    raw, folder = tmp_path / "raw", tmp_path / "prepared"
    raw.mkdir()
    folder.mkdir()
    PAIRS_FILE.fetch(PairsFileFetch(path="mine.tsv", held_out="long.tsv"), raw, tmp_path)
    assert (raw / PAIRS).read_bytes() == (tmp_path / "mine.tsv").read_bytes()
    said = PAIRS_FILE.prepare(raw, PairsPrepare(), folder)
    assert said.startswith("42 train, 9 val, 9 test, 10 held_out; vocabularies of ")
    spec = load_spec(folder)
    assert isinstance(spec, PairSpec)
    assert (spec.source_length, spec.target_length) == (6, 7)
    for part in ("train", "val", "test", "held_out"):
        x, y = read_split(folder / f"{part}.safetensors", spec)
        assert len(x) == len(y)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    with pytest.raises(Fault, match=r"gone\.tsv does not exist"):
        PAIRS_FILE.fetch(PairsFileFetch(path="gone.tsv"), tmp_path / "raw", tmp_path)


def test_a_held_out_source_must_be_new(tmp_path: Path) -> None:
    with pytest.raises(Fault, match=r"held_out.tsv, line 2: 'wc is 2' is also in pairs.tsv, line 3"):
        prepared(tmp_path, SENTENCES, [LONGER[0], SENTENCES[2]])


def test_words_and_characters() -> None:
    assert tokenize("Don't say  21st, na\u00efve!", "words") == ("Don't", "say", "2", "1", "st", ",", "na\u00efve", "!")
    assert tokenize(" a  b ", "characters") == ("a", " ", "b")
    assert joined(tokenize("november twenty-sixth, 2026-11-26.", "words"), "words") == (
        "november twenty-sixth, 2026-11-26."
    )


@given(st.text("ab 12-,.", min_size=1))
def test_characters_can_be_put_together_again(text: str) -> None:
    assert joined(tokenize(text, "characters"), "characters") == " ".join(text.split())


@given(st.lists(st.lists(st.sampled_from("abcde"), max_size=6).map(tuple), min_size=1, max_size=8))
def test_ids_can_be_turned_back(sentences: list[tuple[str, ...]]) -> None:
    entries = vocabulary(sentences, 1)
    ids = numbered(sentences, entries, 8, framed=True)
    card = {"target_vocabulary": entries}
    assert [tuple(words(card, "target", row)) for row in ids.tolist()] == sentences
    assert (ids[:, 0] == BEGIN).all()
    assert ((ids == END).sum(1) == 1).all()


def test_pairs_of_one_source_stay_together(tmp_path: Path) -> None:
    folder = prepared(tmp_path, [(f"s{chr(97 + i % 20)}", f"t {i}") for i in range(100)])
    sources = [set(load_file(folder / f"{part}.safetensors")["index"] % 20) for part in ("train", "val", "test")]
    assert sum(map(len, sources)) == len(set().union(*sources)) == 20


def test_what_training_lacks_is_unknown(tmp_path: Path) -> None:
    folder = prepared(tmp_path, SENTENCES, LONGER, min_count=2)
    card = card_of(folder)
    assert card["source_vocabulary"][:4] == card["target_vocabulary"][:4] == list(SPECIAL)
    train, apart = (load_file(folder / f"{part}.safetensors") for part in ("train", "held_out"))
    counts = np.bincount(train["x"].flatten(), minlength=len(card["source_vocabulary"]))
    assert counts[UNKNOWN + 1 :].min() >= 2
    assert (apart["x"] == UNKNOWN).sum(1).min() >= 3  # now, longer, one
    assert words(card, "source", apart["x"][0].tolist())[:2] == ["<unknown>", "<unknown>"]


def test_pairs_that_are_too_long_are_left_out_and_counted(tmp_path: Path) -> None:
    long = [("a " * 9, "b"), ("b", "a " * 9)]
    folder = prepared(tmp_path, [*SENTENCES, *long], longest=8)
    assert card_of(folder)["left_out"] == 2
    assert sum(card_of(folder)["counts"].values()) == 60
    raw, other = tmp_path / "raw", tmp_path / "other"
    other.mkdir()
    with pytest.raises(Fault, match="has no pair of at most 2 tokens a side; see `longest`"):
        prepare(raw, PairsPrepare(longest=2), other)


def test_a_limit_keeps_the_first(tmp_path: Path) -> None:
    assert sum(card_of(prepared(tmp_path, SENTENCES, limit=20))["counts"].values()) == 20


def test_preparing_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    raw = raw_folder(tmp_path / "raw", SENTENCES, LONGER)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        prepare(raw, PairsPrepare(), tmp_path / name)
    for file in sorted((tmp_path / "one").iterdir()):
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes()


def test_token_dropout_touches_sources_alone(tmp_path: Path) -> None:
    folder = prepared(tmp_path, SENTENCES)
    train, config, out = (
        load_file(folder / "train.safetensors"),
        PairsAugmentConfig(copies=2, dropout=0.3),
        tmp_path / "a",
    )
    out.mkdir()
    assert AUGMENTATION.write(train, config, out, card_of(folder)) == 2 * len(train["x"])
    made = load_file(out / "train.safetensors")
    assert np.array_equal(made["y"], np.tile(train["y"], (2, 1)))
    assert made["x"].dtype == made["y"].dtype == np.int32
    twice = np.tile(train["x"], (2, 1))
    changed = made["x"] != twice
    assert set(made["x"][changed]) == {UNKNOWN}
    assert not changed[twice == 0].any()
    assert 0.2 < changed[twice != 0].mean() < 0.4
    assert not np.array_equal(made["x"][: len(train["x"])], made["x"][len(train["x"]) :])
    assert np.array_equal(dropped(train["x"][2:5], np.arange(2, 5), config, 1), made["x"][len(train["x"]) :][2:5])
    assert (out / "preview.png").stat().st_size > 1000


def test_without_copies_nothing_is_added(tmp_path: Path) -> None:
    folder = prepared(tmp_path, SENTENCES)
    train = load_file(folder / "train.safetensors")
    assert AUGMENTATION.write(train, PairsAugmentConfig(), tmp_path, card_of(folder)) == 0
    assert load_file(tmp_path / "train.safetensors")["x"].shape == (0, train["x"].shape[1])


class Oracle(LitTransformer):
    """Writes what it was told is right, but for some."""

    answers: Tensor
    wrong: int

    def translate(self, x: Tensor, beam: int = 1, penalty: float = 0.6) -> Decoded:
        known = {tuple(own): n for n, own in enumerate(self.sources.tolist())}
        tokens = torch.stack([self.answers[known[tuple(own)]] for own in x.tolist()]).long()
        if beam == 1:
            tokens[: self.wrong, 1] = UNKNOWN
        return Decoded(tokens, torch.zeros(len(x)))

    sources: Tensor


def evaluated(tmp_path: Path, folder: Path) -> tuple[Task, Oracle]:
    spec = load_spec(folder)
    model = Oracle(TransformerConfig(width=8, heads=2), spec).eval()
    both = [read_split(folder / f"{part}.safetensors", spec) for part in ("test", "held_out")]
    model.sources, model.answers = (torch.cat(side) for side in zip(*both, strict=True))
    model.wrong = 3
    plots, trained = tmp_path / "plots", tmp_path / "trained"
    task = Task(model, *both[0], card_of(folder), folder, trained, plots)
    for place in (trained, plots, task.pictures, task.tables, task.confusion):
        place.mkdir()
    (trained / "history.csv").write_text("epoch,train_loss,val_loss,val_accuracy\n1,2.0,1.0,0.5\n2,1.0,0.5,0.8\n")
    return task, model


def test_scores_count_what_is_right_in_every_token(tmp_path: Path) -> None:
    folder = prepared(tmp_path, SENTENCES, LONGER)
    task, _ = evaluated(tmp_path, folder)
    scores = EVALUATION.run(task, PairsEvaluateConfig(examples=5))
    assert scores["exact_match"] == pytest.approx(6 / 9)
    assert scores["beam_exact_match"] == 1
    assert scores["beam_bleu"] == pytest.approx(100)
    assert 0 < scores["bleu"] < 100
    # The held-out targets have words that training lacks: even written as <unknown> they are not right.
    assert scores["held_out_beam_exact_match"] == 0
    assert scores["held_out_beam_bleu"] < 50
    assert scores["baseline"] == 0
    assert HEADLINES["pairs"].name in scores
    names = {path.name for path in task.pictures.iterdir()}
    assert {"accuracy_by_length.png", "cross_attention_two_heads.png", "self_attention_two_heads.png"} < names
    with (task.tables / "translations.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["greedy_right"] for row in rows[:5]] == ["false"] * 3 + ["true"] * 2
    assert rows[0]["target"] == rows[0]["beam"] != rows[0]["greedy"]
    assert [row["part"] for row in rows].count("held_out") == 5
    with (task.tables / "scores.csv").open(newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    assert [(row["part"], row["decoding"]) for row in table] == [
        (part, decoding) for part in ("test", "held_out") for decoding in ("greedy", "beam")
    ]
    assert all("tok:none" in row["signature"] and "version:" in row["signature"] for row in table)


def test_bleu_is_as_in_its_paper(tmp_path: Path) -> None:
    """Papineni et al. 2002 by hand: precisions 3/5 and 1/4 of one pair, no shorter than its reference."""
    from math import exp, log

    from sacrebleu.metrics.bleu import BLEU

    score = BLEU(tokenize="none", max_ngram_order=2, force=True).corpus_score(["a b x c y"], [["a b c z w"]]).score
    assert score == pytest.approx(100 * exp((log(3 / 5) + log(1 / 4)) / 2))


def test_copying_is_a_baseline(tmp_path: Path) -> None:
    pairs = [(f"word {i}", f"word {i}" if i % 2 else "other") for i in range(80)]
    folder = prepared(tmp_path, pairs, [("one more", "word")])
    task, _ = evaluated(tmp_path, folder)
    scores = EVALUATION.run(task, PairsEvaluateConfig())
    even = np.mean(load_file(folder / "test.safetensors")["index"] % 2 == 0)
    assert scores["most_frequent_exact_match"] == pytest.approx(even)
    assert scores["copy_exact_match"] == pytest.approx(1 - even)
    assert scores["baseline"] == max(scores["most_frequent_exact_match"], scores["copy_exact_match"])


def test_a_token_that_training_lacks_is_never_right() -> None:
    y = torch.tensor([[BEGIN, 4, END, 0], [BEGIN, UNKNOWN, END, 0], [BEGIN, 4, 5, END]])
    found = {
        "greedy": Decoded(torch.tensor([[BEGIN, 4, END, 0], [BEGIN, UNKNOWN, END, 0], [BEGIN, 4, 4, END]]), y[:, 0])
    }
    assert Result("test", y, y, found).right("greedy").tolist() == [True, False, False]
