"""Steps to one loss: Muon beside AdamW, both with a group of its own for the embedding table.

    OMP_NUM_THREADS=1 python benchmarks/optimizers.py [--corpus PATH] [--seeds 3]

Small models are trained with each optimizer at several rates (seed 0), and then with its best one
from several seeds; the rates stay as they are after the warm-up. The goal is the mean bits per byte
on held-out text at which AdamW ends; the figure is the step at which each run first gets there,
between evaluations by a straight line.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from pathlib import Path
from typing import Any

import langwright as lw
from langwright.store import Store

SHAPE: dict[str, Any] = {
    "vocab_size": 1024,
    "hidden_size": 96,
    "intermediate_size": 256,
    "num_layers": 3,
    "num_heads": 3,
    "num_kv_heads": 3,
    "context_length": 128,
    "tokens_per_step": 1024,
    "micro_batch_tokens": 1024,
    "embedding_learning_rate": 5e-3,
    "warmup_steps": 30,
    "decay_fraction": 0.0,
    "eval_every": 20,
    "checkpoint_every": 100_000,
}
RATES = {"adamw": (1.5e-3, 3e-3, 6e-3), "muon": (5e-3, 1e-2, 2e-2)}
"""Of the matrices."""

Curve = list[tuple[int, float]]


def curve(store: Store, corpus: str, optimizer: str, rate: float, seed: int, steps: int) -> Curve:
    """(step, bits per byte) of one run."""
    name = f"{optimizer}-{rate:g}-{seed}"
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as recipe:
        recipe.write("[pretrain]\n")
        recipe.flush()
        words = SHAPE | {"corpus": corpus, "steps": steps, "optimizer": optimizer}
        words |= {"learning_rate": rate, "seed": seed}
        lw.pretrain(recipe.name, name=name, store=store, **words)
    lines = store.run(name).read_metrics()
    found = [(line["step"], line["val_bits_per_byte"]) for line in lines if "val_loss" in line]
    print(f"{name}: {found[-1][1]:.4f} bits per byte after {found[-1][0]} steps", flush=True)
    return found


def reached(points: Curve, goal: float) -> float:
    """The step at which the curve first lies at `goal`; infinite where it never does."""
    before = points[0]
    for step, value in points:
        if value <= goal:
            share = (before[1] - goal) / (before[1] - value) if value < before[1] else 1.0
            return before[0] + share * (step - before[0])
        before = (step, value)
    return float("inf")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    data = os.environ.get("LANGWRIGHT_TEST_DATA", "")
    parser.add_argument("--corpus", default=str(Path(data) / "books"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=600)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        store = Store(Path(home))
        curves: dict[str, list[Curve]] = {}
        for optimizer, rates in RATES.items():
            tried = {
                rate: curve(store, given.corpus, optimizer, rate, 0, given.steps) for rate in rates
            }
            best = min(tried, key=lambda rate: tried[rate][-1][1])
            more = range(1, given.seeds)
            curves[optimizer] = [tried[best]] + [
                curve(store, given.corpus, optimizer, best, seed, given.steps) for seed in more
            ]
            print(f"{optimizer}: {best:g}", flush=True)
    goal = statistics.mean(one[-1][1] for one in curves["adamw"])
    print(
        f"goal: {goal:.4f} bits per byte\n| optimizer | steps to it | at the end |\n|---|---|---|"
    )
    counts = {}
    for optimizer, runs in curves.items():
        counts[optimizer] = [reached(one, goal) for one in runs]
        steps = ", ".join(f"{one:.0f}" for one in counts[optimizer])
        print(f"| {optimizer} | {steps} | {', '.join(f'{one[-1][1]:.4f}' for one in runs)} |")
    ratios = [a / b for a in counts["adamw"] for b in counts["muon"] if a < float("inf")]
    print(
        f"Muon needs {statistics.median(ratios):.2f} times fewer "
        f"[{min(ratios):.2f} to {max(ratios):.2f}]"
    )


if __name__ == "__main__":
    main()
