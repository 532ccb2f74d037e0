"""`langwright cost`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from langwright.cli.options import Json

if TYPE_CHECKING:
    from rich.console import RenderableType


def cost(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A UTF-8 file; '-' is stdin.")],
    model: Annotated[
        list[str],
        typer.Option("--model", metavar="NAME", help="A provider's model; may be given again."),
    ],
    output_tokens: Annotated[
        int, typer.Option("--output-tokens", help="Length of an answer to price as well.")
    ] = 0,
    as_json: Json = False,
) -> None:
    """Show what a text costs as the input of providers' models."""
    import langwright as lw
    from langwright.cli.given import given_text
    from langwright.cli.output import answer

    found = lw.cost(given_text(None, file), model, output_tokens=output_tokens)
    answer(found, as_json, _prices)


def _prices(found: dict[str, Any]) -> RenderableType:
    from rich.console import Group
    from rich.table import Table

    table = Table("model", "provider", "tokens", "input $", "output $", "total $", "", box=None)
    for column in table.columns[2:6]:
        column.justify = "right"
    for one in found["models"]:
        prices = (one[f"{part}_price_usd"] for part in ("input", "output", "total"))
        note = "" if one["exact"] else f"estimated with {one['encoding']}"
        numbers = [f"{one['input_tokens']:,}", *(f"{price:.6f}" for price in prices)]
        table.add_row(one["model"], one["provider"], *numbers, note)
    dated = found["prices"]
    return Group(table, f"Prices: {dated['source']} {dated['version']}, as of {dated['date']}.")
