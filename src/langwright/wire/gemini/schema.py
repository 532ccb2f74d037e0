"""Gemini's schemas, which are OpenAPI's with types in capitals, as JSON schemas.

https://ai.google.dev/api/caching#Schema
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_RENAMED = {
    "any_of": "anyOf", "min_items": "minItems", "max_items": "maxItems",
    "min_length": "minLength", "max_length": "maxLength", "min_properties": "minProperties",
    "max_properties": "maxProperties", "additional_properties": "additionalProperties",
    "ref": "$ref", "defs": "$defs",
}  # fmt: skip
_COUNTS = ("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties")
_ORDER = ("propertyOrdering", "property_ordering")
_DROPPED = (*_ORDER, "nullable", "example")


def json_schema(given: Mapping[str, Any]) -> dict[str, Any]:
    """The same as a JSON schema. Numbers of 64 bits may come as text there."""
    found: dict[str, Any] = {}
    for name, value in given.items():
        name = _RENAMED.get(name, name)
        if name in _DROPPED or (name == "format" and value == "enum"):
            continue
        if name == "type" and isinstance(value, str):
            if value.upper() != "TYPE_UNSPECIFIED":
                found[name] = value.lower()
        elif name in _COUNTS and isinstance(value, str) and value.isdigit():
            found[name] = int(value)
        elif name in ("properties", "$defs") and isinstance(value, dict):
            found[name] = {key: _inner(one) for key, one in value.items()}
        elif name == "anyOf" and isinstance(value, list):
            found[name] = [_inner(one) for one in value]
        else:
            found[name] = _inner(value) if name in ("items", "additionalProperties") else value
    orders = [given[name] for name in _ORDER if isinstance(given.get(name), list)]
    if orders and isinstance(held := found.get("properties"), dict):
        first = {key: held[key] for key in orders[0] if isinstance(key, str) and key in held}
        found["properties"] = first | held
    return {"anyOf": [found, {"type": "null"}]} if given.get("nullable") is True else found


def _inner(value: Any) -> Any:
    return json_schema(value) if isinstance(value, dict) else value
