"""Specs of sequences: read from cards, and what they find wrong with data."""

from pathlib import Path
from typing import Any

import pytest
import torch

from lit_models.specs.sequence import PairSpec, SeriesSpec, TextSpec, TokenSpec

SPECS: list[tuple[Any, dict[str, Any]]] = [
    (TokenSpec(7, 9, 3), {"vocabulary": ["", *"ABCDEF"], "length": 9, "classes": ["x", "y", "z"]}),
    (
        SeriesSpec(9, 2, 2, (0.0, 5.0), (1.0, 2.0), (10.0, -3.0), (4.0, 0.5), tolerance=0.5),
        {
            "length": 9,
            "features": 2,
            "targets": ["a", "b"],
            "mean": [0, 5],
            "std": [1, 2],
            "target_mean": [10, -3],
            "target_std": [4, 0.5],
            "tolerance": 0.5,
        },
    ),
    (TextSpec(256, 8, 1.5), {"vocabulary": 256, "length": 8, "bytes_per_token": 1.5}),
    (
        PairSpec(5, 6, 7, 8),
        {"source_vocabulary": 5, "target_vocabulary": [*"PBEabc"], "source_length": 7, "target_length": 8},
    ),
]
specs = pytest.mark.parametrize(("spec", "card"), SPECS, ids=lambda value: getattr(value, "form", ""))


@specs
def test_a_card_makes_the_spec(spec: Any, card: dict[str, Any], tmp_path: Path) -> None:
    assert type(spec).read(tmp_path, card) == spec
    for key in card:
        with pytest.raises(KeyError, match=key):
            type(spec).read(tmp_path, {name: value for name, value in card.items() if name != key})
    with pytest.raises(ValueError, match="must"):
        type(spec).read(tmp_path, {name: [] if isinstance(value, list) else 0 for name, value in card.items()})


@specs
def test_blank_data_have_no_fault_and_others_have(spec: Any, card: dict[str, Any]) -> None:
    del card
    x, y = spec.blank(3)
    assert not spec.fault(x, y)
    assert spec.labels(y).shape == (3,)
    assert "must hold x (N" in spec.fault(x.to(torch.int16), y)
    assert "must hold x (N" in spec.fault(x[:, 1:], y)
    assert "must hold x (N" in spec.fault(x, y[:2])
    wrong = "finite" if spec.form == "series" else "from 0 to"
    assert wrong in spec.fault(x - 1 if wrong == "from 0 to" else x / 0, y)
