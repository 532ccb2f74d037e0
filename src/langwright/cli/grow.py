"""`langwright grow`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from langwright.cli.options import Json, Name

if TYPE_CHECKING:
    from rich.console import RenderableType


def grow(
    preset: Annotated[str, typer.Option("--preset", help="How large a model to grow.")] = "tiny",
    corpus: Annotated[
        str | None, typer.Option("--corpus", help="A corpus' name, or a path; default: built in.")
    ] = None,
    name: Name = None,
    as_json: Json = False,
) -> None:
    """Grow a chat model from raw text: every stage, then a report card."""
    import langwright as lw
    from langwright.cli.output import answer

    grown = lw.grow(preset=preset, corpus=corpus, name=name)
    answer(grown, as_json, _stages)
    if as_json or not (sys.stdin.isatty() and sys.stdout.isatty()):
        return
    try:
        wanted = typer.confirm("Talk to it now?", default=True)
    except typer.Abort:  # Ctrl-C and Ctrl-D are a no: the model is grown all the same
        return
    if wanted:
        from langwright.cli.talk import talk
        from langwright.providers import Conversation

        talk(Conversation(lw.load(grown["model"])))


def _stages(grown: dict[str, Any]) -> RenderableType:
    from rich.console import Group
    from rich.table import Table

    from langwright.cli.output import cell, facts

    table = Table("stage", "seconds", "metrics", box=None)
    for column in table.columns:
        column.overflow = "fold"
    for stage in grown["stages"]:
        told = {
            key: one for key, one in stage["metrics"].items() if not isinstance(one, list | dict)
        }
        metrics = ", ".join(f"{key} {cell(value)}" for key, value in told.items())
        table.add_row(stage["name"], f"{stage['seconds']:.1f}", metrics)
    return Group(facts({"model": grown["model"], "report": grown["report"]}), table)
