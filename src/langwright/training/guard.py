"""The guard: a batch whose loss or gradient is out of all proportion does not move the weights.

A decision is a function of the loss and the norm, which are sums over all ranks and those of the
first, and of what is remembered in the checkpoint. So it falls alike on every rank, and again after
a kill.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from langwright.errors import LangwrightError
from langwright.progress import say
from langwright.store import Run
from langwright.training.incident import Incident, incidents_folder
from langwright.training.learner import Learner
from langwright.training.settings import LoopSettings
from langwright.training.snapshot import Snapshot
from langwright.training.spike import LEVEL, doubled, excess
from langwright.training.state import GuardState, TrainingState

HISTORY = 100
"""Accepted steps that a new one is compared with; also how far apart two rollbacks must lie to have
nothing to do with each other."""
PATIENCE = 3
"""Batches in a row of which the last one shows that it is not the data."""
ROLLBACKS = 3
KEPT = 2
"""Snapshots: the newest may hold the damage already."""
LOSS_FLOOR, NORM_FLOOR = 0.02, 0.4
"""The least noise assumed, as a logarithm. Single gradients are often ten times as large as their
neighbours, which clipping makes harmless."""


class Diverged(LangwrightError):
    """The loss has run away, and going back did not help."""

    type = "diverged"


class SnapshotLost(Exception):
    """The run must go back to a snapshot that lay in the memory of a process that is gone."""

    def __init__(self, step: int) -> None:
        super().__init__(step)
        self.step = step


@dataclass(frozen=True)
class Verdict:
    """`z_loss`, `z_norm`: how far above the last accepted steps, in units of their noise."""

    decision: Literal["accept", "skip", "rollback"]
    z_loss: float
    z_norm: float


def judge(memory: GuardState, loss: float, norm: float, threshold: float) -> Verdict:
    """What to do with a batch of this loss and gradient norm.

    Its weights are still those of the last accepted step, so leaving one bad batch out is enough.
    When the third in a row is bad, the weights are (or all of this stretch of data is): the run
    goes back. So it does when the loss has slowly come to twice what it was at the start.
    """
    z_loss = excess(memory.losses, loss, LOSS_FLOOR)
    z_norm = excess(memory.norms, norm, NORM_FLOOR)
    spike = max(z_loss, z_norm) >= threshold
    if doubled(memory.first, [*memory.losses, loss]) or (spike and memory.refused + 1 == PATIENCE):
        return Verdict("rollback", z_loss, z_norm)
    return Verdict("skip" if spike else "accept", z_loss, z_norm)


def skipped_windows(run: Run) -> list[int]:
    """The data windows that a run has left out so far, in order."""
    lines = [line["incident"] for line in run.read_metrics() if "incident" in line]
    spans = [line["skipped"] for line in lines if line["skipped"]]
    return sorted({window for first, last in spans for window in range(first, last + 1)})


def window_of(step: int, skipped: Sequence[int]) -> int:
    """The data window that the update after `step` learns from: the windows in order, without
    `skipped` (in order)."""
    window = step
    for bad in skipped:
        window += bad <= window
    return window


class Guard:
    """Watches over the steps of a run and changes its `state`; the loop asks it at each step.

    On the first rollback the run returns to its newest snapshot, on the next one within `HISTORY`
    steps to the one before, as the newest may be damaged already. The windows since then are left
    out. A learning rate that is too high would do the same again with any data, so from the second
    such rollback on all rates are halved for the rest: halving costs a healthy run little, and
    what explodes above the edge of stability is calm half a step below it. After `ROLLBACKS` of
    them it is `Diverged`.
    """

    def __init__(self, settings: LoopSettings, state: TrainingState, learner: Learner[Any]) -> None:
        self._settings, self._state, self._learner = settings, state, learner
        self._snapshots: dict[int, Snapshot] = {}
        if not settings.guard:
            return
        if not state.guard.snapshots:
            self._keep()
        elif state.step in state.guard.snapshots:
            self._take()

    @property
    def window(self) -> int:
        """The data window of the next step."""
        return window_of(self._state.step, self._state.guard.skipped)

    @property
    def rate(self) -> float:
        """What the learning rates are multiplied with."""
        return self._state.guard.rate

    def judge(self, loss: float, norm: float) -> Verdict:
        """The verdict on the batch just worked through, over all ranks."""
        if self._settings.guard:
            return judge(self._state.guard, loss, norm, self._settings.guard_threshold)
        if math.isfinite(loss) and math.isfinite(norm):
            return Verdict("accept", 0.0, 0.0)
        raise Diverged(
            f"The loss at step {self._state.step + 1} is {loss}, the gradient's norm {norm}.",
            remedy="Lower learning_rate (or raise warmup_steps) and start under another name; or "
            "leave guard on.",
        )

    def accept(self, loss: float, norm: float) -> None:
        """The step has been made."""
        if not self._settings.guard:
            return
        memory = self._state.guard
        memory.losses = [*memory.losses, loss][-HISTORY:]
        memory.norms = [*memory.norms, norm][-HISTORY:]
        memory.first = [*memory.first, loss][:LEVEL]
        memory.refused = 0
        if self._state.step % self._settings.snapshot_every == 0:
            self._keep()

    def refuse(self, verdict: Verdict, loss: float, norm: float) -> Incident:
        """Leave the batch out, its gradients too, and go back if the verdict says so.

        Raises `SnapshotLost`. The incident's decision is `stop` when going back has not helped;
        then nothing has changed.
        """
        memory = self._state.guard
        step, window = self._state.step, self.window
        memory.incidents += 1
        incident = Incident(
            number=memory.incidents,
            step=step + 1,
            decision=verdict.decision,
            window=window,
            skipped=[window, window],
            loss=loss,
            gradient_norm=norm,
            z_loss=verdict.z_loss,
            z_norm=verdict.z_norm,
            rate=memory.rate,
        )
        if verdict.decision == "skip":
            memory.refused += 1
            memory.skipped = [*memory.skipped, window]
            self._learner.forget()
            return incident
        before = sum(other > step - HISTORY for other in memory.rollbacks)
        if before == ROLLBACKS:
            return replace(incident, decision="stop", skipped=None)
        back = memory.snapshots[-1 if before == 0 else 0]
        if back not in self._snapshots:
            raise SnapshotLost(back)
        self._restore(self._snapshots[back])
        first = self.window
        memory.skipped = sorted({*memory.skipped, *range(first, window + 1)})
        memory.rollbacks = [*memory.rollbacks, step]
        if before:
            memory.rate /= 2
        return replace(incident, back_to=back, skipped=[first, window], rate=memory.rate)

    def pass_over(self) -> Incident:
        """Leave out the next window, in which there is nothing to learn."""
        memory, window = self._state.guard, self.window
        memory.incidents += 1
        memory.skipped = [*memory.skipped, window]
        return Incident(
            number=memory.incidents,
            step=self._state.step + 1,
            decision="empty",
            window=window,
            skipped=[window, window],
            loss=0.0,
            gradient_norm=0.0,
            z_loss=0.0,
            z_norm=0.0,
            rate=memory.rate,
        )

    def _restore(self, snapshot: Snapshot) -> None:
        """The tensors and what belongs to the step; what was learnt about the data stays."""
        snapshot.restore(self._learner)
        state, memory = self._state, self._state.guard
        then = TrainingState.of(snapshot.state)
        state.step, state.tokens, state.loss = then.step, then.tokens, then.loss
        memory.losses, memory.norms = then.guard.losses, then.guard.norms
        memory.first, memory.refused = then.guard.first, 0
        memory.snapshots = [step for step in memory.snapshots if step <= state.step]
        self._drop()

    def _keep(self) -> None:
        """Another snapshot; the oldest makes room."""
        memory = self._state.guard
        memory.snapshots = [*memory.snapshots, self._state.step][-KEPT:]
        self._take()

    def _take(self) -> None:
        old = self._drop()
        snapshot = old[0] if old else Snapshot()
        snapshot.take(self._learner, self._state)
        self._snapshots[self._state.step] = snapshot

    def _drop(self) -> list[Snapshot]:
        """Forget the snapshots that are no longer among the state's."""
        gone = [step for step in self._snapshots if step not in self._state.guard.snapshots]
        return [self._snapshots.pop(step) for step in gone]


