"""A constitution: the principles by which answers are criticised, revised and compared."""

from __future__ import annotations

from collections import Counter
from importlib import resources
from pathlib import Path
from typing import Annotated

from pydantic import Field, StringConstraints

from langwright.config import Settings, read_toml
from langwright.errors import BadInput, BadSettings, NotFound, suggest

Said = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class Principle(Settings):
    """`critique` and `revision` are asked of the model, `comparison` of the judge of two replies.
    `signs` name what the rule judge looks for; none: all that it knows."""

    id: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
    title: Said
    critique: Said
    revision: Said
    comparison: Said
    signs: tuple[str, ...] = ()


class Constitution(Settings):
    """Principles in their written order; `about` says in a line what they are for."""

    about: str = ""
    principles: Annotated[tuple[Principle, ...], Field(min_length=1)]

    def principle(self, name: str) -> Principle:
        """The one of this id; raises `NotFound`."""
        found = {one.id: one for one in self.principles}
        if name not in found:
            raise NotFound(f"There is no principle '{name}'.", remedy=suggest(name, found))
        return found[name]


def constitutions() -> list[str]:
    """Names of those that come with the package."""
    folder = resources.files("langwright.training.constitutional") / "constitutions"
    names = (Path(entry.name) for entry in folder.iterdir())
    return sorted(name.stem for name in names if name.suffix == ".toml")


def read_constitution(name: str) -> Constitution:
    """The constitution of a built-in name or in a TOML file.

    Raises `NotFound`, `BadSettings` that names file and key, `BadInput` for an id that stands
    twice.
    """
    path = _path(name)
    try:
        found = Constitution.build(read_toml(path))
    except BadSettings as error:
        raise BadSettings(
            f"{path}: {error.message}",
            remedy="A constitution has [[principles]], each with id (small letters, digits, - _), "
            "title, critique, revision, comparison, and perhaps signs.",
        ) from None
    (most, count), *_ = Counter(one.id for one in found.principles).most_common(1)
    if count > 1:
        raise BadInput(
            f"{path} has {count} principles with the id '{most}'.", remedy="Give each its own."
        )
    return found


def _path(name: str) -> Path:
    if name in constitutions():
        folder = resources.files("langwright.training.constitutional") / "constitutions"
        return Path(str(folder / f"{name}.toml"))
    path = Path(name).expanduser()
    if path.suffix == ".toml" or path.exists():
        return path
    raise NotFound(
        f"There is no constitution '{name}'.",
        remedy=f"{suggest(name, constitutions())} Or give a TOML file.",
    )
