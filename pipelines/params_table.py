"""Prints every parameter with its default and range, as the schema has them: the tables of docs/parameters.md.

python -m pipelines.params_table             # prints the tables
python -m pipelines.params_table --write     # puts them into the page, between the markers
"""

import argparse
import sys
import types
import typing
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.fields import FieldInfo

PAGE = Path("docs/parameters.md")
BEGIN, END = "<!-- parameters:begin -->", "<!-- parameters:end -->"
HEAD = "| key | default | range or values | meaning |\n| --- | --- | --- | --- |"
WORDS = {int: "whole number", float: "number", str: "text", bool: "`true`, `false`"}
LONGEST_DIGEST = 16


def tables() -> str:
    """Every section of params.yaml as Markdown: a heading and a table each, in the order of the file."""
    return "\n\n".join(f"## {title}\n\n{text}" for title, text in _sections())


def _sections() -> Iterator[tuple[str, str]]:
    from lit_models import FAMILIES, FamilyConfig
    from lit_models.core.config import ImageConfig
    from pipelines.augmentations import AUGMENTATIONS
    from pipelines.datasets import DATASETS
    from pipelines.evaluations import EVALUATIONS
    from pipelines.params import DatasetParams, ExperimentParams, Params
    from pipelines.searchers import SCHEDULERS, SEARCHERS

    yield "`datasets.<key>`", table(DatasetParams, {"kind": DATASETS})
    for name, dataset in DATASETS.items():
        yield f"`datasets.<key>.fetch` of kind `{name}`", table(dataset.FetchConfig)
    for names, config in _shared({name: dataset.PrepareConfig for name, dataset in DATASETS.items()}):
        yield f"`datasets.<key>.prepare` of kind {names}", table(config)
    kinds = {name: AUGMENTATIONS[dataset.augmentation].Config for name, dataset in DATASETS.items()}
    for names, config in _shared(kinds):
        yield f"`datasets.<key>.augment` of kind {names}", table(config)
    yield "`experiments.<key>`", table(ExperimentParams, {"family": FAMILIES})
    yield "`experiments.<key>.model` of every family", table(FamilyConfig)
    images = [name for name, family in FAMILIES.items() if issubclass(family.Config, ImageConfig)]
    title = f"`experiments.<key>.model` of families {_names(images)}, besides"
    yield title, table(ImageConfig, without=FamilyConfig.model_fields)
    for name, family in FAMILIES.items():
        known = ImageConfig if name in images else FamilyConfig
        own = table(family.Config, without=known.model_fields)
        yield f"`experiments.<key>.model` of family `{name}`, besides", own
    search = table(_section(ExperimentParams, "search"), {"algorithm": SEARCHERS, "scheduler": SCHEDULERS})
    yield "`experiments.<key>.search`", search
    yield "`experiments.<key>.train`", table(_section(ExperimentParams, "train"))
    for names, config in _shared({form: evaluation.Config for form, evaluation in EVALUATIONS.items()}):
        yield f"`experiments.<key>.evaluate` of data of the form {names}", table(config)
    yield "`report`", table(_section(Params, "report"))
    yield "`machine`, on which no stage depends", table(_section(Params, "machine"))


def _shared(configs: dict[str, type[BaseModel]]) -> Iterator[tuple[str, type[BaseModel]]]:
    """Each config once, with the names of all that have it."""
    for config in dict.fromkeys(configs.values()):
        yield _names(name for name, own in configs.items() if own is config), config


def _names(names: Iterable[str]) -> str:
    return ", ".join(map(_code, names))


def _section(model: type[BaseModel], name: str) -> type[BaseModel]:
    """The model of the section `name` inside `model`."""
    annotation = model.model_fields[name].annotation
    return typing.cast("type[BaseModel]", annotation)


