"""The reader of params.yaml: what DVC reads, and a line for everything that cannot be read."""

import math
from pathlib import Path
from typing import Any

import pytest

from pipelines.yaml_source import YamlFaults, read


def write(folder: Path, text: str) -> Path:
    path = folder / "params.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def faults(folder: Path, text: str) -> list[str]:
    with pytest.raises(YamlFaults) as caught:
        read(write(folder, text))
    assert str(caught.value) == "\n".join(caught.value.faults)
    return caught.value.faults


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("lr: 1e-3", 1e-3),
        ("lr: 1E5", 1e5),
        ("lr: .5", 0.5),
        ("lr: 3", 3),
        ("lr: 0x10", 16),
        ("lr: 0o10", 8),
        ("lr: 010", 10),
        ("lr: on", "on"),
        ("lr: yes", "yes"),
        ("lr: true", True),
        ("lr: ~", None),
        ("lr: '1e-3'", "1e-3"),
        ("lr: 12:30:45", "12:30:45"),
    ],
)
def test_scalars_are_those_of_yaml_1_2_as_in_dvc(tmp_path: Path, text: str, value: Any) -> None:
    from dvc.utils.serialize import load_yaml

    path = write(tmp_path, text)
    read_value = read(path)["lr"]
    assert read_value == value
    assert type(read_value) is type(value)
    assert read(path) == load_yaml(str(path))


def test_nan_is_read_and_left_to_the_schema(tmp_path: Path) -> None:
    assert math.isnan(read(write(tmp_path, "a: .nan"))["a"])


def test_merge_keys_and_anchors_are_read_and_are_no_duplicates(tmp_path: Path) -> None:
    text = "base: &base {lr: 1, k: 2}\nx:\n  <<: *base\n  lr: 3\n"
    assert read(write(tmp_path, text))["x"] == {"lr": 3, "k": 2}


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("a: [1, 2\nb: 3\n", 2, 2),
        ("a: 1\n b: 2\n", 2, 3),
        ("a: 'open\n", 2, 1),
        ("a: 1\n\tb: 2\n", 2, 1),
        ("a: {b: 1\n", 2, 1),
        ("a: @x\n", 1, 4),
        ("a: *nowhere\n", 1, 4),
        ("a: 1\n---\nb: 2\n", 2, 1),
        ("- a\nb: 1\n", 2, 1),
        ("a: !!python/object:os.system x\n", 1, 4),
        ("a: 1\nb: \x07\n", 2, 4),
        ("\x00a: 1\n", 1, 1),
    ],
)
def test_malformed_yaml_is_told_with_line_and_column(tmp_path: Path, text: str, line: int, column: int) -> None:
    (fault,) = faults(tmp_path, text)
    assert fault.startswith(f"params.yaml: line {line}, column {column}: malformed YAML: ")
    assert "\n" not in fault


def test_every_duplicate_key_is_named_with_both_lines(tmp_path: Path) -> None:
    text = "a: 1\nb:\n  c: 1\n  d: {e: 1, e: 2}\n  c: 2\na: 3\nlist:\n  - x: 1\n    x: 2\n  - - y: 1\n      y: 2\n"
    assert faults(tmp_path, text) == [
        "b.d.e: duplicate key (params.yaml line 4, column 13; first on line 4); keep one",
        "b.c: duplicate key (params.yaml line 5, column 3; first on line 3); keep one",
        "a: duplicate key (params.yaml line 6, column 1; first on line 1); keep one",
        "list.0.x: duplicate key (params.yaml line 9, column 5; first on line 8); keep one",
        "list.1.0.y: duplicate key (params.yaml line 11, column 7; first on line 10); keep one",
    ]


def test_a_key_that_stands_three_times_gives_two_lines(tmp_path: Path) -> None:
    assert len(faults(tmp_path, "a: 1\na: 2\na: 3\n")) == 2


def test_a_missing_file_is_named_with_its_folder(tmp_path: Path) -> None:
    with pytest.raises(YamlFaults) as caught:
        read(tmp_path / "params.yaml")
    assert caught.value.faults == [f"params.yaml: not found in {tmp_path.resolve()}"]


def test_a_folder_in_the_place_of_the_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").mkdir()
    with pytest.raises(YamlFaults, match=r"params\.yaml: cannot be read: .*directory"):
        read(tmp_path / "params.yaml")


def test_bytes_that_are_not_utf_8_are_told(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes("a: grün\n".encode("latin-1"))
    with pytest.raises(YamlFaults) as caught:
        read(path)
    (line,) = caught.value.faults
    assert line.startswith("params.yaml: cannot be read: ")
    assert "utf-8" in line
    assert "position 5" in line


@pytest.mark.parametrize("text", ["a: &a [*a]\n", "[" * 5000, "? [1]\n: 2\n", "1: 2\n", "2024-01-01: 2\n", "~: 2\n"])
def test_odd_documents_are_one_line(tmp_path: Path, text: str) -> None:
    (line,) = faults(tmp_path, text)
    assert "\n" not in line


def test_a_key_that_is_no_text_is_named(tmp_path: Path) -> None:
    assert faults(tmp_path, "a:\n  1: 2\n") == [
        "a.1: a key must be text (params.yaml line 2); write it in quotes, or another name"
    ]
