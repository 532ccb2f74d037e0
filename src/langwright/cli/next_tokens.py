"""`langwright next-tokens`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from langwright.cli.options import Backend, DeviceName, DtypeName, Json, ModelName

if TYPE_CHECKING:
    from rich.table import Table

_BAR = 30


def next_tokens(
    model: ModelName,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="Raw text; no chat template.")],
    k: Annotated[int, typer.Option("-k", help="How many tokens to show.")] = 5,
    dtype: DtypeName = "float32",
    backend: Backend = "own",
    device: DeviceName = "cpu",
    as_json: Json = False,
) -> None:
    """Show the likeliest next tokens of a text."""
    import langwright as lw
    from langwright.cli.output import answer

    answer(
        lw.next_tokens(lw.load(model, dtype=dtype, backend=backend, device=device), text, k),
        as_json,
        _bars,
    )


def _bars(found: dict[str, Any]) -> Table:
    from rich.table import Table

    table = Table("id", "token", "probability", "", box=None)
    for column in table.columns:
        column.overflow = "fold"
    for one in found["tokens"]:
        share = one["probability"]
        table.add_row(str(one["id"]), repr(one["text"]), f"{share:.2%}", "█" * round(share * _BAR))
    return table