def table(model: type[BaseModel], values: dict[str, Iterable[str]] | None = None, without: Iterable[str] = ()) -> str:
    """One Markdown table of the model's keys.

    Args:
        model: a section of params.yaml.
        values: for keys whose values are the names in a visible table: that table.
        without: keys to leave out.
    """
    rows = [row for name, field in model.model_fields.items() if name not in without for row in _rows(name, field)]
    if not rows:
        return "No keys: the section is written `{}`."
    named = {name: ", ".join(map(_code, names)) for name, names in (values or {}).items()}
    return "\n".join([HEAD, *(_line([_code(row[0]), row[1], named.get(row[0], row[2]), row[3]]) for row in rows)])


def _line(cells: Iterable[str]) -> str:
    escaped = (cell.replace("|", r"\|") for cell in cells)
    return f"| {' | '.join(escaped)} |"


def _rows(name: str, field: FieldInfo, given: tuple[Any, ...] = ()) -> Iterator[tuple[str, str, str, str]]:
    """(key, default, range, meaning); a section that has a default, or is `given` one, is told key by key."""
    if not given and not field.is_required():
        given = (field.get_default(call_default_factory=True),)
    if given and isinstance(given[0], BaseModel):
        for inner, inner_field in type(given[0]).model_fields.items():
            yield from _rows(f"{name}.{inner}", inner_field, (getattr(given[0], inner),))
        return
    shown = _shown(given[0]) if given else "required"
    yield name, shown, _allowed(field), field.description or "a section of its own, below"


def _shown(value: Any) -> str:
    """A value as params.yaml writes it."""
    if value is None:
        return "`null`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, list | tuple):
        return "<br>".join(_shown(item) for item in value)
    if isinstance(value, str) and (kind := value.partition(":")[0]) in ("sha256", "md5"):
        return _code(value[: len(kind) + 1 + LONGEST_DIGEST] + "…")
    return _code(f"{value:g}" if isinstance(value, float) else str(value))


def _allowed(field: FieldInfo) -> str:
    """The range of a number, the values of a choice, the type of anything else."""
    kind, optional = _without_none(field.annotation)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        text = ", ".join(map(_code, arguments))
    elif kind in (int, float):
        text = " ".join(filter(None, ["whole," if kind is int else "", _range(field.metadata) or WORDS[kind]]))
    elif origin in (list, tuple):
        text = "list, not empty"
    elif origin is dict or (isinstance(kind, type) and issubclass(kind, BaseModel)):
        text = "mapping"
    else:
        text = WORDS.get(typing.cast(type, kind), "text")
    return f"{text}, or `null`" if optional and field.default is None else text


def _without_none(annotation: Any) -> tuple[Any, bool]:
    if typing.get_origin(annotation) not in (typing.Union, types.UnionType):
        return annotation, False
    rest = [kind for kind in typing.get_args(annotation) if kind is not type(None)]
    return rest[0], len(rest) < len(typing.get_args(annotation))


def _range(metadata: Iterable[Any]) -> str:
    """Such as `0 to 10`, `above 0 to 10`, `0 to below 1`, `1 or more`."""
    low = high = ""
    for bound in metadata:
        for name, word in (("ge", ""), ("gt", "above ")):
            low = f"{word}{_number(getattr(bound, name))}" if hasattr(bound, name) else low
        for name, word in (("le", ""), ("lt", "below ")):
            high = f"{word}{_number(getattr(bound, name))}" if hasattr(bound, name) else high
    if low and high:
        return f"{low} to {high}"
    return high or (low if low.startswith("above") else low and f"{low} or more")


def _number(value: float) -> str:
    return "2^32" if value == 2**32 else f"{value:,.10g}"


def _code(text: Any) -> str:
    return f"`{text}`"


def updated(page: str) -> str:
    """`page` with fresh tables between the markers.

    Raises:
        ValueError: the page lacks a marker.
    """
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n\n{tables()}\n\n{END}{after}"


def main() -> int:
    """Print the tables, or write them into their page."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.params_table",
        description="Every parameter with its default and range, from the schema.",
    )
    parser.add_argument("--write", action="store_true", help=f"put the tables into {PAGE}")
    if not parser.parse_args().write:
        print(tables())
        return 0
    try:
        PAGE.write_text(updated(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    except (OSError, ValueError) as error:
        print(f"params_table: {PAGE} needs the lines {BEGIN} and {END}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
