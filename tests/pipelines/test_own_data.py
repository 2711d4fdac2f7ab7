"""A person's own files are copied as they are, and whatever is wrong in a table is named by file and line."""

from pathlib import Path

import pytest

from pipelines.datasets.parts import own
from pipelines.faults import Fault
from pipelines.formats import tables
from pipelines.formats.tables import Row


def written(folder: Path, content: bytes, name: str = "a.csv") -> Path:
    (folder / name).write_bytes(content)
    return folder / name


def test_a_file_is_copied_as_it_is(tmp_path: Path) -> None:
    written(tmp_path, b"\xff\0\r\n")
    own.copy("a.csv", tmp_path, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"\xff\0\r\n"


def test_a_folder_is_copied_without_litter(tmp_path: Path) -> None:
    for name in ("mine/x/1.txt", "mine/x/deeper/2.TXT", "mine/.hidden/3.txt", "mine/x/Thumbs.db", "mine/x/.DS_Store"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        written(tmp_path, name.encode(), name)
    own.copy(str(tmp_path / "mine"), tmp_path / "elsewhere", tmp_path / "copy", (".txt",))
    copied = {path.relative_to(tmp_path / "copy").as_posix() for path in (tmp_path / "copy").rglob("*.*")}
    assert copied == {"x/1.txt", "x/deeper/2.TXT"}
    assert (tmp_path / "copy/x/1.txt").read_bytes() == b"mine/x/1.txt"


def test_home_is_filled_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    written(tmp_path, b"here")
    own.copy("~/a.csv", tmp_path / "elsewhere", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"here"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nowhere", "nowhere does not exist"),
        ("empty", "empty has no files"),
        ("mine", r"mine/notes\.md is no \.txt file"),
        ("nosuch://x", "nosuch://x is no URL that can be opened"),
    ],
)
def test_what_cannot_be_had_is_named(tmp_path: Path, path: str, message: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "mine").mkdir()
    written(tmp_path / "mine", b"", "notes.md")
    with pytest.raises(Fault, match=message):
        own.copy(path, tmp_path, tmp_path / "copy", (".txt",))


def test_a_table_has_its_lines(tmp_path: Path) -> None:
    path = written(tmp_path, b'\xef\xbb\xbfid, label\r\n1,"two\r\nlines"\r\n\r\n , \r\n2,""""\r\n')
    header, rows = tables.read(path, columns=("label",))
    assert header == ("id", "label")
    assert rows == [Row(2, ("1", "two\nlines")), Row(6, ("2", '"'))]


def test_quotes_mean_nothing_between_tabs(tmp_path: Path) -> None:
    path = written(tmp_path, b'a "b\tc"\n"d\te\n')
    assert tables.read(path, "\t", ("source", "target"), header=False) == (
        ("source", "target"),
        [Row(1, ('a "b', 'c"')), Row(2, ('"d', "e"))],
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"id,label\n1,x\n2,caf\xe9\n", r"a\.csv, line 3: byte 0xe9 is not UTF-8"),
        (b"\xef\xbb\xbfid,label\n1,\xff\n", "line 2: byte 0xff"),
        (b"\xff\xfei\0d\0", "line 1: this is UTF-16"),
        (b"id,label\n1,\0\n", "line 2: a NUL byte"),
        (b'id,label\n1,x\n2,"y\n3,z\n', "line 3: unexpected end of data"),
        (b"id,label\n1,x\n2\n", "line 3: 1 instead of 2 columns"),
        (b"id,label\n1,x,\n", "line 2: 3 instead of 2 columns"),
        (b"id,name\n1,x\n", "line 1: there is no column 'label'; there are id, name"),
        (b"\nid,label,id\n1,x,2\n", "line 2: two columns are named 'id'"),
        (b"id,label,\n1,x,2\n", "line 1: column 3 has no name"),
        (b"id,label\n", "has no records"),
        (b"", "has no records"),
    ],
)
def test_a_broken_table_is_named_by_line(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(Fault, match=message):
        tables.read(written(tmp_path, content), columns=("id", "label"))


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(Fault, match=r"a\.csv cannot be read"):
        tables.text(tmp_path / "a.csv")


@pytest.mark.parametrize("cell", ["", "x", "nan", "inf", "1e999", "1_0"])
def test_what_is_no_number_is_named(tmp_path: Path, cell: str) -> None:
    path = tmp_path / "a.csv"
    with pytest.raises(Fault, match=rf"a\.csv, line 7: size is '{cell}', not a number"):
        tables.number(path, 7, "size", cell)
    with pytest.raises(Fault, match=rf"line 7: size is '{cell}', not a whole number from -5 to 5"):
        tables.whole(path, 7, "size", cell, -5, 5)


def test_numbers_are_read(tmp_path: Path) -> None:
    assert tables.number(tmp_path, 1, "size", " -2.5e1") == -25
    assert tables.whole(tmp_path, 1, "size", " -5 ", -5, 5) == -5
    with pytest.raises(Fault, match="'6', not a whole number"):
        tables.whole(tmp_path, 1, "size", "6", -5, 5)
