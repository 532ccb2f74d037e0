"""`langwright recipe`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from langwright.cli.faults import WrongUsage
from langwright.cli.options import Json

if TYPE_CHECKING:
    from rich.table import Table


def recipe(
    action: Annotated[
        Literal["list", "show", "copy"],
        typer.Argument(metavar="list|show|copy", help="What to do.", show_choices=False),
    ],
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="A built-in recipe, or a TOML file.")
    ] = None,
    path: Annotated[
        str | None, typer.Argument(metavar="PATH", help="Where the copy goes; default: NAME.toml.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Copy over a file that is there.")] = False,
    as_json: Json = False,
) -> None:
    """List the recipes, show one as it is, or copy one to edit it."""
    given = [one for one in (name, path) if one is not None]
    wanted = {"list": (0, 0), "show": (1, 1), "copy": (1, 2)}[action]
    if not wanted[0] <= len(given) <= wanted[1] or (force and action != "copy"):
        usage = {"list": "recipe list", "show": "recipe show NAME"}
        shown = usage.get(action, "recipe copy NAME [PATH] [--force]")
        raise WrongUsage(f"`{action}` is used otherwise.", remedy=f"Write: langwright {shown}.")

    import langwright as lw
    from langwright.cli.output import answer, put_json, write

    found = lw.recipe(action, name, path, force=force)
    if action == "show" and not as_json:
        write(found["text"])
    elif action == "show":
        put_json(found)
    else:
        answer(found, as_json, _table if action == "list" else _copied)


def _table(found: dict[str, Any]) -> Table:
    from rich.table import Table

    table = Table("name", "tables", "about", box=None)
    for one in found["recipes"]:
        table.add_row(one["name"], " ".join(one["tables"]), one["about"])
    return table


def _copied(found: dict[str, Any]) -> str:
    return f"{found['path']}: edit it, then `langwright {found['tables'][0]} {found['path']}`."
