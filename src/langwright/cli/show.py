"""`langwright show`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from langwright.cli.options import Json

if TYPE_CHECKING:
    from rich.console import RenderableType


def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name, or a digest's beginning.")],
    as_json: Json = False,
) -> None:
    """Show all that is known of an artifact or run."""
    import langwright as lw
    from langwright.cli.output import answer

    answer(lw.show(name), as_json, _details)


def _details(found: dict[str, Any]) -> RenderableType:
    from rich.console import Group

    from langwright.cli.output import facts

    return Group(*(facts(one) for one in (*found["artifacts"], *found["runs"])))
