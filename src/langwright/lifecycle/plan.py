"""A plan: what to train within a budget, what it will cost, and what it will give."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from langwright.errors import BadInput, BadSettings
from langwright.lifecycle import law
from langwright.lifecycle.budget import Budget
from langwright.lifecycle.ladder import Rung, ladder, pace
from langwright.lifecycle.machine import UTILISATION, Machine, machine
from langwright.lifecycle.memory import HOST, memory
from langwright.lifecycle.planned import write_plan
from langwright.lifecycle.rehearsal import Rehearsal, rehearse, speed_of, times_as_long
from langwright.model import Architecture
from langwright.model.device import compute_device
from langwright.progress import say
from langwright.providers import load_tokenizer
from langwright.store import Store
from langwright.training import read_recipe
from langwright.training.precision import compute_dtype
from langwright.training.recipe import require_free
from langwright.training.stages.pretrain import PretrainSettings, shape_of

Table = dict[str, Any]

CORPUS = "wikipedia-summaries"
SHARE = 8
"""A rehearsal learns from one part in so many of the tokens …"""
LONGEST = 90.0
"""… and at most for so many seconds."""
TIMED = 10.0
"""Seconds over which the whole run's steps are timed, beside the rehearsal's."""
FEWEST = 100_000
"""Tokens, below which nothing is learnt that a law could be held against."""
LIMIT = 0.85
"""Of a GPU's memory: uncompiled training was seen to take an eighth more than is reckoned."""


def plan(
    recipe: str | None = None,
    *,
    budget: str | None = None,
    device: str = "cpu",
    name: str = "plan",
    to: Path | str | None = None,
    force: bool = False,
    usd_per_hour: float | None = None,
    store: Store | None = None,
    **settings: Any,
) -> Table:
    """Choose a model and its training for a budget (`10min`, `50usd`, `1e18flops`), or take those
    of `recipe`, and forecast memory, speed, time, cost and bits per byte.

    On this machine (`cpu`, `cuda`) sizes are timed and a run over an eighth of the tokens is
    made, under the name `NAME-rehearsal`; for another (`h100x8`) all is reckoned. `settings` are
    those of `pretrain`, and stay as given. With `to`, a recipe is written there, for `pretrain`
    and `grow`, that carries the forecast; the finished run says how it came out.

    Returns {"recipe", "forecast", "considered", "rehearsal", "path"}. Raises `BadInput`,
    `BadSettings`, `NotFound`.
    """
    if (recipe is None) == (budget is None):
        raise BadInput(
            "A plan is for a recipe or for a budget.",
            remedy="Give either RECIPE or --budget 10min.",
        )
    target = None if to is None else Path(to).expanduser()
    if target is not None:
        require_free(target, force)
    planner = _Planner(machine(device, usd_per_hour), name, store or Store(), settings)
    if recipe is not None:
        given = read_recipe(recipe, "pretrain", settings)
        told = planner.forecast(planner.defaults | given)
    else:
        assert budget is not None
        told = planner.chosen(Budget.parse(budget))
    if target is not None:
        write_plan(target, told)
    return told | {"path": None if target is None else str(target)}


