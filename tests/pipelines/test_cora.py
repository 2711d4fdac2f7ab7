"""Cora's raw text form, on small files of that form: what is read, Planetoid's numbers, and faults by line."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.numpy import load_file

from lit_models.forms import load_spec
from lit_models.specs.graph import GraphSpec
from pipelines.datasets.cora import CORA, CoraFetch, CoraPrepare
from pipelines.faults import Fault
from tests.pipelines.samples import checksum, zipped

FIELDS = ("Case_Based", "Genetic_Algorithms", "Theory")
SMALL = {"per_class": 2, "val": 5, "test": 10}


def content(papers: int = 30) -> str:
    """Papers 1000, 1007, ...; paper i uses word i % 4 and, every other one, word 4."""
    return "".join(
        "\t".join(
            [str(1000 + 7 * i), *("1" if w == i % 4 or (w == 4 and i % 2) else "0" for w in range(6)), FIELDS[i % 3]]
        )
        + "\n"
        for i in range(papers)
    )


def cites(papers: int = 30) -> str:
    """Each paper is cited by the next; the first one by itself, and by the second twice."""
    pairs = [(i, i + 1) for i in range(papers - 1)] + [(0, 0), (0, 1), (1, 0)]
    return "".join(f"{1000 + 7 * a}\t{1000 + 7 * b}\n" for a, b in pairs)


def archive(files: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, text in {"cora/README": "hello", **files}.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            tar.addfile(info, io.BytesIO(text.encode()))
    return zipped(buffer.getvalue())


def fetched(tmp_path: Path, files: dict[str, str]) -> Path:
    data = archive(files)
    (tmp_path / "cora.tgz").write_bytes(data)
    (tmp_path / "raw").mkdir()
    CORA.fetch(CoraFetch(urls=["cora.tgz"], checksum=checksum(data)), tmp_path / "raw", tmp_path)
    return tmp_path / "raw"


def prepared(tmp_path: Path, papers: str, citations: str, **settings: Any) -> Path:
    raw = fetched(tmp_path, {"cora/cora.content": papers, "cora/cora.cites": citations})
    (tmp_path / "prepared").mkdir()
    CORA.prepare(raw, CoraPrepare(**{**SMALL, **settings}), tmp_path / "prepared")
    return tmp_path / "prepared"


def test_reads_papers_and_citations(tmp_path: Path) -> None:
    folder = prepared(tmp_path, content(), cites())
    assert sorted(path.name for path in (tmp_path / "raw").iterdir()) == ["cora.cites", "cora.content", "manifest.json"]
    spec = load_spec(folder)
    assert isinstance(spec, GraphSpec)
    assert (spec.nodes, spec.features, spec.classes) == (30, 6, 3)
    assert spec.edges.shape == (2, 2 * 29)  # each once, both ways, none to itself
    assert spec.attributes[1].tolist() == [0, 0.5, 0, 0, 0.5, 0]
    torch.testing.assert_close(spec.attributes.sum(1), torch.ones(30))
    card = json.loads((folder / "card.json").read_text())
    assert card["classes"] == list(FIELDS)
    assert card["names"][1] == "1007"


def test_words_may_stay_as_they_are(tmp_path: Path) -> None:
    spec = load_spec(prepared(tmp_path, content(), cites(), normalize=False))
    assert isinstance(spec, GraphSpec)
    assert spec.attributes[1].tolist() == [0, 1, 0, 0, 1, 0]


def test_parts_have_planetoids_sizes(tmp_path: Path) -> None:
    folder = prepared(tmp_path, content(), cites())
    parts = {name: load_file(folder / f"{name}.safetensors") for name in ("train", "val", "test")}
    assert [len(part["x"]) for part in parts.values()] == [6, 5, 10]
    assert sorted(parts["train"]["y"].tolist()) == [0, 0, 1, 1, 2, 2]
    assert len({node for part in parts.values() for node in part["x"].tolist()}) == 21
    assert all((part["y"] == part["x"] % 3).all() for part in parts.values())


def test_the_documented_numbers_are_the_defaults() -> None:
    """20 papers of each of 7 fields, 500 and 1000 (Yang et al. 2016)."""
    import numpy as np

    from pipelines.datasets.cora import planetoid

    parts = planetoid(np.arange(2708) % 7, CoraPrepare())
    assert [len(rows) for rows in parts.values()] == [140, 500, 1000]
    assert (np.bincount(parts["train"] % 7) == 20).all()
    assert len(np.unique(np.concatenate(list(parts.values())))) == 1640


@pytest.mark.parametrize(
    ("papers", "citations", "told"),
    [
        (content(), cites() + "1000\t5\n", "cora.cites, line 33: there is no paper '5' in cora.content"),
        (content(), cites() + "1000\n", "cora.cites, line 33: 1 instead of 2 columns"),
        (content() + "1000\t1\t0\t0\t0\t0\t0\tTheory\n", cites(), "line 31: paper '1000' stands on line 1 already"),
        (content() + "5\t1\t0\tTheory\n", cites(), "line 31: 2 words instead of 6"),
        (content() + "5\t1\t0\t0\t0\t2\t0\tTheory\n", cites(), "line 31: a word is '2', neither 0 nor 1"),
        (content() + "5\n", cites(), "line 31: 1 columns"),
        (content().replace("Theory", "Case_Based").replace(FIELDS[1], FIELDS[0]), cites(), "has 1 different fields"),
        (content(15), cites(15), "9 papers are left when 6 are trained on; val and test ask for 15"),
        (content(2) + "\xe9", cites(2), "line 3: 1 columns"),
    ],
)
def test_faults_are_named_by_line(tmp_path: Path, papers: str, citations: str, told: str) -> None:
    with pytest.raises(Fault) as fault:
        prepared(tmp_path, papers, citations)
    assert told in str(fault.value)


def test_archives_that_are_none_are_told(tmp_path: Path) -> None:
    with pytest.raises(Fault, match=r"holds no cora\.cites"):
        fetched(tmp_path, {"cora/cora.content": content()})
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken.tgz").write_bytes(b"no archive")
    config = CoraFetch(urls=["broken.tgz"], checksum=checksum(b"no archive"))
    with pytest.raises(Fault, match="no whole tar archive"):
        CORA.fetch(config, tmp_path / "broken", tmp_path)
