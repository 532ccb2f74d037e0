"""Results on standard output: a JSON object for programs, something to look at for people."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from langwright.progress import leads

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

Result = Mapping[str, Any]


def answer(result: Result, as_json: bool, look: Callable[[Any], RenderableType]) -> None:
    """Print `result`: as JSON, or as `look` shows it."""
    if not leads():  # one of several processes is enough
        return
    if as_json:
        put_json(result)
    else:
        console().print(look(result))


def put_json(result: Result) -> None:
    print(json.dumps(result, allow_nan=False))


def console() -> Console:
    """Standard output. Where nobody looks, lines are as long as they need to be."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else 500
    return Console(highlight=False, markup=False, emoji=False, width=width)


def facts(values: Mapping[str, Any]) -> Table:
    """A table of two columns. Tables within it are spelt `outer.inner`; lists one item a line."""
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for key, value in _flat(values, ""):
        table.add_row(key, cell(value))
    return table


def cell(value: Any) -> str:
    """One value in a table."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.4f}" if 1e-3 <= abs(value) < 1e9 else f"{value:.4g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, list):
        return "\n".join(map(cell, value)) or "-"
    return visible(str(value))


def size(count: int) -> str:
    """Bytes for people: 92.9 MB."""
    amount, units = float(count), ["B", "kB", "MB", "GB", "TB"]
    while amount >= 1000 and len(units) > 1:
        amount, units = amount / 1000, units[1:]
    return f"{count} B" if units[0] == "B" else f"{amount:.1f} {units[0]}"


def visible(text: str) -> str:
    """`text` with its control characters spelt out: they could take over the terminal."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def write(text: str) -> None:
    """A piece of an answer, at once; on a terminal with no control characters but line ends."""
    if sys.stdout.isatty():
        text = "".join(c if c in "\n\t" else visible(c) for c in text)
    print(text, end="", flush=True)


def note(text: str) -> None:
    """One line to the person, on standard error."""
    print(text, file=sys.stderr, flush=True)


def _flat(values: Mapping[str, Any], prefix: str) -> Iterable[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, None if value == {} else value
