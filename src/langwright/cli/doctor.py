"""`langwright doctor`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langwright.cli.options import Json, RunName

if TYPE_CHECKING:
    from rich.console import RenderableType


def doctor(run: RunName, as_json: Json = False) -> None:
    """Name what is likely wrong with a run, with the figures that say so and what to do.

    It looks at metrics, settings and batches, and changes nothing.
    """
    import langwright as lw
    from langwright.cli.output import answer

    answer(lw.doctor(run), as_json, _shown)


def _shown(found: dict[str, Any]) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    from langwright.cli.output import facts

    head = f"{found['run']} ({found['status']}), step {found['step']} of {found['steps']}: "
    parts: list[RenderableType] = [head + (_number(found["findings"]) or "nothing found.")]
    for one in found["findings"]:
        style = "bold red" if one["severity"] == "error" else "bold yellow"
        title = Text(f"{one['severity']}: {one['cause'].replace('_', ' ')}", style)
        parts += ["", title, facts(one["evidence"]), one["remedy"]]
    return Group(*parts)


def _number(findings: list[dict[str, Any]]) -> str:
    count = len(findings)
    return f"{count} {'finding' if count == 1 else 'findings'}." if count else ""
