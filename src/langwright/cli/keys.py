"""`langwright keys`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from langwright.cli.options import Json

if TYPE_CHECKING:
    from rich.console import RenderableType


def keys(
    add: Annotated[str | None, typer.Option(metavar="NAME", help="Make a key; told once.")] = None,
    scope: Annotated[
        list[str] | None,
        typer.Option(help="What a new one is for: use, inspect, metrics, admin; may be repeated."),
    ] = None,
    remove: Annotated[str | None, typer.Option(metavar="NAME", help="Take a key back.")] = None,
    as_json: Json = False,
) -> None:
    """List, make and take back the keys of this machine's servers."""
    import langwright as lw
    from langwright.cli.output import answer

    answer(lw.keys(add=add, scopes=scope or ["use"], remove=remove), as_json, _shown)


def _shown(found: dict[str, Any]) -> RenderableType:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table("name", "scopes", "created", box=None)
    for one in found["keys"]:
        table.add_row(one["name"], ", ".join(one["scopes"]), one["created"])
    parts: list[RenderableType] = [table] if found["keys"] else [Text("There are no keys.")]
    if "secret" in found:
        parts.append(Text(f"The new key, shown this once:\n{found['secret']}"))
    return Group(*parts)
