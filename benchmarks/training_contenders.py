"""The contenders of the benchmarks of training, each in a process of its own.

python training_contenders.py NAME ORDER     waits for lines: {"warm": N}, {"steps": N}
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from importlib import import_module
from typing import IO, TYPE_CHECKING, Any

from training_models import MAKERS, Order, Step

if TYPE_CHECKING:
    from torch import nn

Figures = dict[str, Any]
NEEDED = {"langwright": "langwright.training.learner", "transformers": "transformers"}
"""What takes long to import: done before anything is timed."""


def counted(model: nn.Module) -> Figures:
    """`parameters`, and `matrices`: those that a token is multiplied with, the head included."""
    from torch import nn

    matrices = {id(one.weight): one.weight for one in model.modules() if isinstance(one, nn.Linear)}
    return {
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "matrices": sum(weight.numel() for weight in matrices.values()),
    }


def child(name: str, order: Order) -> None:
    # Peers print; the answers have the standard output for themselves.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    import torch

    if name in NEEDED:
        import_module(NEEDED[name])
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            if "warm" in asked:
                torch.manual_seed(0)
                torch.set_float32_matmul_precision("high" if order.device == "cuda" else "highest")
                step, model = MAKERS[name](order)
                found = counted(model)
                times = [timed(step, order.device) for _ in range(asked["warm"])]
                found |= {"first_step_s": times[0]}
            else:
                found = {"seconds": [timed(step, order.device) for _ in range(asked["steps"])]}
            found["peak_memory_bytes"] = (
                torch.cuda.max_memory_allocated()
                if order.device == "cuda"
                else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            )
        except Exception as error:
            found = {"error": f"{type(error).__name__}: {error}".partition("\n")[0]}
        print(json.dumps(found), file=answers, flush=True)


def timed(step: Step, device: str) -> float:
    import torch

    if device == "cuda":
        torch.cuda.synchronize()
    started = time.perf_counter()
    step()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


class Contender:
    """The process of one, which imports what it needs and then waits to be asked."""

    def __init__(self, name: str, order: Order) -> None:
        self.errors: IO[str] = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self.process = subprocess.Popen(
            [sys.executable, __file__, name, order.write()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
        )

    def ask(self, limit: float = 1800.0, **words: int) -> Figures:
        """The answer, or {"error"} when it failed or took more than `limit` seconds."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        timer = threading.Timer(limit, self.process.kill)
        timer.start()
        try:
            self.process.stdin.write(json.dumps(words) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        over = not timer.is_alive()
        timer.cancel()
        if line:
            found: Figures = json.loads(line)
            return found
        if over:
            return {"error": f"not done after {limit:.0f} s"}
        self.errors.seek(0)
        said = self.errors.read().strip().splitlines()
        return {"error": said[-1] if said else "it ended without a word"}

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.errors.close()


if __name__ == "__main__":
    child(sys.argv[1], Order.read(sys.argv[2]))