def diverged(incident: Incident, run: Run) -> Diverged:
    """The error after the last incident of a run."""
    folder = incidents_folder(run)
    return Diverged(
        f"At step {incident.step} the loss has run away again ({incident.loss:.4g}, gradient norm "
        f"{incident.gradient_norm:.4g}), after {ROLLBACKS} rollbacks. The records are in {folder}.",
        remedy="Lower learning_rate (or raise warmup_steps) and start under another name. If the "
        "records show that all is well, raise guard_threshold, or set guard=false.",
    )


def tell(incident: Incident) -> None:
    """Say what has happened and what is done about it."""
    if incident.decision == "empty":
        left_out = f"nothing to learn in window {incident.window}, which is left out"
        say(f"Step {incident.step}: {left_out}.")
        return
    what = (
        f"Step {incident.step}: loss {incident.loss:.4g} (z {incident.z_loss:.1f}), gradient norm "
        f"{incident.gradient_norm:.4g} (z {incident.z_norm:.1f})."
    )
    if incident.decision == "skip":
        say(f"{what} Its batch is left out.")
    elif incident.decision == "rollback":
        first, last = incident.skipped or [incident.window] * 2
        slower = f"; learning rates times {incident.rate:g}" if incident.rate < 1 else ""
        say(f"{what} Back to step {incident.back_to}, without windows {first} to {last}{slower}.")
