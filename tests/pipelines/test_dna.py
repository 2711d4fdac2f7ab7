"""DNA: what is planted is there, what is written is read, and what is no DNA is named by line."""

import json
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError
from safetensors.numpy import load_file

from pipelines.datasets.dna import CLASSES, DNA, PLANTED, DnaFetch, generated, reverse_complement
from pipelines.faults import Fault
from pipelines.formats import fasta
from pipelines.formats.fasta import Record
from pipelines.formats.tokens import TokensPrepareConfig

OWN = ">a label=x\nACGT\nNN\n" + "".join(f">{name} label={name[0]}\nACGTT\n" for name in ("x1", "x2", "y1", "y2", "y3"))


def fetched(tmp_path: Path, **config: object) -> Path:
    raw = tmp_path / "raw"
    raw.mkdir()
    DNA.fetch(DnaFetch.model_validate(config), raw, tmp_path)
    return raw


def prepared(tmp_path: Path, raw: Path, **config: object) -> Path:
    folder = tmp_path / "prepared"
    folder.mkdir()
    DNA.prepare(raw, TokensPrepareConfig.model_validate(config), folder)
    return folder


def parsed(tmp_path: Path, text: str, labels: str | None = None) -> list[str]:
    (tmp_path / "a.fasta").write_text(text, encoding="utf-8")
    if labels is not None:
        (tmp_path / "labels.csv").write_text(labels, encoding="utf-8")
    return fasta.labels_of(fasta.parse(tmp_path / "a.fasta"), tmp_path / "a.fasta", tmp_path / "labels.csv")


def has(motif: str, letters: str) -> bool:
    return motif in letters or reverse_complement(motif) in letters


def test_each_class_has_its_motifs_and_no_others(tmp_path: Path) -> None:
    (tmp_path / "a.fasta").write_text(generated(DnaFetch(sequences=400, mutation=0)), encoding="ascii")
    records = fasta.parse(tmp_path / "a.fasta")
    for record in records:
        assert record.label is not None
        assert {name for name, motif in PLANTED.items() if has(motif, record.letters)} == set(CLASSES[record.label])
    sizes = {len(record.letters) for record in records}
    assert min(sizes) == 60
    assert max(sizes) == 100
    forward = [PLANTED["GATA"] in record.letters for record in records if record.label == "GATA"]
    assert 0.3 < np.mean(forward) < 0.7
    assert {record.label for record in records[:4]} == set(CLASSES)


def test_what_is_generated_depends_on_the_seed_alone() -> None:
    few, more = (generated(DnaFetch(sequences=count)) for count in (50, 60))
    assert more.startswith(few)
    assert generated(DnaFetch(sequences=50, seed=1)) != few


def test_the_other_strand_of_the_other_strand_is_the_first() -> None:
    assert reverse_complement("AACGTN") == "NACGTT"
    assert reverse_complement(reverse_complement("GATTACA")) == "GATTACA"


def test_letters_become_tokens_and_ends_are_padded(tmp_path: Path) -> None:
    (tmp_path / "mine.fa").write_text(OWN)
    folder = prepared(tmp_path, fetched(tmp_path, path="mine.fa"))
    card = json.loads((folder / "card.json").read_text())
    assert card["vocabulary"] == ["", "A", "C", "G", "T", "N"]
    assert (card["alphabet"], card["motifs"], card["length"], card["classes"]) == ("ACGTN", {}, 6, ["x", "y"])
    rows = {}
    for part in ("train", "val", "test"):
        tensors = load_file(folder / f"{part}.safetensors")
        rows |= dict(zip(tensors["index"].tolist(), tensors["x"].tolist(), strict=True))
    assert rows[0] == [1, 2, 3, 4, 5, 5]
    assert [rows[index] for index in range(1, 6)] == [[1, 2, 3, 4, 4, 0]] * 5


def test_length_and_limit_cap_what_is_prepared(tmp_path: Path) -> None:
    folder = prepared(tmp_path, fetched(tmp_path, sequences=80), length=50, limit=5)
    card = json.loads((folder / "card.json").read_text())
    assert card["length"] == 50
    assert card["motifs"] == PLANTED
    assert sum(card["counts"][part]["GATA"] for part in card["counts"]) == 5


def test_small_letters_blank_lines_and_windows_endings_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.fasta").write_bytes(b"\r\n>a some words label=x\r\nac\r\n\r\n  gt  \r\n")
    assert fasta.parse(tmp_path / "a.fasta") == [Record(2, "a", "x", "ACGT")]


def test_labels_may_be_in_a_table(tmp_path: Path) -> None:
    assert parsed(tmp_path, ">a label=z\nA\n>b\nC\n", "label,id\nx,b\ny,a\n") == ["y", "x"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (">a label=x\nACGT\nACUT\n", r"a\.fasta, line 3, column 3: 'U' in the record a is none of A, C, G, T, N"),
        (">a label=x\n ACG-\n", "line 2, column 5: '-'"),
        (">a label=x\n>b label=x\nA\n", "line 1: the record a has no letters"),
        (">a label=x\nA\n\n>b label=x\n\n", "line 4: the record b has no letters"),
        (">a label=x\nA\n>b label=x\nC\n>a label=x\nA\n", "line 5: the id a is already that of line 1"),
        (">a label=x\nA\n> \nC\n", "line 3: the record has no id"),
        ("ACGT\n>a label=x\nA\n", "line 1: 'ACGT' stands before the first `>`"),
        (">a label=x\nA\n>b\nC\n", "line 3: the record b has no label"),
        (">a label=\nA\n", "line 1: the record a has no label"),
        ("\n", "has no records"),
    ],
)
def test_a_bad_record_is_named_by_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(Fault, match=message):
        parsed(tmp_path, text)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("id,label\na,x\n", r"a\.fasta, line 3: labels\.csv has no label for the record b"),
        ("id,label\na,x\nb,y\na,x\n", r"labels\.csv, line 4: a second label for a"),
        ("id,label\na,x\nc,y\n", r"labels\.csv, line 3: no record has the id 'c'"),
        ("id,label\na,x\nb,\n", r"labels\.csv, line 3: the label of b is empty"),
        ("id,class\na,x\n", r"labels\.csv, line 1: there is no column 'label'"),
    ],
)
def test_a_bad_label_is_named_by_line(tmp_path: Path, labels: str, message: str) -> None:
    with pytest.raises(Fault, match=message):
        parsed(tmp_path, ">a\nA\n>b\nC\n", labels)


def test_one_class_is_not_enough(tmp_path: Path) -> None:
    (tmp_path / "mine.fa").write_text(">a label=x\nA\n>b label=x\nC\n")
    with pytest.raises(Fault, match="has 1 classes"):
        prepared(tmp_path, fetched(tmp_path, path="mine.fa"))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"labels": "a.csv"}, "`path`, which is missing"),
        ({"path": "a.fa", "sequences": 100, "seed": 1}, "leave out seed, sequences"),
        ({"shortest": 101}, "more than longest"),
    ],
)
def test_keys_that_do_not_go_together_are_refused(config: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        DnaFetch.model_validate(config)
