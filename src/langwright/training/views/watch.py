"""The verb `watch`: how runs are going, from their metrics alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from statistics import mean
from typing import Any

from langwright.errors import BadInput
from langwright.store import Run, Store
from langwright.training.views.course import Course, Line, is_number
from langwright.training.views.exporters import Stream

REFRESH_S = 1.0
CURVE_POINTS = 400
SHOWN = 5
"""The newest incidents and samples."""

Frame = dict[str, Any]

_LATEST = ("loss", "bits_per_byte", "gradient_norm", "learning_rate", "tokens", "seconds")
_OPTIONAL = ("memory_bytes", "mfu")
_MEASURED = ("val_loss", "val_bits_per_byte")


def watch(
    *runs: str,
    to: Sequence[str] = (),
    follow: bool = False,
    look: Callable[[Frame], object] | None = None,
    store: Store | None = None,
) -> Frame:
    """The figures of runs, of any stage, finished or not: {"runs": […], "exported": […]}.

    A run is {"run", "status", "step", "steps", "loss", "bits_per_byte", "val_loss",
    "val_bits_per_byte", "gradient_norm", "learning_rate", "tokens", "seconds",
    "tokens_per_second", "memory_bytes", "mfu", "seconds_left", "curve", "val_curve", "incidents",
    "samples"}; what its metrics do not tell is None. "seconds_left" are those of training steps, at
    the pace of the last ones. Curves are [step, loss] pairs, at most 400 of them (means of
    neighbouring steps).

    With `follow` it looks again every second, calls `look` with each frame, and returns the last
    one when no run is running any more, or on Ctrl-C. `to` names places where all lines go:
    tensorboard:DIR, trackio:PROJECT, wandb:PROJECT.

    Raises `NotFound` for an unknown run; of `to`, as `open_exporter`.
    """
    if not runs:
        raise BadInput("There is no run to watch.", remedy="Name one from `langwright list`.")
    store = store or Store()
    held = {name: store.run(name) for name in runs}
    settings = {name: run.settings for name, run in held.items()}  # raises for one that is none
    streams: dict[str, Stream] = {}
    frame: Frame = {}
    try:
        for name, run in held.items():
            streams[name] = Stream(to, run)
        while True:
            told = []
            for name, run in held.items():
                status = run.status  # before the lines: what is ended has written its last one
                lines = run.read_metrics()
                streams[name].send(lines)
                told.append(_figures(run, status, settings[name], lines))
            exported = [
                {"run": name, "to": list(to), "lines": stream.written}
                for name, stream in streams.items()
                if to
            ]
            frame = {"runs": told, "exported": exported}
            if look is not None:
                look(frame)
            if not follow or all(one["status"] != "running" for one in told):
                return frame
            time.sleep(REFRESH_S)
    except KeyboardInterrupt:
        if not frame:
            raise
        return frame
    finally:
        for stream in streams.values():
            stream.close()


def _figures(
    run: Run, status: str, settings: dict[str, Any], lines: Sequence[Line]
) -> dict[str, Any]:
    course = Course.of(lines)
    steps: int | None = settings.get("steps")  # a journey of several stages has none
    left = None if steps is None or status == "finished" else course.seconds_left(steps)
    return {
        "run": run.name,
        "status": status,
        "step": course.step,
        "steps": steps,
        **{key: _last(course.steps, key) for key in (*_LATEST, *_OPTIONAL)},
        **{key: _last(course.evaluations, key) for key in _MEASURED},
        "tokens_per_second": course.tokens_per_second(),
        "seconds_left": left,
        "curve": _curve(course.steps, "loss"),
        "val_curve": _curve(course.evaluations, "val_loss"),
        "incidents": [dict(line) for line in course.incidents[-SHOWN:]],
        "samples": [dict(line) for line in course.samples[-SHOWN:]],
    }


def _last(lines: list[Line], key: str) -> float | None:
    values = [line[key] for line in lines[-1:] if is_number(line.get(key))]
    return values[0] if values else None


def _curve(lines: list[Line], key: str) -> list[list[float]]:
    points = [(line["step"], line[key]) for line in lines if is_number(line[key])]
    size = -(-len(points) // CURVE_POINTS) or 1
    parts = [points[start : start + size] for start in range(0, len(points), size)]
    return [[part[-1][0], mean(value for _, value in part)] for part in parts]
