"""As much of how IAM decides as our policies need; moto looks at neither resources of EC2 nor conditions."""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _matches(patterns: Any, value: str) -> bool:
    return any(fnmatchcase(value, pattern) for pattern in _listed(patterns))


def _holds(operator: str, key: str, wanted: Any, context: Mapping[str, Any]) -> bool:
    given = context.get(key)
    if operator == "ForAllValues:StringLike":
        return all(_matches(wanted, one) for one in _listed(given or []))
    if given is None:
        return False
    if operator == "StringEquals":
        return given in _listed(wanted)
    if operator == "Bool":
        return str(given).lower() == wanted
    raise NotImplementedError(operator)


def allows(policy: Mapping[str, Any], action: str, resource: str, context: Mapping[str, Any] | None = None) -> bool:
    """Whether a policy allows an action on a resource, in the context of the request."""
    for statement in policy["Statement"]:
        assert statement["Effect"] == "Allow"
        if not any(fnmatchcase(action.lower(), one.lower()) for one in _listed(statement["Action"])):
            continue
        if not _matches(statement["Resource"], resource):
            continue
        conditions = statement.get("Condition", {})
        if all(
            _holds(op, key, wanted, context or {}) for op, keys in conditions.items() for key, wanted in keys.items()
        ):
            return True
    return False
