"""`langwright watch`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from langwright.cli.options import Json

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

_COLOURS = ("cyan", "yellow", "green", "magenta", "blue", "red")
_HEIGHT, _WIDTH = 14, 72


def watch(
    runs: Annotated[list[str], typer.Argument(metavar="RUN…", help="Runs from `langwright list`.")],
    once: Annotated[bool, typer.Option("--once", help="Show how it is now, and end.")] = False,
    to: Annotated[
        list[str] | None,
        typer.Option(
            "--to",
            metavar="KIND:PLACE",
            help="Send all metrics to tensorboard:DIR, trackio:PROJECT or wandb:PROJECT, too; "
            "may be repeated.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show how runs are going: loss, speed, memory, incidents, samples, time left.

    It reads their metrics alone, refreshes every second, and ends with the runs or with Ctrl-C.
    """
    import langwright as lw
    from langwright.cli.output import answer, console

    if once or as_json or not sys.stdout.isatty():
        answer(lw.watch(*runs, to=to or (), follow=not (once or as_json)), as_json, _shown)
        return
    from rich.live import Live

    with Live(console=console(), auto_refresh=False) as live:
        lw.watch(
            *runs,
            to=to or (),
            follow=True,
            look=lambda frame: live.update(_shown(frame), refresh=True),
        )


def _shown(frame: dict[str, Any]) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    from langwright.cli.output import visible

    runs = frame["runs"]
    parts: list[RenderableType] = [*_plot(runs), _table(runs)]
    for run in runs:
        name = f"{run['run']} " if len(runs) > 1 else ""
        for line in run["incidents"]:
            said = f"{name}incident at step {line['step']}: {_said(line['incident'])}"
            parts.append(Text(visible(said), "red"))
        for line in run["samples"]:
            parts.append(f"{name}step {line['step']}: {visible(_said(line['sample']))}")
    for sent in frame["exported"]:
        parts.append(f"{sent['lines']:,} lines of {sent['run']} to {', '.join(sent['to'])}")
    return Group(*parts)


def _plot(runs: list[dict[str, Any]]) -> list[Text]:
    """The loss of each run; of a single one that on what was held out, too."""
    from rich.text import Text

    from langwright.training.views.plot import MARKS, plot

    alone = len(runs) == 1
    names = ["loss", "val_loss"] if alone else [run["run"] for run in runs]
    curves = [runs[0]["curve"], runs[0]["val_curve"]] if alone else [run["curve"] for run in runs]
    drawn = plot(curves, _WIDTH, _HEIGHT)
    if drawn is None:
        return [Text("No step yet.")]
    lines = []
    for number, row in enumerate(drawn.rows):
        label = {0: f"{drawn.high:8.3f} ", _HEIGHT - 1: f"{drawn.low:8.3f} "}.get(number, " " * 9)
        line = Text(label + "│")
        for mark, curve in row:
            line.append(mark, None if curve is None else _COLOURS[curve % len(_COLOURS)])
        lines.append(line)
    first, last = f"{drawn.first:,.0f}", f"{drawn.last:,.0f}"
    lines.append(Text(" " * 9 + "└" + "─" * _WIDTH))
    lines.append(Text(" " * 10 + first + " " * max(1, _WIDTH - len(first) - len(last)) + last))
    legend = Text(" " * 10)
    for index, name in enumerate(names):
        legend.append(f"{MARKS[index % len(MARKS)]} {name}  ", _COLOURS[index % len(_COLOURS)])
    return [*lines, legend]


def _table(runs: list[dict[str, Any]]) -> Table:
    """A column for each run, as there are more figures than fit into a line."""
    from rich.table import Table

    from langwright.cli.output import cell, size

    def figure(key: str, value: Any) -> str:
        if value is None:
            return "-"
        if key == "memory_bytes":
            return size(value)
        if key == "seconds_left":
            return _duration(value)
        if key == "mfu":
            return f"{value:.1%}"
        return f"{value:,.0f}" if key == "tokens_per_second" else cell(value)

    table = Table("", *(run["run"] for run in runs), box=None)
    table.add_row("status", *(run["status"] for run in runs))
    table.add_row("step", *(f"{run['step']:,} of {cell(run['steps'])}" for run in runs))
    for key in (
        "loss", "bits_per_byte", "val_loss", "val_bits_per_byte", "gradient_norm", "learning_rate",
        "tokens", "tokens_per_second", "memory_bytes", "mfu", "seconds_left",
    ):  # fmt: skip
        values = [run[key] for run in runs]
        if any(value is not None for value in values):
            name = key.replace("_bytes", "").replace("seconds_left", "time left").replace("_", " ")
            table.add_row(name, *(figure(key, value) for value in values))
    return table


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _said(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {one}" for key, one in value.items() if one is not None)
    return str(value)
