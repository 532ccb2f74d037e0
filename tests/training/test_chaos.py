"""A run killed again and again at any moment ends with the bits of one that was left alone."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from langwright.store import Run, Store

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

WARM = """
# Everything is imported once; each command is then a process of its own, with the program's own
# entry point. Some windows of the data are poisoned, so that the guard has work to do meanwhile.
import json, os, sys
from dataclasses import replace
import torch
from langwright.cli.main import main
from langwright.training.stages.pretrain import Pretrain

plain, bad = Pretrain.micro_batches, range(33, 37)

def micro_batches(self, step):
    batches = plain(self, step)
    if step not in bad:
        return batches
    draw = torch.Generator().manual_seed(step)
    found = []
    for one in batches:
        drawn = torch.randint(300, one.targets_BT.shape, generator=draw)
        drawn = torch.where(one.targets_BT < 0, one.targets_BT, drawn)
        found.append(replace(one, targets_BT=drawn))
    return found

Pretrain.micro_batches = micro_batches
for line in sys.stdin:
    words, out, err = json.loads(line)
    pid = os.fork()
    if pid == 0:
        for number, path, mode in ((0, os.devnull, "r"), (1, out, "w"), (2, err, "w")):
            with open(path, mode) as file:
                os.dup2(file.fileno(), number)
        sys.argv = ["langwright", *words]
        main()
    print(pid, flush=True)
    sys.stdin.readline()  # until then it stays, as a zombie at worst
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""
ROWS_PER_STEP = 4


@dataclass
class Program:
    """One run of the program, forked from the warm process."""

    warm: subprocess.Popen[str]
    pid: int
    folder: Path

    def signal(self, number: int) -> None:
        # It is a zombie at worst: the warm process reaps it only when it is asked for its code.
        os.kill(self.pid, number)

    def code(self) -> int:
        assert self.warm.stdin is not None
        assert self.warm.stdout is not None
        self.warm.stdin.write("\n")
        self.warm.stdin.flush()
        return int(self.warm.stdout.readline())

    def running(self) -> bool:
        """False also where it has ended and not been asked for its code."""
        try:
            return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except FileNotFoundError:
            return False


class Warm:
    """The process that has imported everything."""

    def __init__(self, home: Path) -> None:
        self.folder = home.parent
        self.process = subprocess.Popen(
            [sys.executable, "-c", WARM],
            env={**os.environ, "LANGWRIGHT_HOME": str(home)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self, *words: str) -> Program:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        out, err = (str(self.folder / name) for name in ("out", "err"))
        self.process.stdin.write(json.dumps([words, out, err]) + "\n")
        self.process.stdin.flush()
        return Program(self.process, int(self.process.stdout.readline()), self.folder)

    def result(self) -> dict[str, Any]:
        result: dict[str, Any] = json.loads((self.folder / "out").read_text())
        return result


@pytest.fixture
def warm(home: Path) -> Iterator[Warm]:
    warm = Warm(home)
    yield warm
    warm.process.communicate()


@pytest.fixture
def command(words: str, recipe: str) -> list[str]:
    settings = {"corpus": words, "checkpoint_every": 5, "eval_every": 20, "vocab_size": 300}
    return ["pretrain", recipe, "--json", *(f"{key}={value}" for key, value in settings.items())]


def last_step(run: Run) -> int:
    """The last step whose line has been written."""
    if not run.metrics_path.exists():
        return 0
    return max((line["step"] for line in run.read_metrics() if "loss" in line), default=0)


def saved_step(run: Run) -> int:
    """The step that the run will go on from."""
    pointer = run.checkpoints / "latest"
    return int(pointer.read_text().removeprefix("step-")) if pointer.exists() else 0


def strike(program: Program, run: Run, moment: str, edges: list[int], draw: random.Random) -> None:
    """Wait for a moment and send the signal; nothing where the run ends before."""
    start = saved_step(run)
    # Lines that the last one left and this one has not made are not to be taken for its own.
    while moment not in ("start", "save") and program.running() and last_step(run) != start:
        time.sleep(0.0005)
    aside = run.checkpoints / f"aside-{program.pid}"
    edge = min((edge for edge in edges if edge > start), default=0)
    until = {
        "start": lambda: True,
        "step": lambda: last_step(run) >= start + 1 + target,
        "SIGTERM": lambda: last_step(run) >= start + 1 + target,
        "save": aside.exists,
        "epoch": lambda: last_step(run) >= edge,
    }[moment]
    target = draw.randrange(8)
    while program.running() and not until():
        time.sleep(0.0005)
    # Somewhere within what comes then: a step takes some hundredths of a second.
    time.sleep(draw.random() * {"start": 0.5, "save": 0.01}.get(moment, 0.03))
    program.signal(signal.SIGTERM if moment == "SIGTERM" else signal.SIGKILL)


@pytest.mark.parametrize(
    ("kills", "steps"),
    [pytest.param(7, 50, id="7"), pytest.param(50, 240, id="50", marks=pytest.mark.slow)],
)
def test_killed_at_any_moment_it_ends_with_the_same_bits(
    warm: Warm, command: list[str], store: Store, kills: int, steps: int
) -> None:
    assert warm.start(*command, "--name", "whole", f"steps={steps}").code() == 0
    whole = warm.result()
    rows = steps * ROWS_PER_STEP / whole["metrics"]["epochs"]
    edges = [int(epoch * rows / ROWS_PER_STEP) for epoch in range(1, steps)]
    seed = random.randrange(10**6)
    draw, run = random.Random(seed), store.run("run")
    moments = ["start", "step", "SIGTERM", "save", "epoch"]
    lost: list[tuple[str, int]] = []
    for turn in range(kills):
        moment = moments[turn % len(moments)]
        program = warm.start(*command, "--name", "run", f"steps={steps}")
        before = (last_step(run), saved_step(run))
        strike(program, run, moment, edges, draw)
        code = program.code()
        if code == 0:
            break
        # Before the loop holds it back SIGTERM ends the program as it ends any.
        assert code in ((130, -signal.SIGTERM) if moment == "SIGTERM" else (-signal.SIGKILL,))
        after = (last_step(run), saved_step(run))
        lost.append((moment, 0 if after == before else max(0, after[0] - after[1])))
        assert lost[-1][1] == 0 or moment != "SIGTERM"
    assert warm.start(*command, "--name", "run", f"steps={steps}").code() == 0
    told = f"seed {seed}; steps done again after each kill: {lost}"
    print(told)
    assert warm.result()["weights_sha256"] == whole["weights_sha256"], told
    assert len(lost) >= kills // 2, told
    # No more than since the last checkpoint but one: the last may still have been in the making.
    assert max(steps for _, steps in lost) <= 10, told
    assert _lines(run) == _lines(store.run("whole")), told
    assert [one for one in _lines(run) if "incident" in one], told


def _lines(run: Run) -> list[dict[str, Any]]:
    """All that was recorded, but for the time and the memory it took."""
    return [
        {key: line[key] for key in line if not key.endswith(("seconds", "memory_bytes"))}
        for line in run.read_metrics()
    ]
