"""`langwright bench`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from langwright.cli.options import DeviceName, DtypeName, Json

if TYPE_CHECKING:
    from rich.console import Group


def bench(
    models: Annotated[
        list[str], typer.Argument(metavar="MODEL…", help="Models, named as everywhere.")
    ],
    backend: Annotated[
        list[str] | None,
        typer.Option("--backend", help="own (default), llama.cpp or transformers; again for each."),
    ] = None,
    concurrency: Annotated[
        str, typer.Option(metavar="N,N…", help="How many requests at once.")
    ] = "1,2,4,8,16",
    prompt_tokens: Annotated[int, typer.Option(min=1, help="Length of each prompt.")] = 512,
    tokens: Annotated[int, typer.Option(min=1, help="Length of each answer.")] = 128,
    rounds: Annotated[int, typer.Option(min=1, help="How often all is measured.")] = 3,
    dtype: DtypeName = "float32",
    device: DeviceName = "cpu",
    as_json: Json = False,
) -> None:
    """Measure how fast models answer, and what memory they take, side by side."""
    from langwright.cli.faults import WrongUsage

    try:
        numbers = [int(one) for one in concurrency.split(",")]
    except ValueError:
        raise WrongUsage(
            f"--concurrency is '{concurrency}'.", remedy="Give numbers, such as 1,4,16."
        ) from None

    import langwright as lw
    from langwright.cli.output import answer

    found = lw.bench(
        models,
        backend=backend or ["own"],
        concurrency=numbers,
        prompt_tokens=prompt_tokens,
        tokens=tokens,
        dtype=dtype,
        device=device,
        rounds=rounds,
    )
    answer(found, as_json, _tables)


def _tables(found: dict[str, Any]) -> Group:
    from rich.console import Group
    from rich.table import Table

    from langwright.cli.output import size, visible

    one = Table(
        "model", "back end", "load", "first token", "shared prefix", "between tokens", "p95",
        "prefill", "memory", box=None,
    )  # fmt: skip
    many = Table("model", "back end", box=None)
    for number in found["settings"]["concurrency"]:
        many.add_column(f"{number} at once", justify="right")
    faults = []
    for row in found["results"]:
        shown = row["model"] if len(row["model"]) <= 40 else "…" + row["model"][-39:]
        names = (visible(shown), row["backend"])
        if "error" in row:
            faults.append(f"{names[0]} in {names[1]}: {row['error']['message']}")
            continue
        memory = row["peak_memory_bytes"]
        one.add_row(
            *names,
            _shown(row["load_s"], "s"),
            _shown(row["first_token_s"], "ms"),
            _shown(row["first_token_shared_prefix_s"], "ms"),
            _shown(row["inter_token_s"], "ms"),
            _shown(row["inter_token_p95_s"], "ms"),
            _shown(row["prefill_tokens_per_s"], "tok/s"),
            size(memory["median"]) if memory else "-",
        )
        many.add_row(*names, *(_rate(part) for part in row["concurrent"]))
    machine = found["machine"]
    versions = ", ".join(f"{name} {one}" for name, one in machine["versions"].items() if one)
    notes = [f"{machine['cpu']}, {machine['cores']} cores; {versions}", *faults]
    return Group(one, "\ntokens a second while all are answered", many, "", *notes)


def _shown(spread: dict[str, float] | None, unit: str) -> str:
    if spread is None:
        return "-"
    scale = 1000 if unit == "ms" else 1
    low, middle, high = (scale * spread[key] for key in ("min", "median", "max"))
    digits = 2 if middle < 10 else 0
    around = "" if low == high else f" ({low:,.{digits}f}-{high:,.{digits}f})"
    return f"{middle:,.{digits}f} {unit}{around}"


def _rate(part: dict[str, Any]) -> str:
    spread, ratio = part["decode_tokens_per_s"], part["against_own"]
    if spread is None:
        return "-"
    return f"{spread['median']:,.1f}" + ("" if ratio in (None, 1.0) else f" ({ratio:.2f}x own)")
