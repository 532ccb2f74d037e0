"""`langwright bisect`."""

from __future__ import annotations

from typing import Annotated

import typer

from langwright.cli.options import Json, RunName


def bisect(
    run: RunName,
    prompt: Annotated[str, typer.Option("--prompt", help="What the model is given.")],
    expect: Annotated[str, typer.Option("--expect", help="What it goes on with.")],
    threshold: Annotated[
        float,
        typer.Option("--threshold", help="The model does so from this probability a token on."),
    ] = 0.5,
    most: Annotated[
        int, typer.Option("--most", min=1, help="So many documents may be the cause together.")
    ] = 8,
    as_json: Json = False,
) -> None:
    """Find the step, the batch and the documents that brought a behaviour.

    Confirmed by training the run again without them; exit code 1 where nothing was.
    """
    import langwright as lw
    from langwright.cli.output import answer, facts

    found = lw.bisect(run, prompt=prompt, expect=expect, threshold=threshold, most=most)
    answer(found, as_json, lambda told: facts(_flat(told)))
    if not found["confirmed"]:
        raise typer.Exit(1)


def _flat(found: dict[str, object]) -> dict[str, object]:
    """With a line for each document."""
    lists = {
        key: [f"{one['influence']:.3g}  {one['source']}  {one['text']}" for one in value]
        for key, value in found.items()
        if isinstance(value, list)
    }
    return found | lists
