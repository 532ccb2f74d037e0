"""`langwright generate`."""

from __future__ import annotations

from typing import Annotated

import typer

from langwright.cli.options import (
    DtypeName,
    File,
    Json,
    MaxTokens,
    ModelName,
    Seed,
    Stop,
    Temperature,
    TopK,
    TopP,
)


def generate(
    model: ModelName,
    prompt: Annotated[
        str | None, typer.Argument(metavar="PROMPT", help="Raw text; no chat template.")
    ] = None,
    file: File = None,
    max_tokens: MaxTokens = 256,
    temperature: Temperature = 0.7,
    top_k: TopK = 0,
    top_p: TopP = 1.0,
    seed: Seed = None,
    stop: Stop = None,
    dtype: DtypeName = "float32",
    as_json: Json = False,
) -> None:
    """Continue a text."""
    from langwright.cli.given import given_text

    text = given_text(prompt, file)

    import langwright as lw
    from langwright.cli.answering import print_events
    from langwright.cli.output import put_json
    from langwright.providers import Options

    options = Options(
        max_tokens=max_tokens,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        seed=seed,
        stop=stop or (),
    )
    opened = lw.load(model, dtype=dtype)
    if as_json:
        put_json(lw.generate(opened, text, **options))
    else:
        print_events(opened.stream(text, **options))
