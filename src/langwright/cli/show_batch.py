"""`langwright show-batch`."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Any

import typer

from langwright.cli.options import Json

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

_COLOURS = {
    "trained": ("black on green3", "black on dark_sea_green2"),
    "masked": ("grey50", "grey62"),
    "padded": ("black on orange3", "black on orange3"),
    "cut": ("white on red3", "white on red3"),
}
"""Neighbours take turns, so that one sees where a token ends."""


def show_batch(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="A run; with DATA, a model in the store.")
    ],
    data: Annotated[
        str | None,
        typer.Argument(
            metavar="[DATA]", help="Conversations, shown as that model would learn them."
        ),
    ] = None,
    step: Annotated[int, typer.Option("--step", min=1, help="Which step, from 1.")] = 1,
    html: Annotated[
        str | None, typer.Option("--html", metavar="FILE", help="Write it as a page, too.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show every token that a run learns from in one step: trained, masked, padded or cut.

    The batch is built again from the run's settings; nothing is trained.
    """
    import langwright as lw
    from langwright.cli.output import answer, console
    from langwright.training.views.show_batch import BadBatch

    try:
        answer(lw.show_batch(run, data, step=step, html=html), as_json, _shown)
    except BadBatch as error:
        if not as_json:
            console().print(_shown(error.batch))
        raise


def _shown(batch: dict[str, Any]) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    counts = ", ".join(f"{count:,} {state}" for state, count in batch["counts"].items())
    head = f"{batch['run']} ({batch['stage']}), step {batch['step']} of {batch['steps']}: {counts}."
    legend = Text("Here: ")
    for state, mark in (("trained", "{}"), ("masked", "⟨{}⟩"), ("padded", "{}×3"), ("cut", "✂{}")):
        legend.append(mark.format(state), _COLOURS[state][0]).append("  ")
    legend.append("┃ begins a document.")
    parts: list[RenderableType] = [head, legend]
    for row in batch["rows"]:
        label = f" ({row['label']})" if "label" in row else ""
        said = (
            f"row {row['row']}{label}, micro-batch {row['micro_batch']}, {row['trained']:,} trained"
        )
        parts += ["", Text(said, "bold"), _row(row["tokens"])]
    return Group(*parts)


def _row(tokens: list[dict[str, Any]]) -> Text:
    """The marks say what the colours say, for those who see none."""
    from rich.text import Text

    from langwright.training.views.show_batch import visible

    line = Text()
    place = 0
    before = None
    for state, alike in groupby(tokens, key=lambda token: (token["document"], token["state"])):
        document, kind = state
        if document is not None and document != before:
            line.append("\n┃ " if before is not None else "┃ ", "bold")
        before = document
        opening, closing = {"masked": ("⟨", "⟩"), "cut": ("✂", "")}.get(kind, ("", ""))
        if kind == "padded":
            line.append(f"\npadded×{len(list(alike))}", _COLOURS[kind][0])
            continue
        line.append(opening)
        for token in alike:
            place += 1
            line.append(visible(token["text"]), _COLOURS[kind][place % 2])
        line.append(closing)
    return line
