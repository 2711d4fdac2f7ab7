"""What a person most likely meant by a name that does not exist."""

import difflib
from collections.abc import Iterable


def hint(name: str, valid: Iterable[str], noun: str) -> str:
    """Say the nearest valid name, or all of them where none is near; `noun` is "key" or "value"."""
    names = sorted(valid)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    close = close or [valid for valid in names if _initials(name) == valid or _initials(valid) == name]
    if close:
        return f"nearest valid {noun}: {close[0]}"
    return f"valid {noun}s: {', '.join(names)}" if names else f"there are no valid {noun}s"


def known(name: str, table: Iterable[str]) -> str:
    """Return `name` if the table has it.

    Raises:
        ValueError: it has not; the message gives the nearest name that it has.
    """
    names = list(table)
    if name not in names:
        raise ValueError(f"unknown value '{name}'; {hint(name, names, 'value')}")
    return name


def _initials(name: str) -> str:
    """People write `learning_rate` for `lr`, and `wd` for `weight_decay`."""
    return "".join(part[:1] for part in name.split("_")) if "_" in name else ""
