"""`langwright bench`: how fast models answer, side by side."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from langwright.backend import Device, Dtype
from langwright.errors import BadInput, LangwrightError, suggest
from langwright.progress import say
from langwright.providers.backends import NAMES
from langwright.providers.contender import Order

PACKAGES = ("langwright", "torch", "xllamacpp", "transformers")


def bench(
    models: Sequence[str],
    *,
    backend: Sequence[str] = ("own",),
    concurrency: Sequence[int] = (1, 2, 4, 8, 16),
    prompt_tokens: int = 512,
    tokens: int = 128,
    dtype: Dtype = "float32",
    device: Device = "cpu",
    rounds: int = 3,
) -> dict[str, Any]:
    """Measure each of `models` (named as in `load`) in each of `backend`: a process for each, one
    at a time, in `rounds` that go round all of them, so that what slows the machine for a while
    slows none alone.

    A figure is `{"median", "min", "max"}` over the rounds; seconds, and tokens a second. Prompts
    are `prompt_tokens` random tokens, answers `tokens` at temperature 1. `decode_tokens_per_s` is
    the sum over all requests while all are being answered; `total_tokens_per_s` has the prompts in
    its time too. `against_own` divides by the own engine's, where it was measured beside. Memory is
    the process's peak, mapped files among it; null where another process has the model.

    `device` is where the own engine computes.

    A contender that fails is a row with `error`. Raises `BadInput` for sizes that are none.
    """
    if not models or not backend:
        raise BadInput("Nothing to measure is named.", remedy="Name at least one model.")
    if min(prompt_tokens, tokens, rounds, *concurrency, 256) < 1 or not concurrency:
        raise BadInput("A size is below 1.", remedy="Give sizes of at least 1.")
    for name in backend:
        if name not in NAMES:
            raise BadInput(f"There is no back end '{name}'.", remedy=suggest(name, NAMES))
    contenders = [(model, name) for model in models for name in backend]
    found: dict[tuple[str, str], list[dict[str, Any]]] = {one: [] for one in contenders}
    failed: dict[tuple[str, str], dict[str, Any]] = {}
    for number in range(rounds):
        for model, name in contenders:
            if (model, name) in failed:
                continue
            say(f"round {number + 1} of {rounds}: {model} in {name}")
            order = Order(
                model, name, dtype, device, tuple(concurrency), prompt_tokens, tokens, seed=number
            )
            told = _child(order)
            if "error" in told:
                failed[model, name] = told["error"]
            else:
                found[model, name].append(told)
    rows = [
        {"model": model, "backend": name, "dtype": dtype}
        | ({"error": failed[model, name]} if (model, name) in failed else _row(found[model, name]))
        for model, name in contenders
    ]
    for row in rows:
        _compare(row, rows)
    return {
        "machine": machine(),
        "settings": {
            "prompt_tokens": prompt_tokens,
            "tokens": tokens,
            "concurrency": list(concurrency),
            "rounds": rounds,
        },
        "results": rows,
    }


def _child(order: Order) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "langwright.providers.contender", order.to_json()],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        check=False,
    )
    lines = done.stdout.splitlines()
    if done.returncode == 0 and lines:
        told: dict[str, Any] = json.loads(lines[-1])
        return told
    last = (done.stderr.strip().splitlines() or ["nothing"])[-1]
    error = LangwrightError(
        f"The process of {order.model} in {order.backend} ended with {done.returncode}; the last "
        f"that it said: {last}",
        remedy="Try smaller sizes, or another back end.",
    )
    return error.to_json()


def _row(told: list[dict[str, Any]]) -> dict[str, Any]:
    """The figures of all rounds as one."""
    row: dict[str, Any] = {}
    for key, value in told[0].items():
        if key == "concurrent":
            row[key] = [_row([*same]) for same in zip(*(one[key] for one in told), strict=True)]
        elif key in ("concurrency", "shared_prefix_tokens"):
            row[key] = value
        else:
            row[key] = _spread([one[key] for one in told])
    return row


def _spread(values: Sequence[float | None]) -> dict[str, float] | None:
    there = [value for value in values if value is not None]
    if not there:
        return None
    return {"median": statistics.median(there), "min": min(there), "max": max(there)}


def _compare(row: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    """Put beside each rate how many times the own engine's it is."""
    own = next(
        (one for one in rows if one["model"] == row["model"] and one["backend"] == "own"), None
    )
    if "error" in row:
        return
    for part in row["concurrent"]:
        theirs = None
        if own is not None and "error" not in own:
            theirs = next(
                one for one in own["concurrent"] if one["concurrency"] == part["concurrency"]
            )
        ours, base = part["decode_tokens_per_s"], theirs and theirs["decode_tokens_per_s"]
        part["against_own"] = ours["median"] / base["median"] if ours and base else None


def machine() -> dict[str, Any]:
    """What was measured on, with the versions of what computes."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
        name = next((one.split(":", 1)[1].strip() for one in lines if "model name" in one), name)
    versions: dict[str, str | None] = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = None
    return {
        "cpu": name,
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": versions,
    }
