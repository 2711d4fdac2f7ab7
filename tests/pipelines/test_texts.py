"""Texts: documents stay together, the vocabulary is that of the training part, and bad texts are named by line."""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError
from safetensors.numpy import load_file

from pipelines.datasets import texts
from pipelines.datasets.parts import docstrings
from pipelines.datasets.texts import TEXTS, Text, TextsFetch, TextsPrepareConfig, vocabulary, words
from pipelines.faults import Fault
from pipelines.transport.raw import write_manifest

MODULE = '''
"""{name} says at the top what it is for, in more than fifteen words, so that this is a passage of its own."""

class Thing:
    """Short."""

    def act(self):
        """This method of {name} has a docstring of some length, which is cut in two because it goes on for more
        than thirty words.

        >>> doctests("are left out")

        It ends with a second paragraph, on {name}, after which nothing comes that anybody could want to read.
        """
'''


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """A standard library of one module for each package."""
    for name, places in docstrings.PACKAGES.items():
        for place in places:
            path = tmp_path / "lib" / (place if place.endswith(".py") else f"{place}/inner/__init__.py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(MODULE.format(name=f"{name}'s {place}"))
    return tmp_path / "lib"


def written(tmp_path: Path, rows: str, header: str = "text,label\n") -> Path:
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / texts.TABLE).write_text(header + rows, encoding="utf-8")
    write_manifest(raw)
    return raw


def prepared(tmp_path: Path, raw: Path, **config: object) -> Path:
    folder = tmp_path / "prepared"
    folder.mkdir()
    TEXTS.prepare(raw, TextsPrepareConfig.model_validate(config), folder)
    return folder


def test_docstrings_become_passages(library: Path) -> None:
    found = docstrings.passages(20, library)
    assert {passage.label for passage in found} == set(docstrings.PACKAGES)
    assert len(found) == 3 * sum(len(places) for places in docstrings.PACKAGES.values())
    assert not any("doctests" in passage.text for passage in found)
    cut = [passage for passage in found if passage.document == "asyncio/inner/__init__.py:7"]
    assert len(cut) == 2
    sizes = [len(passage.text.split()) for passage in cut]
    assert max(sizes) - min(sizes) <= 1


def test_the_same_passage_is_taken_once(library: Path) -> None:
    before = docstrings.passages(20, library)
    (library / "xml" / "twice.py").write_text((library / "xml/inner/__init__.py").read_text())
    assert docstrings.passages(20, library) == before


def test_a_python_without_sources_is_told(tmp_path: Path) -> None:
    with pytest.raises(Fault, match="carries no sources of its standard library"):
        docstrings.passages(20, tmp_path)


def test_this_pythons_own_texts_are_many(tmp_path: Path) -> None:
    for name in ("raw", "prepared"):
        (tmp_path / name).mkdir()
    TEXTS.fetch(TextsFetch(), tmp_path / "raw", tmp_path)
    found = texts.read(tmp_path / "raw")
    assert 1000 < len(found) < 3000
    TEXTS.prepare(tmp_path / "raw", TextsPrepareConfig(), tmp_path / "prepared")
    card = json.loads((tmp_path / "prepared/card.json").read_text())
    assert card["classes"] == sorted(docstrings.PACKAGES)
    assert min(card["counts"]["test"].values()) >= 10
    parts = {}
    for part in ("train", "val", "test"):
        index = load_file(tmp_path / f"prepared/{part}.safetensors")["index"]
        parts[part] = {found[position].document for position in index.tolist()}
    assert not parts["train"] & parts["test"] | parts["train"] & parts["val"] | parts["val"] & parts["test"]


def test_words_are_letters_and_digits_of_any_script() -> None:
    assert words("Don't call snake_case(42), très “цена”: a.b!") == [
        "don't", "call", "snake", "case", "42", "très", "цена", "a", "b",
    ]  # fmt: skip


def test_the_vocabulary_is_the_most_frequent_words() -> None:
    found = [["b", "a", "c"], ["c", "a", "d"]]
    assert vocabulary(found, TextsPrepareConfig(min_count=1)) == ["", "<unknown>", "a", "c", "b", "d"]
    assert vocabulary(found, TextsPrepareConfig(min_count=1, vocabulary=3)) == ["", "<unknown>", "a", "c", "b"]
    assert vocabulary(found, TextsPrepareConfig(min_count=2)) == ["", "<unknown>", "a", "c"]


