"""`langwright neighbours`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from langwright.cli.options import Json, ModelName

if TYPE_CHECKING:
    from rich.console import RenderableType


def neighbours(
    model: ModelName,
    text: Annotated[
        str | None, typer.Argument(metavar="TEXT", help='One token, blanks included: " cat".')
    ] = None,
    token: Annotated[int | None, typer.Option("--id", help="The token by its id instead.")] = None,
    k: Annotated[int, typer.Option("-k", help="How many tokens to show.")] = 10,
    table: Annotated[
        Literal["input", "output"],
        typer.Option("--table", help="The embeddings that come in, or those that logits come of."),
    ] = "input",
    by: Annotated[
        Literal["cosine", "dot"], typer.Option("--by", help="What nearness is measured by.")
    ] = "cosine",
    as_json: Json = False,
) -> None:
    """Show the tokens whose vectors lie nearest to that of one token."""
    from langwright.cli.faults import WrongUsage

    if (text is None) == (token is None):
        problem = "There is no token." if text is None else "There is a text and an --id."
        raise WrongUsage(problem, remedy="Give TEXT or --id, one of the two.")

    import langwright as lw
    from langwright.cli.output import answer

    answer(lw.neighbours(model, text, k, table, by=by, id=token), as_json, _near)


def _near(found: dict[str, Any]) -> RenderableType:
    from rich.console import Group
    from rich.table import Table

    from langwright.inference import spelt

    token = found["token"]
    tied = "; input and output are one table in this model" if found["tied"] else ""
    head = (
        f"{spelt(bytes(token['bytes']))}, id {token['id']}, norm {token['norm']:.3f} "
        f"(median {found['median_norm']:.3f}), {found['table']} table{tied}"
    )
    table = Table("id", "token", "cosine", "dot", "norm", "", box=None)
    for column in table.columns:
        column.overflow = "fold"
    for column in table.columns[2:5]:
        column.justify = "right"
    for one in found["neighbours"]:
        numbers = [f"{one[key]:.3f}" for key in ("cosine", "dot", "norm")]
        rare = "rare" if one["rare"] else ""
        table.add_row(str(one["id"]), spelt(bytes(one["bytes"])), *numbers, rare)
    parts: list[RenderableType] = [head, table]
    rare = "a vector that is short, or that another token shares: training hardly met it"
    if token["rare"]:
        parts.append(f"Rare ({rare}), so its neighbours mean little.")
    elif any(one["rare"] for one in found["neighbours"]):
        parts.append(f"rare: {rare}.")
    return Group(*parts)
