"""A short run before a long one, in a process of its own, and steps of both timed in turns."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w
import torch

from langwright.errors import LangwrightError
from langwright.evaluation import WittenBell
from langwright.lifecycle import law
from langwright.model import Architecture, Decoder
from langwright.store import Store
from langwright.training.batch import MicroBatch, next_token_loss
from langwright.training.learner import Learner
from langwright.training.rebuilt import rebuild
from langwright.training.settings import LoopSettings
from langwright.training.stages.pretrain import Pretrain, PretrainSettings
from langwright.training.views.data_signs import texts

Table = dict[str, Any]

_PIECE = 4096
"""Bytes: a text may be one document."""


class RehearsalFailed(LangwrightError):
    """The run that was to be planned does not go."""

    type = "failure"


@dataclass(frozen=True)
class Rehearsal:
    """What a short run of `tokens`, so many a step, has shown. `step_seconds`: of its steps but the
    first, on average; `preparation`: seconds until it began: tokenizer and shards; `overhead`:
    those of the run that were no steps: evaluation, saving. `unique`: tokens in one epoch;
    `steepness`: how steeply the loss falls with more of this text, beside the law's. `peak_memory`
    in bytes, of the process; None where the system does not tell."""

    tokens: int
    tokens_per_step: int
    step_seconds: float
    preparation: float
    overhead: float
    bits_per_byte: float
    unique: float
    steepness: float
    peak_memory: int | None


def rehearse(settings: Mapping[str, Any], name: str, store: Store) -> Rehearsal:
    """Pretrain with these settings as `langwright pretrain` would, under that name. Raises what it
    raised."""
    with tempfile.TemporaryDirectory(prefix="langwright-plan-") as folder:
        recipe = Path(folder) / "rehearsal.toml"
        recipe.write_text(tomli_w.dumps({"pretrain": dict(settings)}), encoding="utf-8")
        words = [sys.executable, "-m", "langwright", "pretrain", str(recipe), "--name", name]
        place = {"LANGWRIGHT_HOME": str(store.home)}
        started = time.perf_counter()
        child = subprocess.run(
            [*words, "--json"], stdout=subprocess.PIPE, env=os.environ | place, text=True
        )
        seconds = time.perf_counter() - started
    result = json.loads(child.stdout) if child.stdout.strip() else {}
    if child.returncode == 130:
        raise KeyboardInterrupt
    if child.returncode:
        wrong = result.get("error", {"message": "The rehearsal failed.", "remedy": ""})
        raise RehearsalFailed(wrong["message"], remedy=wrong["remedy"])
    lines, state = store.run(name).read_metrics(), store.run(name).state
    metrics = result["metrics"]
    ends = [line["seconds"] for line in lines if "loss" in line]
    return Rehearsal(
        tokens=result["tokens"],
        tokens_per_step=store.run(name).settings["tokens_per_step"],
        step_seconds=(ends[-1] - ends[0]) / (len(ends) - 1) if len(ends) > 1 else ends[0],
        preparation=seconds - state["seconds"],
        overhead=state["seconds"] - lines[-1]["seconds"],
        bits_per_byte=metrics["val_bits_per_byte"],
        unique=result["tokens"] / max(metrics.get("epochs", 0.0), 1e-9),
        steepness=steepness(name, store),
        peak_memory=metrics["peak_memory_bytes"],
    )


def steepness(run: str, store: Store) -> float:
    """How steeply the loss falls with more of the text of the run `run`, beside that of the law: as
    steeply as that of a byte n-gram, which is counted in seconds."""
    rebuilt = rebuild(store.run(run), store)
    train, held_out = (texts(rebuilt, side) for side in ("train", "validation"))
    pieces = [text[at : at + _PIECE] for text in train for at in range(0, len(text), _PIECE)]
    few, many = (WittenBell.fit(some).bits_per_byte(held_out) for some in (pieces[::4], pieces))
    # Further from the four texts that this was tried on, it is not believed.
    return min(max((few - many) / law.NGRAM_FALL, 0.5), 1.5)


def times_as_long(run: str, settings: PretrainSettings, store: Store, at_least: float) -> float:
    """How many times as long as a step of the run `run` one with `settings` takes, on its data.

    Both are made in turns, over that many seconds and three times after the first: a machine's
    speed varies within minutes, by as much as such steps differ."""
    rehearsed = store.run(run)
    rebuilt = rebuild(rehearsed, store)
    if settings.tokens_per_step == rebuilt.settings.tokens_per_step:
        return 1.0
    *shards, _ = [store.get(digest) for digest in rehearsed.parents]
    stages = (rebuilt.stage, Pretrain.build(settings, rebuilt.text, shards, store))
    module = Decoder(rebuilt.shape)
    module.initialise(settings.seed)
    learner = Learner(module, settings)
    found: list[tuple[float, ...]] = []
    while len(found) < 4 or sum(map(sum, found[1:])) < at_least:
        found.append(tuple(_step(learner, one.micro_batches(len(found))) for one in stages))
    return statistics.median(other / one for one, other in found[1:])


def speed_of(shape: Architecture, settings: LoopSettings) -> float:
    """Tokens a second that a model of this size learns here, from two micro-batches of noise."""
    module = Decoder(shape)
    module.initialise(0)
    learner = Learner(module, settings)
    context = shape.context_length
    rows = max(1, settings.micro_batch_tokens // context)
    ids = torch.randint(shape.vocab_size, (rows, context + 1)).numpy()
    batch = MicroBatch.of(ids[:, :-1].copy(), ids[:, 1:].copy())
    _step(learner, [batch])
    # The optimizer's part is that of a whole step, and a batch is a share of one.
    seconds = min(_gradients(learner, [batch]) for _ in range(2))
    moving = min(_moving(learner) for _ in range(2))
    steps = settings.tokens_per_step / batch.units
    return settings.tokens_per_step / (seconds * steps + moving)


def _step(learner: Learner[Decoder], batches: Any) -> float:
    return _gradients(learner, batches) + _moving(learner)


def _gradients(learner: Learner[Decoder], batches: Any) -> float:
    started = time.perf_counter()
    units = sum(batch.units for batch in batches)
    learner.gradients(next_token_loss, batches, units).item()
    return time.perf_counter() - started


def _moving(learner: Learner[Decoder]) -> float:
    started = time.perf_counter()
    learner.clip().item()
    learner.move(1e-3)
    return time.perf_counter() - started
