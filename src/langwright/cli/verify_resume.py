"""`langwright verify-resume`."""

from __future__ import annotations

from typing import Annotated

import typer

from langwright.cli.options import Json


def verify_resume(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run with two checkpoints.")],
    as_json: Json = False,
) -> None:
    """Train a run's last stretch again and compare the checkpoints, bit by bit."""
    import langwright as lw
    from langwright.cli.output import answer, facts

    found = lw.verify_resume(run)
    answer(found, as_json, facts)
    if not found["equal"]:
        raise typer.Exit(1)
