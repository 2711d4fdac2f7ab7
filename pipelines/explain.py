"""Turns pydantic's errors into one line each: the key path, what is wrong, and the nearest valid key or value."""

import re
import typing
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ValidationError

from pipelines.nearest import hint

KINDS: dict[Any, str] = {"int": "a whole number", "float": "a number"}


def explain(error: ValidationError, model: type[BaseModel], data: Any, prefix: str = "") -> list[str]:
    """Return the lines, in the order of the file's sections; `prefix` stands before every key path."""
    lines = []
    faults = error.errors()
    # Of a value that may be a word or a number, pydantic tells what it lacks to be the one, and the other.
    either = {fault["loc"][:-1]: str(fault["loc"][-1]) for fault in faults if _is_word(fault["loc"])}
    for fault in faults:
        place = fault["loc"]
        if place[:-1] in either:
            if _is_word(place):
                continue
            place = place[:-1]
            what = f"should be `{either[place][9:-2]}` or {KINDS[fault['loc'][-1]]}, but it is {_shown(fault['input'])}"
        else:
            what = _what(dict(fault), model)
        path = prefix + ".".join(str(part) for part in place)
        lines.append(f"{path.rstrip('.') or 'params.yaml'}: {what}")
    return list(dict.fromkeys(lines))


def _is_word(place: tuple[Any, ...]) -> bool:
    return bool(place) and str(place[-1]).startswith("literal['")


def _what(fault: dict[str, Any], model: type[BaseModel]) -> str:
    kind, value, context = fault["type"], fault["input"], fault.get("ctx", {})
    if kind == "extra_forbidden":
        return f"unknown key; {hint(str(fault['loc'][-1]), _keys_at(model, fault['loc'][:-1]), 'key')}"
    if kind == "missing":
        return "missing; this key is required (an empty section is written {})"
    if kind == "literal_error":
        valid = re.findall(r"'([^']*)'", str(context["expected"]))
        return f"unknown value {value!r}; {hint(str(value), valid, 'value')}"
    if kind == "value_error":
        return str(context["error"])
    return f"{_sentence(fault['msg'])}, but it is {_shown(value)}"


def _sentence(message: str) -> str:
    """Pydantic's own words, less what only a Python programmer would need."""
    message = message.removeprefix("Input ").replace("valid dictionary", "mapping").replace("valid tuple", "list")
    message = message.replace("an object", "a mapping").replace("valid array", "list")
    message = (
        message.replace("Tuple should", "should")
        .replace("Dictionary should", "should")
        .replace(" after validation", "")
    )
    return message[:1].lower() + message[1:]


def _shown(value: Any) -> str:
    text = "empty" if value is None else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _keys_at(model: Any, location: tuple[Any, ...]) -> list[str]:
    """The valid keys of the mapping at `location`, following the schema's own types."""
    for part in location:
        if isinstance(model, type) and issubclass(model, BaseModel):
            field = model.model_fields.get(str(part))
            if field is None:
                return []
            model = field.annotation
        else:
            arguments = typing.get_args(model)
            model = arguments[-1] if arguments else None
    return list(next(_models(model)).model_fields) if any(True for _ in _models(model)) else []


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models inside `X | None` and the like."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from _models(argument)