def test_the_vocabulary_is_learnt_from_the_training_part_alone(tmp_path: Path) -> None:
    rows = "".join(f"common word{number},{'xy'[number % 2]}\n" for number in range(20))
    folder = prepared(tmp_path, written(tmp_path, rows), min_count=1)
    card = json.loads((folder / "card.json").read_text())
    train = load_file(folder / "train.safetensors")
    assert set(card["vocabulary"]) == {"", "<unknown>", "common", *(f"word{n}" for n in train["index"].tolist())}
    test = load_file(folder / "test.safetensors")
    assert (test["x"][:, 1] == card["unknown"]).all()
    assert (train["x"] != card["unknown"]).all()


def test_a_text_without_words_is_an_unknown_one(tmp_path: Path) -> None:
    rows = "".join(f"some text,{'xy'[number % 2]}\n" for number in range(8)) + ":-),x\n"
    folder = prepared(tmp_path, written(tmp_path, rows), length=1)
    found = [load_file(folder / f"{part}.safetensors") for part in ("train", "val", "test")]
    assert {int(row[0]) for part in found for row, n in zip(part["x"], part["index"], strict=True) if n == 8} == {1}


def test_documents_stay_together(tmp_path: Path) -> None:
    rows = "".join(f"text {number},{'xy'[number // 3 % 2]},d{number // 3}\n" for number in range(60))
    folder = prepared(tmp_path, written(tmp_path, rows, "text,label,document\n"))
    for part in ("train", "val", "test"):
        documents = [number // 3 for number in load_file(folder / f"{part}.safetensors")["index"].tolist()]
        assert all(documents.count(document) == 3 for document in documents)


def test_a_folder_of_texts_is_read(tmp_path: Path) -> None:
    for name in ("x/1.txt", "x/2.txt", "y/deeper/1.txt"):
        (tmp_path / "mine" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mine" / name).write_text(f"text of {name}")
    (tmp_path / "raw").mkdir()
    TEXTS.fetch(TextsFetch(path="mine"), tmp_path / "raw", tmp_path)
    assert texts.read(tmp_path / "raw") == [
        Text(f"text of {name}", name[0], f"texts/{name}") for name in ("x/1.txt", "x/2.txt", "y/deeper/1.txt")
    ]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x/2.txt", b" \n", r"x/2\.txt is empty"),
        ("x/2.txt", "one\ntwo\nöde".encode("latin-1"), r"x/2\.txt, line 3: byte 0xf6 is not UTF-8"),
        ("2.txt", b"text", r"2\.txt is in no class folder"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / "mine/x").mkdir(parents=True)
    (tmp_path / "mine/x/1.txt").write_text("text")
    (tmp_path / "mine" / name).write_bytes(content)
    (tmp_path / "raw").mkdir()
    TEXTS.fetch(TextsFetch(path=str(tmp_path / "mine")), tmp_path / "raw", tmp_path)
    with pytest.raises(Fault, match=message):
        texts.read(tmp_path / "raw")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("good,x,a\n ,x,b\n", r"texts\.csv, line 3: the text is empty"),
        ("good,,a\n", "line 2: the label is empty"),
        ("good,x,a\nbad,y,a\n", "line 3: the document a has the label 'y' here, but 'x' before"),
        ('good,x,a\n"bad,x,b\n', "line 3: unexpected end of data"),
    ],
)
def test_a_bad_row_is_named_by_line(tmp_path: Path, rows: str, message: str) -> None:
    with pytest.raises(Fault, match=message):
        texts.read(written(tmp_path, rows, "text,label,document\n"))


def test_a_class_with_too_few_is_named(tmp_path: Path) -> None:
    rows = "a,x\nb,x\nc,x\nd,y\ne,y\n"
    with pytest.raises(Fault, match="class y has 2 examples"):
        prepared(tmp_path, written(tmp_path, rows))


def test_keys_that_do_not_go_together_are_refused() -> None:
    with pytest.raises(ValidationError, match="leave out words"):
        TextsFetch(path="mine", words=50)
