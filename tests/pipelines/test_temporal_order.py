"""The temporal order problem is the paper's, at every length."""

from pathlib import Path

import pytest

from pipelines.datasets import temporal_order
from pipelines.datasets.temporal_order import TEMPORAL_ORDER, TemporalOrderFetch, generated
from pipelines.faults import Fault
from pipelines.formats.tokens import TokensPrepareConfig
from pipelines.transport.raw import write_manifest


@pytest.mark.parametrize("length", [10, 30, 100])
def test_sequences_are_those_of_the_paper(length: int) -> None:
    made = generated(TemporalOrderFetch(sequences=400, length=length))
    seen: list[set[int]] = [set(), set(), set()]
    for sequence, label in made:
        assert sequence[0] == "E"
        assert sequence[-1] == "B"
        places = [place for place, symbol in enumerate(sequence) if symbol in "XY"]
        assert "".join(sequence[place] for place in places) == label
        assert set(sequence[1:-1]) <= set("XYabcd")
        for found, place in zip(seen, (*places, len(sequence)), strict=True):
            found.add(place)
    if length == 100:
        assert [(min(found), max(found)) for found in seen] == [(10, 20), (50, 60), (100, 110)]
    assert max(seen[0]) < min(seen[1])
    assert max(seen[1]) < min(seen[2]) - 1
    assert [label for _, label in made[:4]] == ["XX", "XY", "YX", "YY"]


def test_what_is_generated_depends_on_the_seed_alone() -> None:
    few, more = (generated(TemporalOrderFetch(sequences=count)) for count in (50, 60))
    assert more[:50] == few
    assert generated(TemporalOrderFetch(sequences=50, seed=1)) != few


def test_what_is_known_beforehand_is_what_comes(tmp_path: Path) -> None:
    fetch, prepare = TemporalOrderFetch(sequences=200, length=20), TokensPrepareConfig()
    (tmp_path / "raw").mkdir()
    (tmp_path / "prepared").mkdir()
    TEMPORAL_ORDER.fetch(fetch, tmp_path / "raw", tmp_path)
    TEMPORAL_ORDER.prepare(tmp_path / "raw", prepare, tmp_path / "prepared")
    from lit_models.forms import load_spec

    assert load_spec(tmp_path / "prepared") == TEMPORAL_ORDER.sketch(fetch, prepare)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sequence,label\nEaXYB,XY\nEaXZB,XY\n", r"sequences\.csv, line 3: 'Z' is none of E, B, X, Y, a, b, c, d"),
        ("sequence,label\nEaXYB,Q\n", "line 2: 'Q' is none of XX, XY, YX, YY"),
        ("sequence,label\n,XX\n", "line 2: the sequence is empty"),
    ],
)
def test_a_bad_sequence_is_named_by_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / temporal_order.FILE).write_text(text)
    write_manifest(tmp_path)
    with pytest.raises(Fault, match=message):
        TEMPORAL_ORDER.prepare(tmp_path, TokensPrepareConfig(), tmp_path)
