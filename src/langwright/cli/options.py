"""The options that several verbs share."""

from __future__ import annotations

from typing import Annotated

import typer

from langwright.backend import BackendName, Device, Dtype

ModelName = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A name in the store, a run, a checkpoint (run@step), a folder or a GGUF file; "
        "with an adapter: MODEL+ADAPTER.",
    ),
]
RunName = Annotated[str, typer.Argument(metavar="RUN", help="A run from `langwright list`.")]
Text = Annotated[str | None, typer.Argument(metavar="TEXT", help="The text itself.")]
File = Annotated[
    str | None, typer.Option("--file", help="Read the text from this UTF-8 file; '-' is stdin.")
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")]
Name = Annotated[str | None, typer.Option("--name", help="Name of the run and of its model.")]
Words = Annotated[
    list[str] | None,
    typer.Argument(metavar="KEY=VALUE", help="Settings that change the recipe's."),
]

Backend = Annotated[
    BackendName,
    typer.Option(
        "--backend",
        help="What computes: the own engine, llama.cpp (GGUF files) or transformers (folders).",
    ),
]

DtypeName = Annotated[
    Dtype,
    typer.Option(
        "--dtype", help="How weights are held: fewer bits take less memory; auto: as stored."
    ),
]

DeviceName = Annotated[
    Device,
    typer.Option("--device", help="Where the own engine computes; auto: a GPU where there is one."),
]
