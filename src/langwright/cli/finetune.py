"""`langwright finetune`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from langwright.cli.options import Json, Name, Words

if TYPE_CHECKING:
    from rich.console import RenderableType


def finetune(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model of the store.")],
    data: Annotated[
        str, typer.Argument(metavar="DATA", help="Conversations: a file of any known shape.")
    ],
    words: Words = None,
    name: Name = None,
    epochs: Annotated[float, typer.Option("--epochs", help="How often the data is learnt.")] = 3.0,
    as_json: Json = False,
) -> None:
    """Fine-tune a model on your conversations: a forecast, training, before and after.

    The same command continues where it was stopped.
    """
    import langwright as lw
    from langwright.cli.given import given_settings
    from langwright.cli.output import answer

    given = given_settings(words or [])
    answer(lw.finetune(model, data, name=name, epochs=epochs, **given), as_json, _table)


def _table(done: dict[str, Any]) -> RenderableType:
    from rich.console import Group
    from rich.table import Table

    from langwright.cli.output import cell, facts

    stages = {stage["name"]: stage["metrics"] for stage in done["stages"]}
    before, after = stages["before"], stages["after"]
    table = Table("held-out answers", "before", "after", box=None)
    for key in before:
        title = key.removeprefix("val_").replace("_", " ")
        table.add_row(title, cell(before[key]), cell(after.get(key)))
    return Group(facts({"model": done["model"], "report": done["report"]}), table)
