"""The table of the forms that data may have."""

import json
from pathlib import Path

from lit_models.specs.base import DataSpec, ImageSpec
from lit_models.specs.control import ControlSpec
from lit_models.specs.graph import GraphSpec, GraphsSpec
from lit_models.specs.sequence import PairSpec, SeriesSpec, TextSpec, TokenSpec

FORMS: dict[str, type[DataSpec]] = {
    spec.form: spec
    for spec in (ImageSpec, TokenSpec, SeriesSpec, TextSpec, PairSpec, GraphSpec, GraphsSpec, ControlSpec)
}


def load_spec(prepared: Path) -> DataSpec:
    """Read `card.json` of a prepared folder.

    Raises:
        FileNotFoundError: the folder holds no card.json.
        ValueError: the card lacks a key or holds impossible values.
    """
    path = prepared / "card.json"
    card = json.loads(path.read_text(encoding="utf-8"))
    try:
        form = card["form"]
        if form not in FORMS:
            raise ValueError(f"{path} is of the form {form!r}; there are: {', '.join(FORMS)}")
        return FORMS[form].read(prepared, card)
    except KeyError as error:
        raise ValueError(f"{path} lacks the key {error}") from None
