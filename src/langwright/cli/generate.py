"""`langwright generate`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from langwright.cli.options import Backend, DeviceName, DtypeName, File, Json, ModelName
from langwright.cli.sampling import with_sampling

if TYPE_CHECKING:
    from langwright.providers import Options


@with_sampling
def generate(
    model: ModelName,
    prompt: Annotated[
        str | None, typer.Argument(metavar="PROMPT", help="Raw text; no chat template.")
    ] = None,
    file: File = None,
    dtype: DtypeName = "float32",
    backend: Backend = "own",
    device: DeviceName = "cpu",
    as_json: Json = False,
    *,
    options: Options,
) -> None:
    """Continue a text."""
    from langwright.cli.given import given_text

    text = given_text(prompt, file)

    import langwright as lw
    from langwright.cli.answering import print_events
    from langwright.cli.output import put_json

    opened = lw.load(model, dtype=dtype, backend=backend, device=device)
    if as_json:
        put_json(lw.generate(opened, text, **options))
    else:
        print_events(opened.stream(text, **options))
