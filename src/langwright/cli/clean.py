"""`langwright clean`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from langwright.cli.options import Json

if TYPE_CHECKING:
    from rich.console import RenderableType


def clean(
    sources: Annotated[
        list[str], typer.Argument(metavar="SOURCE…", help="Corpora, files or folders.")
    ],
    name: Annotated[str, typer.Option("--name", help="Name of the clean corpus.")],
    steps: Annotated[
        str | None,
        typer.Option("--steps", help="Comma-separated, in their order; default: all."),
    ] = None,
    languages: Annotated[
        list[str] | None,
        typer.Option(
            "--language", metavar="CODE", help="Keep this language (en, de, …); may be repeated."
        ),
    ] = None,
    quality: Annotated[
        str | None,
        typer.Option(
            "--quality",
            metavar="NAME[@T]",
            help="Drop what this classifier of quality gives less than T; default 0.5.",
        ),
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(
            "--against", metavar="FILE", help="Drop text of this evaluation set; may be repeated."
        ),
    ] = None,
    engine: Annotated[str, typer.Option("--engine", help="local, or ray.")] = "local",
    processes: Annotated[
        int | None, typer.Option("--processes", help="Default: one for each core.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Clean a pile of text: rules, duplicates, personal data; and say what each step took."""
    import langwright as lw
    from langwright.cli.output import answer
    from langwright.errors import BadSettings

    if engine not in ("local", "ray"):
        raise BadSettings(f"There is no engine '{engine}'.", remedy="There are local and ray.")
    found = lw.clean(
        sources,
        name,
        steps=[step.strip() for step in steps.split(",")] if steps is not None else None,
        languages=languages or (),
        quality=quality,
        against=against or (),
        engine="ray" if engine == "ray" else "local",
        processes=processes,
    )
    answer(found, as_json, _funnel)


def _funnel(found: dict[str, Any]) -> RenderableType:
    from rich.console import Group
    from rich.table import Table

    from langwright.cli.output import facts, size, visible

    table = Table("step", "documents", "taken", "bytes", "changed", box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    examples = Table("rule", "documents", "source", "why", "begins with", box=None)
    for column in examples.columns:
        column.overflow = "ellipsis"
        column.no_wrap = True
    for step in found["funnel"]:
        taken = step["documents_in"] - step["documents_out"]
        changed = f"{step['changed']:,}" if step["changed"] else ""
        kept = f"{step['documents_out']:,}"
        table.add_row(step["name"], kept, f"-{taken:,}", size(step["bytes_out"]), changed)
        for rule in step["rules"]:
            for number, one in enumerate(rule["examples"]):
                head = (rule["rule"], f"{rule['documents']:,}") if number == 0 else ("", "")
                shown = (one["source"], one["detail"], one["excerpt"])
                examples.add_row(*head, *map(visible, shown))
    first = {"corpus": found["corpus"], "report": found["report"]}
    counted = {key: found[key] for key in ("documents_in", "documents", "bytes_in", "bytes")}
    return Group(facts({**first, **counted}), "", table, "", examples)