class _Planner:
    def __init__(
        self, device: Machine, name: str, store: Store, settings: Mapping[str, Any]
    ) -> None:
        self.machine, self.name, self.store, self.given = device, name, store, settings
        self.considered: list[Table] = []
        self.timed: dict[Architecture, float] = {}
        self.defaults: Table = {
            "corpus": CORPUS,
            "device": device.device if device.here else "cuda",
        }

    def chosen(self, budget: Budget) -> Table:
        """The size whose bits per byte would be lowest when the budget is spent, and its
        forecast."""
        seconds = budget.seconds_on(self.machine)
        best: tuple[float, Rung, float] | None = None
        for rung in self._ladder():
            speed = None if seconds is None else self._speed(rung)
            if seconds is None or speed is None:
                tokens = budget.amount / _flops(rung.shape)
            else:
                tokens = seconds * speed
            bits = law.LAW.bits(rung.shape.matrices, tokens)
            self.considered.append(
                {
                    "num_layers": rung.num_layers,
                    "hidden_size": rung.hidden_size,
                    "parameters": rung.shape.num_parameters,
                    "tokens_per_second": speed,
                    "tokens": round(tokens),
                    "val_bits_per_byte": bits,
                }
            )
            if best is not None and bits > best[0]:
                break  # a larger one would learn from still less
            best = bits, rung, tokens
        assert best is not None
        _, rung, tokens = best
        if tokens < FEWEST:
            raise BadInput(
                f"The budget is spent after {tokens:,.0f} tokens.",
                remedy="Give a larger one, or a faster device.",
            )
        recipe = self._recipe(rung, tokens)
        return self.forecast(recipe, seconds, paced=True)

    def forecast(self, recipe: Table, seconds: float | None = None, paced: bool = False) -> Table:
        """What `recipe` costs and gives. With `seconds` its length is made to fill them; `paced`:
        its batch and rates are those of `pace`."""
        settings = PretrainSettings.build(recipe)
        shape = shape_of(settings, self._vocabulary(settings))
        rehearsal, preparation, overhead = None, 0.0, 0.0
        speed = self._reckoned_speed(shape)
        if speed is None:
            rehearsal, step = self._rehearse(recipe, settings, shape, paced)
            speed = settings.tokens_per_step / step
            preparation, overhead = rehearsal.preparation, rehearsal.overhead
        if seconds is not None:
            left = seconds - preparation - overhead
            steps = int(left * speed / settings.tokens_per_step)
            if steps < 1:
                raise BadInput(
                    f"Preparing and measuring alone take {preparation + overhead:.0f} s.",
                    remedy="Give a larger budget.",
                )
            recipe = recipe | _length(steps, recipe)
            settings = PretrainSettings.build(recipe)
        tokens = settings.steps * settings.tokens_per_step
        taken = overhead + tokens / speed
        categories, peak, most = self._memory(shape, settings, rehearsal)
        told = {
            "device": self.machine.device,
            "devices": self.machine.count,
            "parameters": shape.num_parameters,
            "tokens": tokens,
            "flops": float(_flops(shape) * tokens),
            "tokens_per_second": speed,
            "preparation_seconds": preparation,
            "seconds": taken,
            "usd": self.machine.usd(preparation + taken),
            "peak_memory_bytes": peak,
            "memory": categories,
            "fits": peak <= most,
            "val_bits_per_byte": self._bits(shape, tokens, rehearsal),
            "beyond_the_law": shape.matrices > law.FITTED[0] or tokens > law.FITTED[1],
        }
        return {
            "recipe": recipe,
            "forecast": told,
            "considered": self.considered,
            "rehearsal": None if rehearsal is None else vars(rehearsal),
        }

    def _ladder(self) -> list[Rung]:
        given = self.given
        vocabulary = given.get("vocab_size")
        if "tokenizer" in given:
            vocabulary = load_tokenizer(given["tokenizer"], store=self.store).vocab_size
        fixed = given.keys() & {"hidden_size", "num_layers"}
        rungs = [
            rung
            for rung in ladder(vocabulary, given.get("context_length"))
            if all(rung.settings()[key] == given[key] for key in fixed)
        ]
        if not rungs:
            raise BadSettings(
                "No size that a plan chooses from has that hidden_size and num_layers.",
                remedy="Leave them out, or forecast a recipe of your own.",
            )
        return rungs

    def _recipe(self, rung: Rung, tokens: float) -> Table:
        recipe = self.defaults | rung.settings() | pace(rung.shape, tokens) | dict(self.given)
        return recipe if self.machine.device == "cpu" else self._fitted(rung.shape, recipe)

    def _fitted(self, shape: Architecture, recipe: Table) -> Table:
        """The same on GPUs: with the largest micro-batch whose memory fits."""
        how: Table = {} if self.machine.here else {"precision": "bfloat16", "compile": True}
        context, share = shape.context_length, recipe["tokens_per_step"] // self.machine.count
        for checkpointing in (False, True):
            rows = max(1, share // context)
            while rows:
                tried = {"micro_batch_tokens": rows * context}
                tried |= {"activation_checkpointing": checkpointing}
                tried = recipe | how | tried | dict(self.given)
                _, peak, most = self._memory(shape, PretrainSettings.build(tried), None)
                if peak <= most:
                    return tried
                rows //= 2
        return tried

    def _speed(self, rung: Rung) -> float:
        """Tokens a second, timed where it can be."""
        reckoned = self._reckoned_speed(rung.shape)
        if reckoned is not None:
            return reckoned
        return self._timed(rung.shape, PretrainSettings.build(self._recipe(rung, 1e6)))

    def _timed(self, shape: Architecture, settings: PretrainSettings) -> float:
        if shape not in self.timed:
            say(f"Timing {shape.num_layers} layers of {shape.hidden_size}.")
            self.timed[shape] = speed_of(shape, settings)
        return self.timed[shape]

    def _reckoned_speed(self, shape: Architecture) -> float | None:
        if self.machine.here:
            return None
        assert self.machine.flops is not None
        return UTILISATION * self.machine.flops * self.machine.count / _flops(shape)

    def _vocabulary(self, settings: PretrainSettings) -> int:
        if settings.tokenizer is None:
            return settings.vocab_size
        return load_tokenizer(settings.tokenizer, store=self.store).vocab_size

    def _rehearse(
        self, recipe: Table, settings: PretrainSettings, shape: Architecture, paced: bool
    ) -> tuple[Rehearsal, float]:
        """A short run, and the seconds of a step of the whole one."""
        whole = settings.steps * settings.tokens_per_step
        most = LONGEST * self._timed(shape, settings)
        tokens = min(whole, max(whole / SHARE, FEWEST), max(most, FEWEST))
        short = pace(shape, tokens)
        if not paced:
            short = {"tokens_per_step": settings.tokens_per_step}
            short["steps"] = max(1, round(tokens / settings.tokens_per_step))
            short["warmup_steps"] = min(short["steps"] // 10, settings.warmup_steps)
        # As often as the whole run saves, measures and takes snapshots of itself.
        steps = short["steps"]
        short["eval_every"] = max(1, steps * settings.eval_every // settings.steps)
        short["checkpoint_every"] = max(1, steps * settings.checkpoint_every // settings.steps)
        short["snapshot_every"] = max(1, min(settings.snapshot_every, steps // 3))
        name = f"{self.name}-rehearsal"
        say(f"Rehearsing: {steps} steps of {short['tokens_per_step']:,} tokens.")
        self._forget(name)
        try:
            rehearsal = rehearse(recipe | short, name, self.store)
            ratio = times_as_long(name, settings, self.store, TIMED)
        finally:
            self._forget(name)
        return rehearsal, rehearsal.step_seconds * ratio

    def _forget(self, name: str) -> None:
        """Drop what a rehearsal has left: the run with its model, its tokens and tokenizer."""
        made = {one.name for one in self.store.artifacts()}
        parts = sorted(one for one in made if one.startswith(f"{name}-token"))
        for one in (name, *parts):
            if one in made or self.store.run(one).exists:
                self.store.remove(one)

    def _memory(
        self, shape: Architecture, settings: PretrainSettings, rehearsal: Rehearsal | None
    ) -> tuple[Table, int, float]:
        """By category, the peak, and what there is. On a processor the peak is measured: nobody can
        reckon what the program takes and what torch holds back."""
        if self.machine.here:
            dtype = compute_dtype(settings.precision, compute_device(self.machine.device))
        else:
            dtype = torch.bfloat16
        told: Table = dict(memory(shape, settings, dtype, self.machine.count))
        if self.machine.device == "cpu":
            assert rehearsal is not None
            reckoned = sum(told.values())
            # It may have worked through fewer tokens at a time.
            tried = settings.model_copy(update={"tokens_per_step": rehearsal.tokens_per_step})
            lacked = reckoned - sum(memory(shape, tried, dtype, self.machine.count).values())
            peak = rehearsal.peak_memory + lacked if rehearsal.peak_memory else reckoned
            told["program"] = max(0, peak - reckoned)
            there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
            return told, peak, there
        if self.machine.here:
            most = float(torch.cuda.get_device_properties(0).total_memory)
        else:
            assert self.machine.memory is not None
            most = self.machine.memory
        on_device = sum(value for key, value in told.items() if key not in HOST)
        return told, on_device, LIMIT * most

    def _bits(self, shape: Architecture, tokens: int, rehearsal: Rehearsal | None) -> float:
        """By the law. A rehearsal has shown how hard this text is, which no model can know, and how
        steeply the loss falls with more of it; then the law says how far."""
        if rehearsal is None:
            return law.LAW.bits(shape.matrices, tokens)
        begin, end = (
            law.LAW.bits(shape.matrices, seen, rehearsal.unique)
            for seen in (rehearsal.tokens, tokens)
        )
        return rehearsal.bits_per_byte + rehearsal.steepness * (end - begin)


def _flops(shape: Architecture) -> int:
    return shape.flops_per_token(shape.context_length)


def _length(steps: int, recipe: Table) -> Table:
    return {
        "steps": steps,
        "warmup_steps": min(steps // 10, recipe["warmup_steps"]),
        "eval_every": max(1, steps // 5),
        "checkpoint_every": max(1, steps // 5),
    }
