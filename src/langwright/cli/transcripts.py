"""`langwright transcripts`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from langwright.cli.options import Json, RunName

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text


def transcripts(
    run: RunName,
    set_aside: Annotated[
        bool, typer.Option("--set-aside", help="Only those without a revision that can be used.")
    ] = False,
    limit: Annotated[int | None, typer.Option("--limit", help="Only the first N.")] = None,
    as_json: Json = False,
) -> None:
    """Show what a run of `constitution` was written from: answers, critiques, revisions."""
    import langwright as lw
    from langwright.cli.output import answer

    answer(lw.transcripts(run, set_aside=set_aside, limit=limit), as_json, _shown)


def _shown(found: dict[str, Any]) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    told = found["counts"]
    faults = ", ".join(f"{count} {fault}" for fault, count in told["faults"].items() if count)
    head = (
        f"{found['run']}: {told['revised']} of {told['prompts']} answers revised, "
        f"{told['set_aside']} set aside. Rounds: {told['rounds']}"
        + (f", of which not used: {faults}." if faults else ", all used.")
    )
    parts: list[RenderableType] = [head]
    for one in found["transcripts"]:
        aside = "" if one["revised"] is not None else " (set aside)"
        parts += ["", Text(f"{one['number']}. {one['prompt']}{aside}", "bold")]
        parts.append(_said("answer", one["answer"]))
        for turn in one["rounds"]:
            parts.append(_said(f"critique ({turn['principle']})", turn["critique"]))
            unused = f" [not used: {turn['fault']}]" if turn["fault"] else ""
            if turn["revision"]:
                parts.append(_said(f"revision{unused}", turn["revision"]))
            elif unused:
                parts.append(Text(f"  revision{unused}", "cyan"))
    return Group(*parts)


def _said(who: str, written: dict[str, Any]) -> Text:
    from rich.text import Text

    from langwright.cli.output import visible

    text = visible(" ".join(written["text"].split())) + (" …" if written["cut"] else "")
    return Text.assemble(("  " + who + ": ", "cyan"), text)
