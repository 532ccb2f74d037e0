"""`langwright remove`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from langwright.cli.options import Json


def remove(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name, or a digest's beginning.")],
    as_json: Json = False,
) -> None:
    """Remove an artifact and the run of that name; what was made from it keeps its record."""
    import langwright as lw
    from langwright.cli.output import answer

    answer(lw.remove(name), as_json, _said)


def _said(removed: dict[str, Any]) -> str:
    gone = [f"{one['kind']} {one['name']}" for kind in removed.values() for one in kind]
    return "Removed: " + ", ".join(gone) + "."
