"""`langwright embed`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from langwright.cli.options import Json, ModelName

if TYPE_CHECKING:
    from rich.table import Table

_SHOWN = 6


def embed(
    model: ModelName,
    text: Annotated[
        list[str] | None, typer.Argument(metavar="TEXT", help="A text; several: a vector each.")
    ] = None,
    file: Annotated[
        str | None,
        typer.Option("--file", help="Read one text from this UTF-8 file; '-' is stdin."),
    ] = None,
    truncate: Annotated[
        bool, typer.Option("--truncate", help="Cut texts that are longer than the model reads.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Turn texts into vectors with an encoder, such as minilm."""
    from langwright.cli.given import given_text

    texts = text if text and file is None else [given_text(text[0] if text else None, file)]

    import langwright as lw
    from langwright.cli.output import answer

    found = lw.embed(lw.load(model), texts, truncate=truncate)
    answer(found, as_json, lambda found: _rows(texts, found))


def _rows(texts: list[str], found: dict[str, Any]) -> Table:
    """The beginning of each vector, and beside it the dot product with the first."""
    from rich.table import Table

    from langwright.cli.output import visible

    table = Table("text", "numbers", "beginning", "dot with the first", box=None)
    table.columns[0].overflow = "fold"
    first = found["embeddings"][0]
    for text, vector in zip(texts, found["embeddings"], strict=True):
        beginning = " ".join(f"{value:+.3f}" for value in vector[:_SHOWN])
        dot = sum(a * b for a, b in zip(first, vector, strict=True))
        shown = text if len(text) <= 60 else text[:57] + "..."
        table.add_row(visible(shown), str(len(vector)), f"{beginning} …", f"{dot:.4f}")
    return table
