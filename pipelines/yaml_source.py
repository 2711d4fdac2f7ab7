"""Reads a YAML file as DVC reads it (YAML 1.2), but names every duplicate key instead of keeping one of the values."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

TEXT = ("tag:yaml.org,2002:str", "tag:yaml.org,2002:merge")


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
        if faults := list(_key_faults(node, path.name, "")):
            raise YamlFaults(faults)
        return YAML(typ="safe", pure=True).load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        what = " ".join(str(part) for part in (error.context, error.problem) if part)
        raise YamlFaults([f"{path.name}: {where}malformed YAML: {what}"]) from None
    except ReaderError as error:
        before = text[: error.position]
        where = f"line {before.count(chr(10)) + 1}, column {error.position - before.rfind(chr(10))}: "
        raise YamlFaults([f"{path.name}: {where}malformed YAML: {error.reason}"]) from None
    except RecursionError:
        raise YamlFaults([f"{path.name}: malformed YAML: nested too deeply, or in itself"]) from None
    except (YAMLError, ValueError) as error:
        raise YamlFaults([f"{path.name}: malformed YAML: {str(error).splitlines()[0]}"]) from None


def _key_faults(node: Node | None, name: str, prefix: str) -> Iterator[str]:
    """Walk the node tree and yield a line for each key that stands twice in its mapping, or that is no text."""
    if isinstance(node, SequenceNode):
        for index, item in enumerate(node.value):
            yield from _key_faults(item, name, f"{prefix}{index}.")
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
        elif key.tag not in TEXT:
            yield f"{prefix}{label}: a key must be text ({name} line {line}); write it in quotes, or another name"
        first_line.setdefault(label, line)
        yield from _key_faults(value, name, f"{prefix}{label}.")
