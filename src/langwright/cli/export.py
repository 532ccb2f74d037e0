"""`langwright export`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from langwright.cli.options import Json, ModelName

if TYPE_CHECKING:
    from rich.console import RenderableType

    from langwright.lifecycle.export.export import To


def export(
    model: ModelName,
    path: Annotated[
        str, typer.Argument(metavar="PATH", help="A new folder, or a .gguf or .html file.")
    ],
    to: Annotated[
        str,
        typer.Option(
            "--to", metavar="hf|gguf|html", help="A Hugging Face folder, GGUF, or an offline page."
        ),
    ],
    dtype: Annotated[
        str,
        typer.Option(
            "--dtype",
            help="f32, f16, bf16; for GGUF also q8_0, q5_1, q5_0, q4_1, q4_0; for a page f32, f16,"
            " q8_0.",
        ),
    ] = "f32",
    unproved: Annotated[
        bool, typer.Option("--unproved", help="Write without proof; the files say so.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write a model for other programs, and prove that they read it as we do."""
    import langwright as lw
    from langwright.cli.faults import WrongUsage
    from langwright.cli.output import answer

    if to not in ("hf", "gguf", "html"):
        raise WrongUsage(
            f"There is no export to '{to}'.", remedy="Give --to hf, --to gguf or --to html."
        )
    answer(lw.export(model, cast("To", to), path, dtype=dtype, unproved=unproved), as_json, _proofs)


def _proofs(found: dict[str, Any]) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    from langwright.cli.output import facts

    files = Text("\n".join(found["files"]))
    return Group(files, *(facts(proof) for proof in found["proofs"]))
