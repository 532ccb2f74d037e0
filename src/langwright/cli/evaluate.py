"""`langwright evaluate`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from langwright.cli.options import Backend, DeviceName, DtypeName, Json, ModelName

if TYPE_CHECKING:
    from rich.console import RenderableType


def evaluate(
    model: ModelName,
    task: Annotated[
        list[str],
        typer.Option(
            "--task",
            metavar="NAME|FILE",
            help="A built-in task, a task in TOML, or JSON lines of your own; may be repeated.",
        ),
    ],
    compare: Annotated[
        list[str] | None,
        typer.Option(
            "--compare", metavar="MODEL", help="Measure this one too, with a paired test."
        ),
    ] = None,
    judge: Annotated[
        str | None,
        typer.Option("--judge", metavar="MODEL", help="Who compares two answers (preference)."),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option("--data", metavar="PATH", help="The task's rows, or the folder they lie in."),
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", help="Only the first N rows.")] = None,
    num_fewshot: Annotated[
        int | None, typer.Option("--num-fewshot", help="Examples before each prompt.")
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option("--max-tokens", help="Longest answer, in tokens.")
    ] = None,
    temperature: Annotated[
        float | None, typer.Option("--temperature", help="0 takes the likeliest token.")
    ] = None,
    samples: Annotated[
        int | None, typer.Option("--samples", help="Answers to each prompt; the commonest counts.")
    ] = None,
    chain_of_thought: Annotated[
        str | None,
        typer.Option(
            "--chain-of-thought", metavar="TEXT", help="Put behind the prompt to let it reason."
        ),
    ] = None,
    chat: Annotated[
        bool | None, typer.Option("--chat/--raw", help="Through the chat template, or raw text.")
    ] = None,
    window: Annotated[
        int | None, typer.Option("--window", min=2, help="Tokens read at once (perplexity).")
    ] = None,
    stride: Annotated[
        int | None, typer.Option("--stride", min=1, help="Tokens between windows (perplexity).")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of examples, sampling and intervals.")] = 0,
    log_samples: Annotated[
        str | None,
        typer.Option("--log-samples", metavar="FILE", help="Every prompt, answer and verdict."),
    ] = None,
    dtype: DtypeName = "float32",
    backend: Backend = "own",
    device: DeviceName = "cpu",
    as_json: Json = False,
) -> None:
    """Measure models on tasks: each figure with its interval and the baseline it must beat."""
    import langwright as lw
    from langwright.cli.output import answer

    found = lw.evaluate(
        model,
        task,
        compare=compare or (),
        judge=judge,
        data=data,
        limit=limit,
        seed=seed,
        log_samples=log_samples,
        dtype=dtype,
        backend=backend,
        device=device,
        num_fewshot=num_fewshot,
        max_tokens=max_tokens,
        temperature=temperature,
        samples=samples,
        chain_of_thought=chain_of_thought,
        chat=chat,
        window=window,
        stride=stride,
    )
    answer(found, as_json, _tables)


def _tables(found: dict[str, Any]) -> RenderableType:
    from rich.console import Group
    from rich.table import Table

    columns = ("model", "task", "metric", "value", "± stderr", "95% interval", "n", "shots")
    table = Table(*columns, "baseline", "", box=None)
    for one in found["results"]:
        notes = [f"{one['n']} of {one['of']}"] if one["limit"] else []
        for key in ("window", "stride", "judge", "ties", "unclear_verdicts", "samples"):
            notes += [f"{key.replace('_', ' ')} {one[key]}"] if key in one else []
        for key in ("cut_answers", "empty_answers", "not_extracted"):
            notes += [f"{key.replace('_', ' ')} {one[key]}"] if one.get(key) else []
        beaten = "-" if one["baseline"] is None else f"{_figure(one['baseline'])}"
        table.add_row(
            one["model"],
            one["task"],
            one["metric"] + ("" if one["filter"] == "none" else f" ({one['filter']})"),
            _figure(one["value"]),
            _figure(one["stderr"]),
            _interval(one["interval"]),
            str(one["n"]),
            str(one["num_fewshot"]),
            beaten + (f" ({one['baseline_name']})" if one["baseline_name"] else ""),
            ", ".join(notes),
        )
    parts: list[RenderableType] = [table]
    if found.get("comparisons"):
        columns = ("task", "metric", "first", "second", "difference", "95% interval", "p", "test")
        paired = Table(*columns, box=None)
        for one in found["comparisons"]:
            first, second = (
                f"{name} {_figure(value)}"
                for name, value in zip(one["models"], one["values"], strict=True)
            )
            paired.add_row(
                one["task"],
                one["metric"] + ("" if one["filter"] == "none" else f" ({one['filter']})"),
                first,
                second,
                f"{one['difference']:+.4f}",
                _interval(one["interval"]),
                f"{one['p']:.3g}",
                one["test"],
            )
        parts += ["", paired]
    return Group(*parts)


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}" if abs(value) < 1e6 else f"{value:.4g}"


def _interval(bounds: list[float] | None) -> str:
    return "-" if bounds is None else f"{_figure(bounds[0])} to {_figure(bounds[1])}"
