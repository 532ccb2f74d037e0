"""`langwright plan`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from langwright.cli.options import Json

if TYPE_CHECKING:
    from rich.console import RenderableType


def plan(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RECIPE] [KEY=VALUE]",
            help="A recipe to forecast; settings that are to stay as given.",
        ),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option("--budget", help="What it may cost: 10min, 2h, 50usd, 1e18flops."),
    ] = None,
    device: Annotated[
        str, typer.Option("--device", help="cpu or cuda (this machine), or h100, h100x8 …")
    ] = "cpu",
    name: Annotated[str, typer.Option("--name", help="The rehearsal is NAME-rehearsal.")] = "plan",
    to: Annotated[
        str | None, typer.Option("--to", metavar="FILE", help="Write the recipe to this file.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Write over a file that is there.")
    ] = False,
    usd_per_hour: Annotated[
        float | None, typer.Option("--usd-per-hour", min=0, help="What one device costs.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Choose a model for a budget, or take a recipe's, and say what it will cost and give."""
    import langwright as lw
    from langwright.cli.given import given_settings
    from langwright.cli.output import answer

    words = list(words or [])
    recipe = words.pop(0) if words and "=" not in words[0] else None
    found = lw.plan(
        recipe,
        budget=budget,
        device=device,
        name=name,
        to=to,
        force=force,
        usd_per_hour=usd_per_hour,
        **given_settings(words),
    )
    answer(found, as_json, _shown)


def _shown(found: dict[str, Any]) -> RenderableType:
    from rich.console import Group
    from rich.table import Table

    from langwright.cli.output import cell, facts, size
    from langwright.lifecycle.report import duration

    parts: list[RenderableType] = []
    if found["considered"]:
        table = Table("layers", "width", "parameters", "tokens/s", "tokens", "bits/byte", box=None)
        for one in found["considered"]:
            rounded = [*one.values()]
            rounded[3] = rounded[3] and round(rounded[3])
            table.add_row(*map(cell, rounded))
        parts += [table, ""]
    forecast = found["forecast"]
    memory = {key: size(value) for key, value in forecast["memory"].items()}
    told = {
        key: found["recipe"][key]
        for key in ("num_layers", "hidden_size", "vocab_size", "context_length", "corpus")
        if key in found["recipe"]
    }
    rates = ("tokens_per_step", "steps", "learning_rate")
    told |= {key: found["recipe"][key] for key in rates}
    told |= {
        "parameters": forecast["parameters"],
        "memory": {**memory, "peak": size(forecast["peak_memory_bytes"])},
        "tokens": forecast["tokens"],
        "tokens per second": round(forecast["tokens_per_second"]),
        "time": duration(forecast["seconds"]),
        "preparing": duration(forecast["preparation_seconds"]),
        "cost": "-" if forecast["usd"] is None else f"{forecast['usd']:,.2f} US dollars",
        "bits per byte": forecast["val_bits_per_byte"],
    }
    parts.append(facts(told))
    if not forecast["fits"]:
        parts.append("It does not fit into the memory of the device.")
    if forecast["beyond_the_law"]:
        parts.append("So large a run lies beyond those that the law of the loss was fitted to.")
    if found["path"] is not None:
        parts.append(f"Train it:  langwright pretrain {found['path']}")
    return Group(*parts)
