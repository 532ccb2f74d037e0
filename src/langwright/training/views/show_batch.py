"""The verb `show-batch`: the tokens of one step, rebuilt without training, and their page."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from langwright.errors import BadInput, BadSettings, Unsupported
from langwright.model import load_text
from langwright.model.text_parts import TextParts
from langwright.store import Store, write_atomic
from langwright.tokens import END_OF_TEXT
from langwright.training.batch import gather
from langwright.training.conversations import lessons, open_conversations
from langwright.training.guard import skipped_windows, window_of
from langwright.training.rebuilt import Again, rebuild_any
from langwright.training.stages.preferring import Preferring
from langwright.training.stages.pretrain import Pretrain, PretrainSettings
from langwright.training.stages.sft import SFT, SFTSettings
from langwright.training.views.xray import Problem, XrayRow, problems, xray

ROWS_SHOWN = 8
"""Of data without a run, in one step."""
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
    run: str,
    data: str | None = None,
    *,
    step: int = 1,
    html: Path | str | None = None,
    store: Store | None = None,
) -> dict[str, Any]:
    """Every token of a step's micro-batches, from the run's settings and parents; nothing is
    trained and no weight is read.

    With `data`, conversations as `sft` takes them, `run` is a model, and a step shows the next
    `ROWS_SHOWN` of them as they would be learnt, whatever their length.

    `step` counts as the run's metrics do, from 1. With `html` it is also written as one page that
    needs no network. Returns {"run", "stage", "step", "steps", "counts", "rows"}: `counts` of
    trained, masked, padded and cut tokens (a cut one is also trained or masked), rows with their
    "tokens": {"id", "text", "state", "trained", "document"}. Rows of answers that somebody judged
    have a "label": better or worse, good or bad, or a rank (of a reward model, which reads an
    answer's last token alone).

    Raises `BadBatch`, after the page is written, for a row in which nothing is trained, an answer
    whose end is not trained and a doubled start token; `NotFound`, `Unsupported` as `rebuild`.
    """
    store = store or Store()
    source = _of_run(run, store) if data is None else _of_data(run, data, store)
    if not 1 <= step <= source.steps:
        raise BadSettings(
            f"The run '{run}' has no step {step}."
            if data is None
            else f"The data has no step {step}.",
            remedy=f"Give one from 1 to {source.steps}.",
        )
    rows = source.rows(step)
    found = list(problems(rows, source.text, source.stage != Pretrain.name))
    batch = {
        "run": run,
        "stage": source.stage,
        "step": step,
        "steps": source.steps,
        "counts": _counts(rows),
        "rows": [
            {
                "row": row.row,
                "micro_batch": row.micro_batch,
                "trained": row.trained,
                **({"label": row.label} if row.label else {}),
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


@dataclass(frozen=True)
class _Source:
    """Where rows come from: `rows(step)`, of which there are `steps`."""

    stage: str
    steps: int
    text: TextParts
    rows: Callable[[int], list[XrayRow]]


def _of_run(run: str, store: Store) -> _Source:
    held = store.run(run)
    rebuilt = rebuild_any(held, store)
    skipped = skipped_windows(held)
    return _Source(
        rebuilt.stage.name,
        rebuilt.settings.steps,
        rebuilt.text,
        lambda step: xray_of(rebuilt, window_of(step - 1, skipped)),
    )


def _of_data(model: str, data: str, store: Store) -> _Source:
    text = load_text(store.path(store.get(model)))
    if text.template is None:
        raise Unsupported(f"The model '{model}' has no chat template.", remedy="Name one that has.")
    folder = store.path(open_conversations(data, store))
    lines = lessons(text.template, folder / "conversations.jsonl", sys.maxsize).rows

    def rows(step: int) -> list[XrayRow]:
        shown = lines[(step - 1) * ROWS_SHOWN : step * ROWS_SHOWN]
        batches = [batch for row in shown for batch in gather([row], 1)]
        return xray(batches, text.tokenizer, None)

    return _Source(SFT.name, -(-len(lines) // ROWS_SHOWN), text, rows)


def _counts(rows: Sequence[XrayRow]) -> dict[str, int]:
    states = Counter(token.state for row in rows for token in row.tokens)
    trained = Counter(token.trained for row in rows for token in row.tokens)
    return {
        "trained": trained[True],
        "masked": trained[False] - states["padded"],
        "padded": states["padded"],
        "cut": states["cut"],
    }


def xray_of(rebuilt: Again, window: int) -> list[XrayRow]:
    """The rows of a window of the data, which counts from 0."""
    tokenizer, stage = rebuilt.text.tokenizer, rebuilt.stage
    settings, batches = rebuilt.settings, stage.micro_batches(window)
    if isinstance(settings, PretrainSettings):
        return xray(batches, tokenizer, tokenizer.special[END_OF_TEXT])
    if isinstance(settings, SFTSettings):
        cut_at = settings.context_length if settings.too_long == "cut" else None
        return xray(batches, tokenizer, None, cut_at)
    assert isinstance(stage, Preferring)
    rows = xray([stage.lessons(batch) for batch in batches], tokenizer, None)
    labels = (label for batch in batches for label in stage.labels(batch))
    return [replace(row, label=label) for row, label in zip(rows, labels, strict=True)]


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
