"""`langwright forget`."""

from __future__ import annotations

from typing import Annotated

import typer

from langwright.cli.options import Json, Name, RunName


def forget(
    run: RunName,
    document: Annotated[
        str,
        typer.Argument(
            metavar="DOCUMENT", help="A document's digest (or its first digits), source or title."
        ),
    ],
    name: Name = None,
    as_json: Json = False,
) -> None:
    """Train a run again without a document, from the last checkpoint before it was seen.

    The weights are those of a run that never saw it, bit for bit. The same command continues an
    unfinished replay.
    """
    import langwright as lw
    from langwright.cli.output import answer, facts

    answer(lw.forget(run, document, name=name), as_json, facts)
