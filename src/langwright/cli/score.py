"""`langwright score`."""

from __future__ import annotations

from typing import Annotated

import typer

from langwright.cli.options import Backend, DeviceName, DtypeName, File, Json, ModelName, Text


def score(
    model: ModelName,
    text: Text = None,
    file: File = None,
    window: Annotated[
        int | None, typer.Option("--window", min=2, help="Tokens read at once; default: all.")
    ] = None,
    stride: Annotated[
        int | None,
        typer.Option("--stride", min=1, help="Tokens between windows; default: half a window."),
    ] = None,
    dtype: DtypeName = "float32",
    backend: Backend = "own",
    device: DeviceName = "cpu",
    as_json: Json = False,
) -> None:
    """Measure how well a model foresees a text: bits per byte, perplexity."""
    from langwright.cli.given import given_text

    given = given_text(text, file)

    import langwright as lw
    from langwright.cli.output import answer, facts

    opened = lw.load(model, dtype=dtype, backend=backend, device=device)
    answer(lw.score(opened, given, window=window, stride=stride), as_json, facts)
