"""English text that every Python carries: what the packages of its standard library say of themselves."""

import ast
import re
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pipelines.faults import Fault

PACKAGES = {
    "asyncio": ("asyncio",),
    "decimal": ("_pydecimal.py",),
    "email": ("email",),
    "http": ("http", "urllib"),
    "importlib": ("importlib",),
    "logging": ("logging",),
    "unittest": ("unittest",),
    "xml": ("xml",),
}
"""Folders and modules of the standard library by what they are about; all of them are in every Python from 3.11 on."""

FEWEST = 15
"""Words that a passage has at least."""

Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
DOCTEST = (">>>", "...")
WORD = re.compile(r"[^\W\d_]{2,}")


class Passage(NamedTuple):
    """Some words of a docstring, what package it is from, and which docstring it is."""

    text: str
    label: str
    document: str


def passages(words: int, library: Path | None = None) -> list[Passage]:
    """Every docstring of PACKAGES in passages of about `words` words; one that says the same as another is left out.

    Args:
        words: a docstring is cut evenly into as many passages as come closest to this.
        library: where the standard library is; by default where this Python has it.

    Raises:
        Fault: the library's sources are not there.
    """
    library = library or Path(sysconfig.get_paths()["stdlib"])
    found: dict[str, Passage] = {}
    for label, places in PACKAGES.items():
        for path in (path for place in places for path in _modules(library / place)):
            for name, docstring in _docstrings(path):
                document = f"{path.relative_to(library).as_posix()}:{name}"
                for text in _cut(docstring, words):
                    found.setdefault(text, Passage(text, label, document))
    return list(found.values())


def _modules(place: Path) -> list[Path]:
    modules = [place] if place.is_file() else sorted(place.rglob("*.py"))
    if not modules:
        raise Fault(f"this Python carries no sources of its standard library (looked for {place})")
    return modules


def _docstrings(path: Path) -> Iterator[tuple[str, str]]:
    """The line and the text of each docstring of a module."""
    waiting: list[ast.AST] = [ast.parse(path.read_bytes())]
    while waiting:
        node = waiting.pop()
        if isinstance(node, Documented) and (docstring := ast.get_docstring(node)):
            yield str(getattr(node, "lineno", 1)), docstring
        # Expressions, which make up most of a module, have none.
        waiting += [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt | ast.ExceptHandler)]


def _cut(docstring: str, words: int) -> Iterator[str]:
    """The prose in passages of nearly the same number of words; doctests are left out."""
    lines = (line.strip() for line in docstring.split("\n"))
    prose = " ".join(line for line in lines if not line.startswith(DOCTEST)).split()
    pieces = max(1, round(len(prose) / words))
    for piece in range(pieces):
        text = " ".join(prose[len(prose) * piece // pieces : len(prose) * (piece + 1) // pieces])
        if len(WORD.findall(text)) >= FEWEST:
            yield text
