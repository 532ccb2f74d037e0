"""`langwright list`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from langwright.cli.options import Json

if TYPE_CHECKING:
    from rich.console import RenderableType


def list_(
    kind: Annotated[
        str | None, typer.Option("--kind", help="Only these: model, corpus, tokenizer, run …")
    ] = None,
    as_json: Json = False,
) -> None:
    """List every artifact and run on this machine."""
    import langwright as lw
    from langwright.cli.output import answer

    answer(lw.artifacts(kind), as_json, artifact_table)


def artifact_table(found: dict[str, Any]) -> RenderableType:
    """Artifacts, one a row, then runs."""
    from rich.table import Table

    from langwright.cli.output import cell, size

    artifacts, runs = found.get("artifacts", []), found.get("runs", [])
    if not artifacts and not runs:
        return "Nothing yet. `langwright pull smollm2-135m-instruct` brings a small chat model."
    table = Table("name", "kind", "size", "licence", "created", "digest", box=None)
    for column in table.columns:
        column.overflow = "fold"
    for one in artifacts:
        bytes_ = "removed" if one["dropped"] else size(one["bytes"])
        made, digest = one["created"][:16].replace("T", " "), one["digest"][:12]
        table.add_row(one["name"], one["kind"], bytes_, cell(one["licence"]), made, digest)
    for run in runs:
        table.add_row(run["name"], f"run ({run['status']})", "-", "-", "-", "-")
    return table
