"""Steps while a checkpoint is written, beside steps while none is.

    python benchmarks/saving.py [--width 384] [--steps 24] [--every 4] [--corpus NAME]

A run of the plan's size of that width saves every few steps. An interval goes from the end of one
step to the end of the next: that after a save has the copying of what is to be saved, and the
writing of another thread beside it.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import langwright as lw
from langwright.lifecycle.ladder import ladder, pace
from langwright.store import Run, Store
from langwright.training.loop import train
from langwright.training.rebuilt import rebuild


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--width", type=int, default=384)
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--every", type=int, default=4)
    parser.add_argument("--corpus", default="python-docs")
    given = parser.parse_args()
    rung = next(one for one in ladder(4096, 256) if one.hidden_size == given.width)
    settings = rung.settings() | pace(rung.shape, 1e6) | {"corpus": given.corpus}
    settings |= {"tokens_per_step": 4096, "validation_fraction": 0.01, "eval_every": 10_000}
    settings |= {"checkpoint_every": given.every, "snapshot_every": 10_000}
    with tempfile.TemporaryDirectory() as home:
        store = Store(Path(home))
        recipe = Path(home) / "saving.toml"
        recipe.write_text("[pretrain]\n")
        lw.pretrain(str(recipe), name="one", store=store, **settings | {"steps": 1})
        rebuilt = rebuild(store.run("one"), store)
        longer = rebuilt.settings.model_copy(update={"steps": given.steps})
        run = Run(Path(home) / "timed", "timed").open({})
        begun, stage = rebuilt.prepare(longer)
        ends = [(0, time.perf_counter())]
        train(
            run,
            begun,
            stage,
            longer,
            watch=lambda step, *_: ends.append((step, time.perf_counter())),
        )
        (newest,) = run.checkpoints.glob(f"step-{given.steps:08d}")
        size = sum(file.stat().st_size for file in newest.rglob("*") if file.is_file())
    saving, quiet = [], []
    for (before, start), (_, end) in pairwise(ends[1:]):
        (saving if before % given.every == 0 else quiet).append(end - start)
    found = [statistics.median(saving), statistics.median(quiet)]
    print(
        f"{rung.shape.num_parameters:,} parameters, checkpoints of {size / 1e6:,.0f} MB; seconds "
        f"from step to step: {found[0]:.2f} [{min(saving):.2f} to {max(saving):.2f}] while saving, "
        f"{found[1]:.2f} [{min(quiet):.2f} to {max(quiet):.2f}] while not: "
        f"{found[0] / found[1]:.2f} times"
    )


if __name__ == "__main__":
    main()
