"""Checks requests and answers against the discovery documents that google-api-python-client ships.

They are what Google publishes of its interfaces, in machine-readable form: every method with its path, parameters and
the fields, types and enumerations of its body. What passes here, Google's front end would take for well-formed.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

Json = dict[str, Any]
DOCUMENTS = ("compute.v1", "iam.v1", "cloudresourcemanager.v1", "storage.v1", "cloudbilling.v1")
KINDS: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "boolean": bool,
    "object": dict,
    "array": list,
    "integer": int,
    "number": (int, float),
}


@dataclass(frozen=True)
class Method:
    """One method of an interface, and how to tell a request that means it."""

    id: str
    host: str
    verb: str
    pattern: re.Pattern[str]
    spec: Json = field(repr=False)
    document: Json = field(repr=False)

    def problems(self, query: Mapping[str, list[str]], body: Json | None) -> list[str]:
        """Say what is wrong with a request: unknown or missing parameters, wrong fields, types and enumerations."""
        return [*self._query(query), *self._body(body)]

    def answer_problems(self, answer: Any) -> list[str]:
        """Say what is wrong with an answer, so that the double lies no more than the documents do."""
        ref = self.spec.get("response", {}).get("$ref")
        return list(check(self.document["schemas"], {"$ref": ref}, answer, "answer")) if ref else []

    def _query(self, query: Mapping[str, list[str]]) -> Iterator[str]:
        known = {**self.document["parameters"], **self.spec.get("parameters", {})}
        for name, values in query.items():
            if name not in known or known[name]["location"] != "query":
                yield f"unknown parameter {name!r}"
            elif "enum" in known[name] and not set(values) <= set(known[name]["enum"]):
                yield f"parameter {name!r} is {values}, none of {known[name]['enum']}"
        for name, spec in self.spec.get("parameters", {}).items():
            if spec.get("required") and spec["location"] == "query" and name not in query:
                yield f"missing parameter {name!r}"

    def _body(self, body: Json | None) -> Iterator[str]:
        ref = self.spec.get("request", {}).get("$ref")
        if body is None:
            return
        if ref is None:
            yield "takes no body"
        else:
            yield from check(self.document["schemas"], {"$ref": ref}, body, "body")


def check(schemas: Json, schema: Json, value: Any, where: str) -> Iterator[str]:
    """Compare a value with a schema of a discovery document."""
    schema = schemas[schema["$ref"]] if "$ref" in schema else schema
    kind = schema.get("type", "any")
    if value is None or kind == "any":
        return
    numeral = kind == "string" and schema.get("format") in ("int64", "uint64")
    if not isinstance(value, (str, int) if numeral else KINDS[kind]) or (kind != "boolean" and isinstance(value, bool)):
        yield f"{where} is no {kind}: {value!r}"
    elif kind == "object":
        yield from check_object(schemas, schema, value, where)
    elif kind == "array":
        for index, item in enumerate(value):
            yield from check(schemas, schema["items"], item, f"{where}[{index}]")
    elif "enum" in schema and value not in schema["enum"]:
        yield f"{where} is {value!r}, none of {', '.join(schema['enum'])}"


def check_object(schemas: Json, schema: Json, value: Json, where: str) -> Iterator[str]:
    """Compare an object, field by field."""
    for name, item in value.items():
        if name in schema.get("properties", {}):
            yield from check(schemas, schema["properties"][name], item, f"{where}.{name}")
        elif "additionalProperties" in schema:
            yield from check(schemas, schema["additionalProperties"], item, f"{where}.{name}")
        else:
            yield f"{where} has an unknown field {name!r}"


def find(host: str, verb: str, path: str) -> tuple[Method, dict[str, str]] | None:
    """Find the method that a request means, and the values in its path, still encoded."""
    for method in methods().get((host, verb), []):
        match = method.pattern.fullmatch(path)
        if match:
            return method, match.groupdict()
    return None


@cache
def methods() -> dict[tuple[str, str], list[Method]]:
    """Every method of every document, by host and verb."""
    folder = files("googleapiclient.discovery_cache") / "documents"
    documents = [json.loads((folder / f"{name}.json").read_text()) for name in DOCUMENTS]
    found: dict[tuple[str, str], list[Method]] = {}
    for document in documents:
        for method in flatten(document, document):
            found.setdefault((method.host, method.verb), []).append(method)
    return found


def flatten(document: Json, resource: Json) -> Iterator[Method]:
    """Walk the tree of resources."""
    host = document["rootUrl"].removeprefix("https://").strip("/")
    for spec in resource.get("methods", {}).values():
        paths = ["/" + document["servicePath"] + spec.get("flatPath", spec["path"])]
        paths += [way["path"] for way in spec.get("mediaUpload", {}).get("protocols", {}).values()]
        for path in paths:
            pattern = re.sub(r"\\{\\?\+?(\w+)\\}", r"(?P<\1>[^/:]+)", re.escape(path))
            yield Method(spec["id"], host, spec["httpMethod"], re.compile(pattern), spec, document)
    for child in resource.get("resources", {}).values():
        yield from flatten(document, child)
