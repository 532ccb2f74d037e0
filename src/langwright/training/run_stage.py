"""A stage as a run of the store: begun, continued or found finished; its model published."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, TypeVar

from langwright.errors import LangwrightError
from langwright.model import tensors_sha256
from langwright.model.description import describe_module, in_a_line
from langwright.progress import say
from langwright.store import Artifact, Run, Store
from langwright.training.checkpoint import return_to
from langwright.training.guard import SnapshotLost
from langwright.training.loop import B, M, Watch, train
from langwright.training.ranks import ALONE, Ranks
from langwright.training.settings import HOW, LoopSettings
from langwright.training.stage import Stage
from langwright.training.trained import Trained
from langwright.training.usage import peak_memory

S = TypeVar("S", bound=LoopSettings)

Result = dict[str, Any]
"""What every training verb returns; the keys are those of the command line's JSON."""


def run_stage(
    run: Run,
    settings: S,
    parents: Sequence[Artifact],
    store: Store,
    prepare: Callable[[S], tuple[Trained[M], Stage[M, B]]],
    ranks: Ranks = ALONE,
    forecast: Mapping[str, float] | None = None,
) -> Result:
    """Train under the run's name; a finished run answers at once. What a plan foretold of it
    (`forecast`) is set beside what came. Raises `BadSettings` when the run was begun with other
    settings, `Busy` when another process holds it.

    On several ranks each calls this; the first one holds the run and writes to it."""
    values = settings.model_dump(mode="json")
    with ranks.first_alone():
        digests = [parent.digest for parent in parents]
        run.open(values, digests, free=HOW, defaults=settings.defaults())
    with run.locked() if ranks.leads else nullcontext():
        if run.state["status"] == "finished":
            result: Result = run.state["result"]
            return result
        started = time.perf_counter() - run.state.get("seconds", 0.0)
        if ranks.leads:
            run.update_state(status="running", fault=None)
        try:
            trained, stage, done = complete(run, settings, prepare, ranks)
            # An adapter is a model together with what it was trained on.
            model = f"{parents[0].name}+{run.name}" if trained.kind == "adapter" else run.name
            if not ranks.leads:
                return {"run": run.name, "model": model, **done}
            done["metrics"] |= stage.evaluate(trained.module, whole=True)
            device = next(trained.module.parameters()).device
            done["metrics"]["peak_memory_bytes"] = peak_memory(device)
            trained.module.cpu()
            result = {
                "run": run.name,
                "model": model,
                **done,
                "weights_sha256": tensors_sha256(trained.learnt),
            }
            licence = next((p.licence for p in parents if p.licence), None)
            with store.writing(
                run.name,
                trained.kind,
                parents=parents,
                settings=values,
                metrics=result["metrics"],
                licence=licence,
            ) as draft:
                trained.save(draft.folder)
            seconds = time.perf_counter() - started
            if forecast:
                came = {**result["metrics"], "seconds": seconds}
                result["forecast"] = held_against(forecast, came)
            run.update_state(status="finished", result=result, seconds=seconds)
        except BaseException as error:
            if ranks.leads:
                told = error.to_json()["error"] if isinstance(error, LangwrightError) else None
                seconds = time.perf_counter() - started
                run.update_state(status="stopped", fault=told, seconds=seconds)
            raise
    say(f"{run.name}: finished after {result['steps']} steps.")
    return result


def held_against(
    forecast: Mapping[str, float], came: Mapping[str, float]
) -> dict[str, dict[str, float]]:
    """{"forecast", "actual", "error"} of each figure that both have; the error is the actual
    figure's distance, as a share of the forecast."""
    return {
        key: {"forecast": value, "actual": came[key], "error": came[key] / value - 1}
        for key, value in forecast.items()
        if value and came.get(key) is not None
    }


def complete(
    run: Run,
    settings: S,
    prepare: Callable[[S], tuple[Trained[M], Stage[M, B]]],
    ranks: Ranks = ALONE,
    until: int | None = None,
    watch: Watch | None = None,
) -> tuple[Trained[M], Stage[M, B], dict[str, Any]]:
    """As `train`, from an earlier checkpoint should a snapshot be needed that a kill has taken: the
    steps since then are done again as they were, and the snapshot is there when it is needed."""
    while True:
        begun, stage = prepare(settings.divided(ranks.data_size))
        say(f"{run.name}: {in_a_line(describe_module(begun.module))}.")
        try:
            trained, done = train(run, begun, stage, settings, ranks, until, watch)
        except SnapshotLost as lost:
            step = ranks.told(return_to(run, lost.step) if ranks.leads else 0)
            say(f"The snapshot of step {lost.step} is gone; from step {step} it is made again.")
        else:
            return trained, stage, done
