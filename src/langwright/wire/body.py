"""The body of a call: JSON of a known form, in which nothing is overlooked."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from langwright.errors import BadInput

ANY = object()
"""Every value of a parameter that changes no answer."""


class BadBody(BadInput):
    """A body that cannot be read, for what stands at `param`."""

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message, remedy="Correct the request.")
        self.param = param


class Body(BaseModel):
    """The fields are what is honoured. `ACCEPTED` are further parameters, with the values of each
    that ask for what is done anyway (`ANY`: it changes no answer, as the name of a user)."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True, allow_inf_nan=False)

    ACCEPTED: ClassVar[Mapping[str, object]] = {}

    def odd(self) -> tuple[str, ...]:
        """The parameters given here that are not honoured, by name."""
        return tuple(
            name for name, value in (self.model_extra or {}).items() if self._odd(name, value)
        )

    def unheeded(self) -> tuple[str, ...]:
        """The parameters given here and further in that are not honoured, as `tools.0.name`."""
        found = list(self.odd())
        for name, field in type(self).model_fields.items():
            found += _within(getattr(self, name), field.alias or name)
        return tuple(found)

    def _odd(self, name: str, value: Any) -> bool:
        if value is None:
            return False
        if name not in self.ACCEPTED:
            return True
        allowed = self.ACCEPTED[name]
        return allowed is not ANY and value not in (
            allowed if isinstance(allowed, tuple) else (allowed,)
        )


_KINDS = frozenset({"str", "int", "float", "bool"})

Kind = TypeVar("Kind", bound=Body)


_SUSPECT = re.compile(rb"NaN|Infinity|[0-9]{300}|[eE]\+?[0-9]{3}")
"""What a number may be written with that no float holds; pydantic lets them pass where any value
may stand."""


def _finite(number: str) -> float:
    if not math.isfinite(found := float(number)):
        raise BadBody(f"The body is no JSON: {number[:20]} is no number of 64 bits.")
    return found


def _within(value: object, at: str) -> list[str]:
    if isinstance(value, Body):
        return [f"{at}.{name}" for name in value.unheeded()]
    if isinstance(value, list):
        return [name for number, one in enumerate(value) for name in _within(one, f"{at}.{number}")]
    return []


def _parts_are_schemas(schema: dict[str, Any]) -> dict[str, Any]:
    properties = schema.get("properties")
    for name, one in properties.items() if isinstance(properties, dict) else ():
        if not isinstance(one, dict | bool):
            raise ValueError(f"the property '{name[:100]}' has no schema but {str(one)[:100]!r}")
        if isinstance(one, dict):
            _parts_are_schemas(one)
    return schema


Parameters = Annotated[dict[str, Any], AfterValidator(_parts_are_schemas)]
"""The JSON schema of a tool's arguments."""


def parse(raw: bytes, kind: type[Kind], *, lenient: bool = False) -> tuple[Kind, tuple[str, ...]]:
    """The body, and the names of what is not honoured. `lenient`: an optional parameter whose value
    cannot be read is left out, and named too.

    Raises `BadBody`.
    """
    dropped: list[str] = []
    while True:
        try:
            body = kind.model_validate_json(raw)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            at = [str(part) for part in first["loc"] if not _is_kind(part)]
            if first["type"] == "json_invalid":
                raise BadBody(f"The body is no JSON: {first['msg']}.") from None
            field = kind.model_fields.get(_field(kind, at[0])) if at else None
            if lenient and field is not None and not field.is_required():
                dropped.append(at[0])
                raw = _without(raw, at[0])
                continue
            where = ".".join(at)
            said = first["msg"].removeprefix("Value error, ")
            raise BadBody(f"{where or 'The body'}: {said}.", where or None) from None
        if _SUSPECT.search(raw):
            json.loads(raw, parse_float=_finite, parse_constant=_finite)
        return body, (*dropped, *body.unheeded())


def _is_kind(part: int | str) -> bool:
    """Whether a part of a place is none, but one of the kinds that may stand there."""
    return isinstance(part, str) and (part in _KINDS or "[" in part or part[:1].isupper())


def _field(kind: type[Body], name: str) -> str:
    """The field that stands for a parameter; a dialect's names may be camelCase."""
    return next((own for own, one in kind.model_fields.items() if one.alias == name), name)


def _without(raw: bytes, name: str) -> bytes:
    found = json.loads(raw)
    del found[name]
    return json.dumps(found).encode()
