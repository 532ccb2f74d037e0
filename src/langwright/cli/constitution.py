"""`langwright constitution`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from langwright.cli.options import Json, Name, Words

if TYPE_CHECKING:
    from rich.console import RenderableType


def constitution(
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE", help="A built-in recipe, or a TOML file.")
    ],
    words: Words = None,
    name: Name = None,
    as_json: Json = False,
) -> None:
    """Have a model revise its answers by written principles, and learn from that.

    The same command continues an unfinished run, or shows the finished one.
    """
    import langwright as lw
    from langwright.cli.given import given_settings
    from langwright.cli.output import answer

    answer(lw.constitution(recipe, name=name, **given_settings(words or [])), as_json, _shown)


def _shown(result: dict[str, Any]) -> RenderableType:
    from rich.console import Group
    from rich.table import Table

    from langwright.cli.output import facts

    stages = result["evaluation"]
    table = Table("", *stages, box=None)
    for metric in stages["before"]:
        table.add_row(metric, *(_figure(stages[stage][metric]) for stage in stages))
    left_out = {"evaluation", "caveats", "mechanics_demo"}
    rest = {key: value for key, value in result.items() if key not in left_out}
    return Group(facts(rest), "", table, "", *result["caveats"])


def _figure(one: dict[str, Any]) -> str:
    bounds = one["interval"]
    shown = f"{one['value']:.3f}"
    return shown if bounds is None else f"{shown} ({bounds[0]:.3f} to {bounds[1]:.3f})"
