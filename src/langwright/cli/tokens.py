"""`langwright tokens`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from langwright.cli.options import File, Json, Text

if TYPE_CHECKING:
    from rich.console import RenderableType

_SHOWN = 2_000
_SHADES = ("black on bright_cyan", "black on bright_yellow")


def tokens(
    text: Text = None,
    file: File = None,
    encoding: Annotated[
        list[str] | None,
        typer.Option(
            "--encoding", metavar="NAME", help="A tokenizer or model; may be given again."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show how tokenizers cut a text."""
    import langwright as lw
    from langwright.cli.given import given_text
    from langwright.cli.output import answer

    answer(lw.tokens(given_text(text, file), encoding or []), as_json, _cuts)


def _cuts(found: dict[str, Any]) -> RenderableType:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from langwright.cli.output import console, visible

    coloured = console().color_system is not None
    parts: list[RenderableType] = []
    for one in found["encodings"]:
        parts.append(Text(f"{one['name']}: {one['count']:,} tokens", style="bold"))
        line = Text(overflow="fold")
        for index, piece in enumerate(one["piece_bytes"][:_SHOWN]):
            if index and not coloured:
                line.append("|")
            # Bytes that are no UTF-8 by themselves are seen for what they are: \\xe4.
            shown = bytes(piece).decode("utf-8", errors="backslashreplace")
            broken = " underline" if "\ufffd" in one["pieces"][index] else ""
            line.append(visible(shown), style=_SHADES[index % 2] + broken)
        parts += [line, Text(" ".join(map(str, one["ids"][:_SHOWN])), style="dim")]
        if one["count"] > _SHOWN:
            parts.append(Text(f"and {one['count'] - _SHOWN:,} more: --json has all", style="dim"))
    table = Table("encoding", "tokens", "a word", "a character", "bytes a token", box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    for one in found["encodings"]:
        bytes_each = one["bytes"] / one["count"] if one["count"] else None
        rates = (one["per_word"], one["per_character"], bytes_each)
        cells = ("–" if rate is None else f"{rate:.2f}" for rate in rates)
        table.add_row(one["name"], f"{one['count']:,}", *cells)
    return Group(*parts, table)
