"""Metrics lines of runs, sent on to other programs' dashboards: TensorBoard, Trackio, W&B."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from langwright.errors import BadInput, Unsupported, suggest
from langwright.store import Run
from langwright.training.views.course import Line, is_number


class Exporter(Protocol):
    """Where the lines of one run go. A line whose step was there before takes its place, as far as
    the other program can do that."""

    def write(self, line: Line) -> None: ...

    def close(self) -> None: ...


def open_exporter(target: str, run: Run) -> Exporter:
    """The exporter that `KIND:PLACE` names, for one run.

    Raises `BadInput` for a target that is none, `Unsupported` where its package is missing.
    """
    kind, colon, place = target.partition(":")
    if kind not in _KINDS or not colon or not place:
        raise BadInput(
            f"'{target}' is no place for metrics.",
            remedy="Give tensorboard:DIR, trackio:PROJECT or wandb:PROJECT."
            if kind in _KINDS
            else suggest(kind, _KINDS),
        )
    found = find_spec(kind)
    if found is None or found.origin is None:  # a folder of that name is no package
        raise Unsupported(
            f"The package {kind} is not installed.", remedy=f"pip install 'langwright[{kind}]'"
        )
    with redirect_stdout(sys.stderr):  # standard output is for results
        return _KINDS[kind](place, run)


class _TensorBoard:
    """Event files in DIR/RUN: a scalar for each number, a text for each incident and sample."""

    def __init__(self, place: str, run: Run) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._folder = Path(place).expanduser() / run.name
        self._open = SummaryWriter
        # What an earlier export wrote is not to be seen twice.
        self._writer = SummaryWriter(str(self._folder), purge_step=0)
        self._step = 0

    def write(self, line: Line) -> None:
        step = int(line["step"])
        if step < self._step:  # the run went back
            self._writer.close()
            self._writer = self._open(str(self._folder), purge_step=step)
        self._step = step
        for key, value in _numbers(line).items():
            self._writer.add_scalar(key, value, step)
        for key, text in _texts(line).items():
            self._writer.add_text(key, text, step)

    def close(self) -> None:
        self._writer.close()


class _Trackio:
    """A run of a Trackio project; local unless Trackio is set up otherwise."""

    def __init__(self, place: str, run: Run) -> None:
        import trackio

        self._run = trackio.init(
            project=place,
            name=run.name,
            config=run.settings,
            embed=False,
            auto_log_gpu=False,  # this machine need not be the one that trains
            auto_log_cpu=False,
        )

    def write(self, line: Line) -> None:
        values: dict[str, Any] = {**_numbers(line), **_texts(line)}
        if values:
            self._run.log(values, step=int(line["step"]))

    def close(self) -> None:
        import trackio

        with redirect_stdout(sys.stderr), suppress(RuntimeError):
            self._run.finish()
            # Or it would finish the newest once more when Python ends, and say so.
            trackio.finish()


class _WandB:
    """A run of a Weights & Biases project; WANDB_MODE=offline keeps it in a folder."""

    def __init__(self, place: str, run: Run) -> None:
        import wandb

        self._run = wandb.init(
            project=place,
            name=run.name,
            config=run.settings,
            reinit="create_new",
            settings=wandb.Settings(console="off", silent=True, x_disable_stats=True),
        )
        # A step of its own, since W&B's may not go back as a run may.
        self._run.define_metric("*", step_metric="step")

    def write(self, line: Line) -> None:
        values = {**_numbers(line), **_texts(line)}
        if values:
            self._run.log({"step": int(line["step"]), **values})

    def close(self) -> None:
        self._run.finish()


_KINDS: Mapping[str, Callable[[str, Run], Exporter]] = {
    "tensorboard": _TensorBoard,
    "trackio": _Trackio,
    "wandb": _WandB,
}


class Stream:
    """The lines of a run on their way to its exporters: each once, but after the run went back."""

    def __init__(self, targets: Sequence[str], run: Run) -> None:
        self._exporters: list[Exporter] = []
        self._sent: list[Line] = []
        self.written = 0
        """Lines so far."""
        try:
            for target in targets:
                self._exporters.append(open_exporter(target, run))
        except BaseException:
            self.close()
            raise

    def send(self, lines: Sequence[Line]) -> None:
        """All lines that there are now."""
        same = 0
        while same < min(len(lines), len(self._sent)) and lines[same] == self._sent[same]:
            same += 1
        self._sent = list(lines)
        for line in lines[same:] if self._exporters else ():
            for exporter in self._exporters:
                exporter.write(line)
            self.written += 1

    def close(self) -> None:
        for exporter in self._exporters:
            exporter.close()


def _numbers(line: Line) -> dict[str, float]:
    return {key: value for key, value in line.items() if key != "step" and is_number(value)}


def _texts(line: Line) -> dict[str, str]:
    found = {key: line[key] for key in ("incident", "sample") if key in line}
    return {
        key: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for key, value in found.items()
    }
