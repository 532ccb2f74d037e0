"""The verb `show-batch`: the tokens of one step, rebuilt without training, and their page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Any

from langwright.errors import BadInput, BadSettings
from langwright.store import Store, write_atomic
from langwright.tokens import END_OF_TEXT
from langwright.training.guard import skipped_windows, window_of
from langwright.training.rebuilt import Rebuilt, rebuild
from langwright.training.stages.sft import SFT, SFTSettings
from langwright.training.views.xray import Problem, XrayRow, problems, xray

MOST_NAMED = 5
"""So many problems are named in one message; programs get all."""


class BadBatch(BadInput):
    """A batch that would teach something else than is meant; `batch` is what `show_batch` found,
    `problems` what is wrong: {"kind", "row", "micro_batch", "problem", "remedy"}."""

    type = "bad_batch"

    def __init__(self, batch: dict[str, Any], found: Sequence[Problem]) -> None:
        named = [f"row {one.row}: {one.problem}" for one in found[:MOST_NAMED]]
        more = len(found) - len(named)
        super().__init__(
            f"Step {batch['step']} of '{batch['run']}' has rows that teach something else than is "
            f"meant; {'; '.join(named)}{f'; and {more} more' if more else ''}.",
            remedy=" ".join(dict.fromkeys(one.remedy for one in found)),
        )
        self.batch = batch
        self.problems = [asdict(one) for one in found]

    def to_json(self) -> dict[str, Any]:
        return {"error": {**super().to_json()["error"], "problems": self.problems}}


def show_batch(
    run: str, *, step: int = 1, html: Path | str | None = None, store: Store | None = None
) -> dict[str, Any]:
    """Every token of a step's micro-batches, from the run's settings and parents; nothing is
    trained and no weight is read.

    `step` counts as the run's metrics do, from 1. With `html` it is also written as one page that
    needs no network. Returns {"run", "stage", "step", "steps", "counts", "rows"}: `counts` of
    trained, masked, padded and cut tokens (a cut one is also trained or masked), rows with their
    "tokens": {"id", "text", "state", "trained", "document"}.

    Raises `BadBatch`, after the page is written, for a row in which nothing is trained, an answer
    whose end is not trained and a doubled start token; `NotFound`, `Unsupported` as `rebuild`.
    """
    store = store or Store()
    held = store.run(run)
    rebuilt = rebuild(held, store)
    steps = rebuilt.settings.steps
    if not 1 <= step <= steps:
        raise BadSettings(
            f"The run '{run}' has no step {step}.", remedy=f"Give one from 1 to {steps}."
        )
    rows = xray_of(rebuilt, window_of(step - 1, skipped_windows(held)))
    found = list(problems(rows, rebuilt.text, isinstance(rebuilt.stage, SFT)))
    states = Counter(token.state for row in rows for token in row.tokens)
    trained = Counter(token.trained for row in rows for token in row.tokens)
    cut, padded = states["cut"], states["padded"]
    batch = {
        "run": run,
        "stage": rebuilt.stage.name,
        "step": step,
        "steps": steps,
        "counts": {
            "trained": trained[True],
            "masked": trained[False] - padded,
            "padded": padded,
            "cut": cut,
        },
        "rows": [
            {
                "row": row.row,
                "micro_batch": row.micro_batch,
                "trained": row.trained,
                "tokens": [asdict(token) for token in row.tokens],
            }
            for row in rows
        ],
    }
    if html is not None:
        write_atomic(Path(html).expanduser(), batch_page(batch, rows, found))
    if found:
        raise BadBatch(batch, found)
    return batch


def xray_of(rebuilt: Rebuilt, window: int) -> list[XrayRow]:
    """The rows of a window of the data, which counts from 0."""
    tokenizer = rebuilt.text.tokenizer
    settings, batches = rebuilt.settings, rebuilt.stage.micro_batches(window)
    if not isinstance(settings, SFTSettings):
        return xray(batches, tokenizer, tokenizer.special[END_OF_TEXT])
    cut_at = settings.context_length if settings.too_long == "cut" else None
    return xray(batches, tokenizer, None, cut_at)


def batch_page(batch: dict[str, Any], rows: Sequence[XrayRow], found: Sequence[Problem]) -> str:
    """The batch as one HTML page that asks for nothing from outside."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["visible"] = visible
    source = files("langwright.training.views").joinpath("batch.html.jinja").read_text("utf-8")
    wrong: dict[int, list[Problem]] = {}
    for one in found:
        wrong.setdefault(one.row, []).append(one)
    return environment.from_string(source).render(batch=batch, rows=rows, wrong=wrong)


def visible(text: str) -> str:
    """A token's text with its line ends marked and other control characters spelt out, so that
    none can turn the line around."""
    marked = text.replace("\n", "⏎\n")
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in marked)
