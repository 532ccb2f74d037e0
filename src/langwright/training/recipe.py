"""Recipes: typed TOML that comes with the package or is a person's own file."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from langwright.config import read_toml
from langwright.errors import BadSettings, NotFound, suggest


def read_recipe(name: str, stage: str, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """The table `[stage]` of a recipe (a built-in name, or a path), changed by `overrides`."""
    tables = read_toml(_path(name))
    if stage not in tables:
        raise BadSettings(
            f"The recipe '{name}' has no table [{stage}].",
            remedy=f"It has {', '.join(f'[{table}]' for table in tables)}.",
        )
    return {**tables[stage], **overrides}


def recipes() -> list[str]:
    """Names of the recipes that come with the package."""
    folder = resources.files("langwright.training") / "recipes"
    files = (Path(entry.name) for entry in folder.iterdir())
    return sorted(file.stem for file in files if file.suffix == ".toml")


def _path(name: str) -> Path:
    if name in recipes():
        return Path(str(resources.files("langwright.training") / "recipes" / f"{name}.toml"))
    path = Path(name)
    if path.suffix == ".toml" or path.exists():
        return path
    raise NotFound(f"There is no recipe '{name}'.", remedy=suggest(name, recipes()))
