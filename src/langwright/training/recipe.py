"""Recipes: typed TOML that comes with the package or is a person's own file."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from langwright.config import read_toml
from langwright.errors import BadInput, BadSettings, NotFound, suggest
from langwright.store import write_atomic

STAGES = ("pretrain", "sft", "reward", "dpo", "ppo", "grpo", "constitution")
"""The tables that a recipe may have, beside what a plan foretells of [pretrain] …"""
FORECAST = "forecast"
"""… which stands in a table of its own, as does …"""
GROW = "grow"
"""… what a life is made of after [sft]."""


def recipe(
    action: Literal["list", "show", "copy"],
    name: str | None = None,
    path: Path | str | None = None,
    *,
    force: bool = False,
) -> dict[str, Any]:
    """`langwright recipe`: the built-in recipes, one recipe's text, or a copy of it to edit.

    `list` gives {"recipes": [{"name", "about", "tables"}]}, `show` the one with its "text", and
    `copy` also the "path" of the copy, by default NAME.toml in this folder. Raises `BadInput`
    where there is a file at that path, unless `force`.
    """
    if action == "list":
        return {"recipes": [_described(one) for one in recipes()]}
    if name is None:
        raise BadInput(
            f"There is no recipe to {action}.", remedy=f"Name one of {', '.join(recipes())}."
        )
    source = _path(name)
    told = {**_described(name), "text": source.read_text(encoding="utf-8")}
    if action == "copy":
        told["path"] = str(_copied(source, Path(path or ".").expanduser(), force))
    return told


def read_recipe(name: str, stage: str, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """The table `[stage]` of a recipe (a built-in name, or a path), changed by `overrides`.

    Raises `BadSettings` for a table that no stage has and for a key outside of all tables: nobody
    would read them.
    """
    tables = _tables(name)
    if stage not in tables:
        raise BadSettings(
            f"The recipe '{name}' has no table [{stage}].",
            remedy=f"It has {', '.join(f'[{table}]' for table in tables)}.",
        )
    return {**tables[stage], **overrides}


def has_table(name: str, table: str) -> bool:
    return table in _tables(name)


def read_forecast(name: str) -> dict[str, float]:
    """What the plan that wrote the recipe foretells; empty for one that no plan has written."""
    values = _tables(name).get(FORECAST, {})
    wrong = [key for key, value in values.items() if not isinstance(value, int | float)]
    if wrong:
        raise BadSettings(
            f"'{wrong[0]}' in [{FORECAST}] of the recipe '{name}' is no number.",
            remedy="Leave that table as `langwright plan` has written it, or take it out.",
        )
    return dict(values)


def recipes() -> list[str]:
    """Names of the recipes that come with the package."""
    folder = resources.files("langwright.training") / "recipes"
    files = (Path(entry.name) for entry in folder.iterdir())
    return sorted(file.stem for file in files if file.suffix == ".toml")


def _described(name: str) -> dict[str, Any]:
    first = _path(name).read_text(encoding="utf-8").partition("\n")[0]
    about = first.removeprefix("#").strip() if first.startswith("#") else ""
    return {"name": name, "about": about, "tables": list(_tables(name))}


def _tables(name: str) -> dict[str, Any]:
    tables = read_toml(_path(name))
    for key, value in tables.items():
        if not isinstance(value, dict):
            raise BadSettings(
                f"'{key}' in the recipe '{name}' stands outside of its tables.",
                remedy=f"Put it below {' or '.join(f'[{stage}]' for stage in STAGES)}.",
            )
        if key not in (*STAGES, FORECAST, GROW):
            raise BadSettings(
                f"The recipe '{name}' has a table [{key}], which no stage reads.",
                remedy=suggest(key, STAGES),
            )
    return tables


def _path(name: str) -> Path:
    if name in recipes():
        return Path(str(resources.files("langwright.training") / "recipes" / f"{name}.toml"))
    path = Path(name)
    if path.suffix == ".toml" or path.exists():
        return path
    raise NotFound(f"There is no recipe '{name}'.", remedy=suggest(name, recipes()))


def _copied(source: Path, target: Path, force: bool) -> Path:
    if target.is_dir():
        target /= source.name
    require_free(target, force)
    write_atomic(target, source.read_bytes())
    return target


def require_free(target: Path, force: bool) -> None:
    """Raise `NotFound` where the folder of `target` is missing, and `BadInput` where there is a
    file already, unless `force`."""
    if not target.parent.is_dir():
        raise NotFound(f"There is no folder {target.parent}.", remedy="Make it, or check the path.")
    if target.exists() and not force:
        raise BadInput(
            f"There is a file {target} already.", remedy="Give another path, or --force."
        )
