"""The filter language of Compute Engine's lists, as far as Ray and `fifty` speak it."""

import re
from typing import Any

Json = dict[str, Any]

TOKEN = re.compile(r"\s*(?:([()])|(AND|OR|NOT)\b|([\w.-]+)\s*(!=|=|:)\s*(\"[^\"]*\"|[^\s()]+))")


def matches(expression: str, item: Json) -> bool:
    """Whether a resource passes a filter such as `(labels.a = b) AND (NOT labels.c:*)`; an empty one passes all."""
    if not expression.strip():
        return True
    tokens, at = [], 0
    while at < len(expression.rstrip()):
        found = TOKEN.match(expression, at)
        if not found:
            raise ValueError(f"no filter: {expression[at:]!r}")
        tokens.append(found.groups())
        at = found.end()
    value = any_of(tokens, item)
    if tokens:
        raise ValueError(f"no filter: {expression!r}")
    return value


Tokens = list[tuple[Any, ...]]


def any_of(tokens: Tokens, item: Json) -> bool:
    value = all_of(tokens, item)
    while tokens and tokens[0][1] == "OR":
        tokens.pop(0)
        value = all_of(tokens, item) or value
    return value


def all_of(tokens: Tokens, item: Json) -> bool:
    value = term(tokens, item)
    while tokens and (tokens[0][1] == "AND" or tokens[0][1] == "NOT" or tokens[0][3]):
        if tokens[0][1] == "AND":
            tokens.pop(0)
        value = term(tokens, item) and value
    return value


def term(tokens: Tokens, item: Json) -> bool:
    bracket, word, path, operator, wanted = tokens.pop(0)
    if word == "NOT":
        return not term(tokens, item)
    if bracket == "(":
        value = any_of(tokens, item)
        if not tokens or tokens.pop(0)[0] != ")":
            raise ValueError("no filter: a bracket is open")
        return value
    if not path:
        raise ValueError(f"no filter: unexpected {bracket or word}")
    return compare(item, path, operator, wanted.strip('"'))


def compare(item: dict[str, Any], path: str, operator: str, wanted: str) -> bool:
    value: Any = item
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    if operator == ":":
        return value is not None and (wanted == "*" or wanted in str(value))
    return (str(value) == wanted) == (operator == "=")
