"""Says what is wrong with the section `cloud`: one line per fault, the key's path, and the nearest valid key."""

import difflib
import re
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from infra.faults import Refused


def read(path: Path) -> Any:
    """Return the YAML document in `path`; an empty one is an empty mapping.

    Raises:
        Refused: it is missing, unreadable, or malformed (with line and column).
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        return YAML(typ="safe").load(path.read_text(encoding="utf-8")) or {}
    except FileNotFoundError:
        raise Refused(f"{path.name}: not found in {path.parent.resolve()}; run it in the project's folder") from None
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"{path.name}: cannot be read: {error}") from None
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise Refused(f"{path.name}: {where}malformed YAML: {str(error.problem).splitlines()[0]}") from None
    except (YAMLError, ValueError, RecursionError) as error:
        raise Refused(f"{path.name}: malformed YAML: {(str(error).splitlines() or ['nested too deeply'])[0]}") from None


def explain(error: ValidationError, model: type[BaseModel], section: str) -> list[str]:
    """Return one line per fault, in the order in which pydantic found them."""
    return [f"{'.'.join(map(str, (section, *fault['loc'])))}: {_what(dict(fault), model)}" for fault in error.errors()]


def nearest(name: str, valid: list[str], noun: str) -> str:
    """Say the nearest valid name, or all of them where none is near."""
    close = difflib.get_close_matches(name, valid, n=1, cutoff=0.6)
    return f"nearest valid {noun}: {close[0]}" if close else f"valid {noun}s: {', '.join(sorted(valid))}"


def _what(fault: dict[str, Any], model: type[BaseModel]) -> str:
    kind, value = fault["type"], fault["input"]
    if kind == "extra_forbidden":
        return f"unknown key; {nearest(str(fault['loc'][-1]), _keys_at(model, fault['loc'][:-1]), 'key')}"
    if kind == "literal_error":
        valid = re.findall(r"'([^']*)'", str(fault["ctx"]["expected"]))
        return f"unknown value {value!r}; {nearest(str(value), valid, 'value')}"
    if kind == "value_error":
        return str(fault["ctx"]["error"])
    if kind == "model_type":
        return f"should be a mapping, but it is {_shown(value)} (an empty section is written {{}})"
    message = fault["msg"].removeprefix("Input ")
    return f"{message[:1].lower()}{message[1:]}, but it is {_shown(value)}"


def _shown(value: Any) -> str:
    text = "empty" if value is None else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _keys_at(model: type[BaseModel], location: tuple[Any, ...]) -> list[str]:
    """The valid keys of the mapping at `location`."""
    for part in location:
        annotation = model.model_fields[str(part)].annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            model = annotation
    return list(model.model_fields)
