"""Reads a YAML file as DVC reads it (YAML 1.2), but names every duplicate key instead of keeping one of the values."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode


class YamlFaults(Exception):
    """The file cannot be read as one document with unique keys; `faults` holds one line per fault."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


def read(path: Path) -> Any:
    """Return the document in `path` as plain dicts, lists and scalars.

    Raises:
        YamlFaults: the file is missing, unreadable, not UTF-8, malformed (with line and column), or has duplicate keys.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise YamlFaults([f"{path.name}: not found in {path.parent.resolve()}"]) from None
    except (OSError, UnicodeDecodeError) as error:
        raise YamlFaults([f"{path.name}: cannot be read: {error}"]) from None
    try:
        node = YAML(typ="safe", pure=True).compose(text)
        if faults := list(_duplicates(node, path.name, "")):
            raise YamlFaults(faults)
        return YAML(typ="safe", pure=True).load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        what = " ".join(str(part) for part in (error.context, error.problem) if part)
        raise YamlFaults([f"{path.name}: {where}malformed YAML: {what}"]) from None
    except (YAMLError, ValueError) as error:
        raise YamlFaults([f"{path.name}: malformed YAML: {error}"]) from None


def _duplicates(node: Node | None, name: str, prefix: str) -> Iterator[str]:
    """Walk the node tree and yield a line for each key that stands twice in its mapping."""
    if isinstance(node, SequenceNode):
        for index, item in enumerate(node.value):
            yield from _duplicates(item, name, f"{prefix}{index}.")
    if not isinstance(node, MappingNode):
        return
    first_line: dict[str, int] = {}
    for key, value in node.value:
        label = str(key.value) if isinstance(key, ScalarNode) else "?"
        line = key.start_mark.line + 1
        if label in first_line and label != "<<":
            column = key.start_mark.column + 1
            yield (
                f"{prefix}{label}: duplicate key ({name} line {line}, column {column}; "
                f"first on line {first_line[label]}); keep one"
            )
        first_line.setdefault(label, line)
        yield from _duplicates(value, name, f"{prefix}{label}.")
