"""Typed settings, read from TOML and from `key=value` words of the command line."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from langwright.errors import BadSettings, NotFound, suggest


class Settings(BaseModel):
    """A frozen set of named, typed values. An unknown key is an error that names the nearest."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def build(cls, values: Mapping[str, Any]) -> Self:
        """Validate `values`; raises `BadSettings` that names every wrong key."""
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            problems, remedies = [], []
            for problem in error.errors():
                known, place = _known(cls, problem["loc"])
                key = ".".join(map(str, place))
                if problem["type"] == "extra_forbidden":
                    problems.append(f"'{key}' is not a setting")
                    remedies.append(suggest(str(place[-1]), known, most=len(known)))
                elif problem["type"] == "missing":
                    problems.append(f"'{key}' is not set")
                    remedies.append(f"Give it as {key}=VALUE.")
                else:  # what is wrong between several keys has no place
                    problems.append(f"'{key}': {problem['msg']}" if key else problem["msg"])
            raise BadSettings(
                "The settings are wrong: " + "; ".join(problems) + ".",
                remedy=" ".join(remedies) or "Correct the value.",
            ) from None

    @classmethod
    def restored(cls, values: Mapping[str, Any]) -> Self:
        """The settings whose `model_dump(mode="json")` gave `values`: what equals its default
        counts as not set, which some checks ask for."""
        defaults = cls.defaults()
        kept = [key for key in values if key not in defaults or values[key] != defaults[key]]
        return cls.build({key: values[key] for key in kept})

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        """What a key is where it is not set, as JSON knows it."""
        fields = cls.model_fields.items()
        given = {key: field.get_default() for key, field in fields if not field.is_required()}
        defaults: dict[str, Any] = json.loads(json.dumps(given))  # where a tuple is a list
        return defaults

    def differences(self, other: Settings) -> list[str]:
        """One line for each key whose value differs: `key: here -> there`."""
        here, there = self.model_dump(mode="json"), other.model_dump(mode="json")
        return [
            f"{key}: {here.get(key)!r} -> {there.get(key)!r}"
            for key in sorted(here.keys() | there.keys())
            if here.get(key) != there.get(key)
        ]


def _known(settings: type[Settings], place: tuple[Any, ...]) -> tuple[list[str], list[Any]]:
    """The keys of the table in which `place` lies, and `place` without what names no key or index
    (pydantic's tags of a union)."""
    tables: list[type[Settings]] = [settings]
    kept: list[Any] = []
    for part in place[:-1]:
        fields = [table.model_fields[part] for table in tables if part in table.model_fields]
        if fields:
            tables = [table for field in fields for table in _tables(field.annotation)]
        if fields or isinstance(part, int):
            kept.append(part)
    return [key for table in tables for key in table.model_fields], [*kept, *place[-1:]]


def _tables(annotation: Any) -> list[type[Settings]]:
    """The tables that a value of this type may be or hold."""
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return [annotation]
    return [table for inner in get_args(annotation) for table in _tables(inner)]


def read_toml(path: Path) -> dict[str, Any]:
    """The table in a TOML file; raises `NotFound` or `BadSettings` naming the line."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NotFound(f"There is no file {path}.", remedy="Check the path.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadSettings(f"{path} is not valid TOML: {error}.", remedy="Correct it.") from None


def parse_overrides(words: Iterable[str]) -> dict[str, Any]:
    """`["steps=100", "learning_rate=3e-4"]` as a table; values are read as TOML, else as text."""
    values: dict[str, Any] = {}
    for word in words:
        key, equals, raw = word.partition("=")
        if not equals or not key:
            raise BadSettings(f"'{word}' is not a setting.", remedy="Write it as key=value.")
        try:
            values[key] = tomllib.loads(f"value = {raw}")["value"]
        except tomllib.TOMLDecodeError:
            values[key] = raw
    return values
