"""The verb: models on tasks, every figure with its interval, seed and baseline."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypedDict, Unpack

from langwright.backend import Backend, BackendName, Device, Dtype
from langwright.errors import BadInput, BadSettings
from langwright.evaluation.answering import answer
from langwright.evaluation.choosing import choose, continue_
from langwright.evaluation.figures import figure, metrics, pairs, unit
from langwright.evaluation.foreseeing import foresee
from langwright.evaluation.guess import guess_task
from langwright.evaluation.item import Item, make_items
from langwright.evaluation.outcome import Measured
from langwright.evaluation.paired import compare as compare_pairs
from langwright.evaluation.preferring import check, prefer
from langwright.evaluation.rows import Rows, find_data, read_rows
from langwright.evaluation.task import Task, read_task
from langwright.progress import say
from langwright.providers import Model, open_model
from langwright.store import Store
from langwright.store.atomic import write_atomic

Json = dict[str, Any]


class Changes(TypedDict, total=False):
    """What may be asked otherwise than the task says; see `Task`."""

    num_fewshot: int | None
    max_tokens: int | None
    temperature: float | None
    samples: int | None
    chain_of_thought: str | None
    chat: bool | None
    window: int | None
    stride: int | None


class _Prepared:
    """A task with its items, read once for all models."""

    def __init__(
        self, name: str, data: str | None, limit: int | None, seed: int, changes: Changes
    ) -> None:
        if Path(name).suffix in (".jsonl", ".parquet"):
            if data is not None:
                raise BadSettings(
                    f"{name} is data already, and there is --data too.",
                    remedy="Give a task with --task, or the data alone.",
                )
            self.rows = read_rows(Path(name).expanduser())
            brief = not (changes.get("chat") or changes.get("chain_of_thought"))
            task, folder = guess_task(self.rows, Path(name).stem, brief), None
            say(f"{name}: {task.kind}, {task.prompt!r}, graded by {task.grader.kind}.")
        else:
            task, folder = read_task(name)
            self.rows = read_rows(find_data(task, folder, data))
        self.task = task.changed(**changes)
        pool: Rows | None = None
        if self.task.fewshot_data and self.task.num_fewshot:
            pool = read_rows((folder or self.rows.path.parent) / self.task.fewshot_data)
        self.items: list[Item] = make_items(self.task, self.rows, pool, seed, limit)
        digest = self.rows.digest + (pool.digest if pool is not None else "")
        self.fingerprint = self.task.fingerprint(digest)


def evaluate(
    model: str | Model,
    task: str | Sequence[str],
    *,
    compare: Sequence[str | Model] = (),
    judge: str | Model | None = None,
    data: str | None = None,
    limit: int | None = None,
    seed: int = 0,
    log_samples: str | None = None,
    dtype: Dtype = "float32",
    backend: BackendName = "own",
    device: Device = "cpu",
    store: Store | None = None,
    **changes: Unpack[Changes],
) -> Json:
    """`langwright evaluate`: measure `model`, and those it is to be compared with, on each task.

    A task is a built-in name, a TOML file (see `Task`), or a JSON-lines file whose kind is told
    from its fields. `data` is the file of the data, or a folder in which the task's lies; `limit`
    takes its first rows alone. `seed` is that of examples, sampling and bootstrap. `log_samples`
    names a file that gets every prompt, answer and verdict, a JSON object each. The rest changes
    what the tasks say. `dtype`, `backend` and `device` are those of `load`, for all models.

    Returns `{"results": [{"model", "task", "metric", "filter", "value", "stderr", "interval",
    "n", "num_fewshot", "baseline", "seed", …}], "comparisons": […]}`; metrics have lm-eval's names.
    An interval is at 95%: Clopper and Pearson's for right and wrong, else a bootstrap over items.

    Raises `NotFound`, `BadInput`, `BadSettings` for what is asked, and `Unsupported` where a model
    cannot do what a task needs.
    """
    if limit is not None and limit < 1:
        raise BadInput(f"limit is {limit}.", remedy="Give at least 1, or leave it out.")
    names = [task] if isinstance(task, str) else list(task)
    if not names:
        raise BadInput("There is no task.", remedy="Name at least one.")
    if data is not None and len(names) > 1 and not Path(data).is_dir():
        raise BadSettings(
            "One file of data cannot serve several tasks.", remedy="Give a folder, or one task."
        )
    given = [model, *compare]
    prepared = [_Prepared(name, data, limit, seed, changes) for name in names]
    for one in prepared:
        if one.task.kind == "preference":
            check(one.task, judge is not None)
    judging = None if judge is None else _open(judge, dtype, backend, device, store).backend
    results: list[Json] = []
    lines: list[str] = []
    measured: list[list[Measured]] = []
    titles = []
    for which in given:
        opened = _open(which, dtype, backend, device, store).backend
        titles.append(opened.name)
        measured.append([])
        for one in prepared:
            found = _measure(opened, judging, one, seed)
            measured[-1].append(found)
            results += _results(opened.name, one, found, seed, limit)
            lines += _lines(opened.name, one, found)
    comparisons = [
        line
        for place in range(1, len(given))
        for one, first, second in zip(prepared, measured[0], measured[place], strict=True)
        for line in _comparisons((titles[0], titles[place]), one.task, (first, second), seed)
    ]
    if log_samples is not None:
        write_atomic(Path(log_samples), "".join(line + "\n" for line in lines))
    answered: Json = {"results": results}
    if compare:
        answered["comparisons"] = comparisons
    return answered


def _open(
    model: str | Model, dtype: Dtype, backend: BackendName, device: Device, store: Store | None
) -> Model:
    if not isinstance(model, str):
        return model
    return open_model(model, dtype=dtype, backend=backend, device=device, store=store)


def _measure(backend: Backend, judge: Backend | None, one: _Prepared, seed: int) -> Measured:
    task, items, where = one.task, one.items, one.rows.path.name
    match task.kind:
        case "multiple_choice":
            return choose(backend, task, items)
        case "continuation":
            return continue_(backend, task, items)
        case "perplexity":
            return foresee(backend, task, items)
        case "preference":
            return prefer(backend, judge or backend, task, items, seed, where)
        case "generation":
            return answer(backend, task, items, seed, where)


def _results(
    model: str, one: _Prepared, measured: Measured, seed: int, limit: int | None
) -> Iterable[Json]:
    for name in metrics(measured.outcomes):
        found = figure(name, pairs(measured.outcomes, name), seed)
        baselines = measured.baselines.get(name, {})
        metric, _, made = name.partition(",")
        first = next(iter(baselines), None)
        yield {
            "model": model,
            "task": one.task.name,
            "metric": metric,
            "filter": made or "none",
            "value": found.value,
            "stderr": found.stderr,
            "interval": None if found.low is None else [found.low, found.high],
            "interval_method": found.method,
            "n": found.n,
            "of": len(one.rows.rows),
            "limit": limit,
            "num_fewshot": one.task.num_fewshot,
            "baseline": None if first is None else baselines[first],
            "baseline_name": first,
            "baselines": dict(baselines),
            "seed": seed,
            "fingerprint": one.fingerprint,
            **measured.notes,
        }


def _comparisons(
    models: tuple[str, str], task: Task, measured: tuple[Measured, Measured], seed: int
) -> Iterable[Json]:
    first, second = measured
    for name in metrics(first.outcomes):
        both = [
            (a.scores[name], b.scores[name])
            for a, b in zip(first.outcomes, second.outcomes, strict=True)
            if name in a.scores and name in b.scores
        ]
        if not both:
            continue
        ours, theirs = [a for a, _ in both], [b for _, b in both]
        found = compare_pairs(ours, theirs, seed, unit(name))
        metric, _, made = name.partition(",")
        line: Json = {
            "task": task.name,
            "metric": metric,
            "filter": made or "none",
            "models": list(models),
            "values": [
                unit(name)(sum(top for top, _ in side) / sum(bottom for _, bottom in side))
                for side in (ours, theirs)
            ],
            "difference": found.difference,
            "interval": None if found.low is None else [found.low, found.high],
            "p": found.p,
            "test": found.test,
            "n": found.n,
            "seed": seed,
        }
        if found.only_first is not None:
            line |= {"only_first": found.only_first, "only_second": found.only_second}
        yield line


def _lines(model: str, one: _Prepared, measured: Measured) -> Iterable[str]:
    for item, outcome in zip(one.items, measured.outcomes, strict=True):
        metrics_ = {name: top / bottom for name, (top, bottom) in outcome.scores.items()}
        line = {
            "model": model,
            "task": one.task.name,
            "index": outcome.index,
            "row": dict(item.row),
            **outcome.log,
            "metrics": metrics_,
        }
        yield json.dumps(line, ensure_ascii=False, default=str)
