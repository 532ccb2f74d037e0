"""The one training loop. A stage gives it batches and a loss; all else is the same for all."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any, Generic, TypeAlias, TypeVar

import numpy as np
import torch
from torch import nn

from langwright.errors import BadInput
from langwright.progress import Bar, progress, say
from langwright.store import Run
from langwright.training.ahead import Ahead
from langwright.training.checkpoint import Saver, load_checkpoint
from langwright.training.guard import Guard, Verdict, diverged, tell
from langwright.training.heartbeat import Heartbeat
from langwright.training.incident import Incident, write_incident
from langwright.training.interrupt import deferred_interrupt
from langwright.training.learner import Batch, Learner
from langwright.training.ranks import ALONE, Ranks
from langwright.training.schedule import learning_rate_factor
from langwright.training.settings import LoopSettings
from langwright.training.stage import Stage
from langwright.training.state import TrainingState
from langwright.training.trained import Trained
from langwright.training.usage import Usage

EMPTY = 1000
"""So many windows in a row in which nothing is learnt, and as many as there are steps, are too
many."""

M = TypeVar("M", bound=nn.Module)
B = TypeVar("B", bound=Batch)

Watch: TypeAlias = Callable[[int, int, Trained[Any]], None]
"""Is told before each step how many have been made, the window of the data that is to be learnt
from, and the model over its float32 weights, which are not to be changed. A step that the guard
refuses is told of again."""


def train(
    run: Run,
    trained: Trained[M],
    stage: Stage[M, B],
    settings: LoopSettings,
    ranks: Ranks = ALONE,
    until: int | None = None,
    watch: Watch | None = None,
) -> tuple[Trained[M], dict[str, Any]]:
    """Train `trained.module` until `settings.steps` (or step `until` of them), from the run's last
    checkpoint if it has one; `watch` looks on.

    Returns the model with its float32 weights, and steps, tokens, resumed_from_step and the last
    metrics; the module given is used up. Ctrl-C or SIGTERM saves a checkpoint and raises
    KeyboardInterrupt.
    """
    training = _Training(run, trained, stage, settings, ranks, until or settings.steps, watch)
    done = training.go()
    return training.float32(), done


class _Training(Generic[M, B]):
    def __init__(
        self,
        run: Run,
        trained: Trained[M],
        stage: Stage[M, B],
        settings: LoopSettings,
        ranks: Ranks,
        until: int,
        watch: Watch | None,
    ) -> None:
        self.run, self.trained, self.stage, self.settings = run, trained, stage, settings
        self.ranks, self.until, self.watch = ranks, until, watch
        self.module = trained.module
        self.state = TrainingState()
        found = load_checkpoint(run)
        if found is not None:
            self.state = TrainingState.of(found.state)
            stored = trained.read(found.model)
            with torch.no_grad():
                for name, weight in trained.learnt.items():
                    weight.copy_(stored[name])
        self.learner = Learner(self.module, settings, ranks, learnt=trained.learnt)
        if found is not None and self.state.step:  # before the first step it remembers nothing
            found.restore(self.learner.optimizers.tensors(), ranks)
        self.usage = Usage(self.module, settings.context_length, self.learner.device, ranks.size)
        self.guard = Guard(settings, self.state, self.learner)
        if ranks.leads:
            run.truncate_metrics(self.state.step, self.state.guard.incidents)
        self.saver = Saver(run, settings, ranks)
        self.batches = Ahead(stage.micro_batches, foreknown=stage.foreknown)
        self.resumed_from = self.state.step
        self.saved = self.state.step if found is not None else None
        self.metrics: dict[str, float] = {}
        self.empty = 0
        self.module.eval()
        stage.begin(self.module, run, fresh=found is None)
        self.module.train()

    def go(self) -> dict[str, Any]:
        settings, state = self.settings, self.state
        with (
            deferred_interrupt() as interrupt,
            closing(self.saver),
            closing(self.batches),
            Heartbeat(self.run, settings.stall_seconds) as heartbeat,
            progress(self.stage.name, settings.steps, start=state.step) as bar,
        ):
            self._evaluate_if_due()
            while state.step < self.until and not self._stops:
                with heartbeat.step(state.step + 1):
                    moved = self._step(bar)
                if self.ranks.agree(self.saver.failed):
                    self.saver.wait()
                if not moved:
                    continue
                edge = state.step % self.stage.edge == 0
                last = state.step == self.until or self._stops
                asked = self.ranks.agree(interrupt.asked)
                due = state.step % settings.checkpoint_every == 0 or asked
                if last or (edge and due):
                    self._save()  # before evaluating: a failure there must not cost the work
                if asked and edge and not last:
                    self.saver.wait()
                    self.ranks.wait()
                    raise KeyboardInterrupt
                self._evaluate_if_due()
            if self._stops:
                say(f"{self.stage.name} ends at step {state.step}: {self.stage.stopped}.")
            best = self._leave_best()
        return {
            "steps": state.step,
            "tokens": state.tokens,
            "resumed_from_step": self.resumed_from,
            "metrics": {
                "train_loss": state.loss,
                **self.metrics,
                "tokens_per_second": state.tokens / state.seconds,
                **best,
            },
        }

    @property
    def _stops(self) -> bool:
        """Whether the stage ends the run here."""
        return self.stage.stopped is not None and self.state.step % self.stage.edge == 0

    def _leave_best(self) -> dict[str, int]:
        """Take the weights back that the stage found best, and tell their step."""
        best = self.stage.best
        if best is None or self.until < self.settings.steps:
            return {}
        if best != self.state.step:
            self.saver.wait()
            found = load_checkpoint(self.run, best)
            assert found is not None
            self.learner.put(self.trained.read(found.model))
            say(f"{self.stage.name}: the model is that of step {best}, the best one evaluated.")
        return {"best_step": best}

    def _step(self, bar: Bar) -> bool:
        """Make a step, or refuse to; whether it was made."""
        state, settings = self.state, self.settings
        started = time.perf_counter()
        batches = self.batches.get(self.guard.window)
        loading = time.perf_counter() - started
        # The denominator is that of the whole step: a mean of means would weigh micro-batches
        # with few targets too much.
        units = sum(batch.units for batch in batches)
        if not units:
            self._pass_over(batches)
            return False
        self.empty = 0
        if self.watch is not None:
            self.watch(state.step, self.guard.window, self.float32())
        device = self.learner.device
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            # Dropout is a function of the seed and the step, as the data is.
            seed = _dropout_seed(settings.seed, state.step)
            total = self.learner.gradients(self.stage.loss, batches, units, seed)
        both = torch.stack((total, self.learner.clip()))
        loss, norm = self.ranks.alike(both).tolist()
        verdict = self.guard.judge(loss, norm)
        if verdict.decision != "accept":
            state.seconds += time.perf_counter() - started
            self._refuse(verdict, loss, norm, batches, bar)
            return False
        factor = learning_rate_factor(state.step, settings) * self.guard.rate
        self.learner.move(factor)
        state.step += 1
        state.tokens += units
        state.loss = loss
        self.guard.accept(loss, norm)
        seconds = time.perf_counter() - started
        state.seconds += seconds
        line: dict[str, Any] = {"step": state.step, "loss": loss, "gradient_norm": norm}
        line |= {"learning_rate": settings.learning_rate * factor}
        line |= {"tokens": state.tokens, "seconds": round(state.seconds, 3)}
        line |= {"loading_seconds": round(loading, 4)}
        line |= self.usage.of_step(sum(batch.tokens for batch in batches), seconds)
        line |= self.stage.figures()
        bits = self.stage.bits_per_byte(loss)
        if bits is not None:
            line["bits_per_byte"] = bits
        self._record(line)
        words = f"loss {loss:.3f}" + (f", {bits:.2f} bits/byte" if bits is not None else "")
        rate = state.tokens / state.seconds
        told = f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"
        bar.advance(1, f"{words}, {told} {self.stage.unit}/s")
        return True

    def _pass_over(self, batches: Sequence[B]) -> None:
        """Go on with the next window, and write that down. Raises `BadInput` where none of many has
        anything to learn."""
        self.empty += 1
        if self.empty > max(EMPTY, self.settings.steps):
            raise BadInput(
                f"In {self.empty} steps' data there is nothing to learn.",
                remedy="`langwright show-batch` shows what is masked.",
            )
        self._write_down(self.guard.pass_over(), batches)

    def _refuse(
        self, verdict: Verdict, loss: float, norm: float, batches: Sequence[B], bar: Bar
    ) -> None:
        """Leave the batch out, and go back if need be; write it down. Raises `Diverged`."""
        before = self.state.step
        self.stage.figures()  # of a step that was not made
        incident = self.guard.refuse(verdict, loss, norm)
        self._write_down(incident, batches)
        if incident.back_to is not None:
            bar.advance(self.state.step - before)
            self._save()

    def _write_down(self, incident: Incident, batches: Sequence[B]) -> None:
        if self.ranks.leads:
            # What is not made good in the checkpoint is done again after a kill, its line too.
            self.run.truncate_metrics(self.state.step, incident.number - 1)
            self.run.append_metrics(incident.line())
            write_incident(self.run, incident, self.stage, batches)
        if incident.decision == "stop":
            raise diverged(incident, self.run)
        tell(incident)

    def _evaluate_if_due(self) -> None:
        """Evaluate at the start, every `eval_every` steps and at the end; once a step."""
        step = self.state.step
        if step % self.settings.eval_every and step != self.settings.steps:
            return
        done = [line for line in self.run.read_metrics() if "val_loss" in line]
        if self.ranks.agree(bool(done) and done[-1]["step"] == step):
            self.metrics = {key: done[-1][key] for key in done[-1] if key.startswith("val_")}
            return
        self.module.eval()
        self.metrics = self.stage.evaluate(self.module, whole=False)
        self.module.train()
        self.stage.evaluated(step)
        if self.stage.best == step and self.saved != step:
            self._save()
        minutes = {"tokens": self.state.tokens, "seconds": round(self.state.seconds, 3)}
        self._record({"step": step, **minutes, **self.metrics})

    def _record(self, line: dict[str, Any]) -> None:
        if self.ranks.leads:
            self.run.append_metrics(line)

    def _save(self) -> None:
        weights = {name: held.cpu().clone() for name, held in self.learner.weights().items()}
        tensors = self.learner.optimizers.tensors()
        values, needed = self.state.values(), [*self.state.guard.snapshots]
        if self.stage.best is not None:
            needed.append(self.stage.best)
        self.saver.save(values, self.trained.over(weights), tensors, needed)
        self.saved = self.state.step

    def float32(self) -> Trained[M]:
        """The model over the float32 weights themselves."""
        return self.trained.over(self.learner.weights())


def _dropout_seed(seed: int, step: int) -> int:
    return int(np.random.SeedSequence(seed, spawn_key=(step,)).generate_state(1, np.uint64)[0])
