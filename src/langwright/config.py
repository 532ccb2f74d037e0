"""Typed settings, read from TOML and from `key=value` words of the command line."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

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
                key = ".".join(str(part) for part in problem["loc"])
                if problem["type"] == "extra_forbidden":
                    problems.append(f"'{key}' is not a setting")
                    remedies.append(suggest(key, cls.model_fields))
                elif problem["type"] == "missing":
                    problems.append(f"'{key}' is not set")
                    remedies.append(f"Give it as {key}=VALUE.")
                else:
                    problems.append(f"'{key}': {problem['msg']}")
            raise BadSettings(
                "The settings are wrong: " + "; ".join(problems) + ".",
                remedy=" ".join(remedies) or "Correct the value.",
            ) from None

    def differences(self, other: Settings) -> list[str]:
        """One line for each key whose value differs: `key: here -> there`."""
        here, there = self.model_dump(mode="json"), other.model_dump(mode="json")
        return [
            f"{key}: {here.get(key)!r} -> {there.get(key)!r}"
            for key in sorted(here.keys() | there.keys())
            if here.get(key) != there.get(key)
        ]


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
