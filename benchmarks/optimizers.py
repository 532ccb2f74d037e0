"""Steps to one loss: Muon beside AdamW, both with a group of its own for the embedding table.

    OMP_NUM_THREADS=1 python benchmarks/optimizers.py [--corpus PATH] [--seeds 3]

Small models are trained with each optimizer at several rates (seed 0, all steps), then with its
best one from several seeds; with Muon also for fewer steps. Every run warms up and decays over its
own length. The goal of a seed is the bits per byte on held-out text at which its AdamW ends; the
figure is the number of steps with which Muon ends there, between two lengths by a straight line.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from functools import cache
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
    "eval_every": 100_000,
    "checkpoint_every": 100_000,
}
RATES = {"adamw": (1.5e-3, 3e-3, 6e-3, 1.2e-2), "muon": (5e-3, 1e-2, 2e-2)}
"""Of the matrices."""
LENGTHS = (0.5, 0.7, 1.0)
"""Of Muon's runs, as shares of AdamW's."""

Points = list[tuple[int, float]]
"""Steps of a run, and the bits per byte at its end."""


class Runs:
    """Trains when asked for the first time."""

    def __init__(self, store: Store, corpus: str) -> None:
        self._store, self._corpus = store, corpus

    @cache  # noqa: B019 (it lives as long as the program)
    def end(self, optimizer: str, rate: float, seed: int, steps: int) -> float:
        """Bits per byte on held-out text."""
        name = f"{optimizer}-{rate:g}-{seed}-{steps}"
        with tempfile.NamedTemporaryFile("w", suffix=".toml") as recipe:
            recipe.write("[pretrain]\n")
            recipe.flush()
            words = SHAPE | {"corpus": self._corpus, "steps": steps, "optimizer": optimizer}
            words |= {"learning_rate": rate, "seed": seed}
            done = lw.pretrain(recipe.name, name=name, store=self._store, **words)
        found = float(done["metrics"]["val_bits_per_byte"])
        print(f"{name}: {found:.4f} bits per byte", flush=True)
        return found


def needed(points: Points, goal: float) -> float:
    """The steps with which a run ends at `goal`, by the line through the two lengths about it, or
    the nearest two."""
    (few, high), (many, low) = points[:2] if goal > points[1][1] else points[-2:]
    return few + (high - goal) / (high - low) * (many - few)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    data = os.environ.get("LANGWRIGHT_TEST_DATA", "")
    parser.add_argument("--corpus", default=str(Path(data) / "books"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=1000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        end = Runs(Store(Path(home)), given.corpus).end
        best = {
            optimizer: min(rates, key=lambda rate: end(optimizer, rate, 0, given.steps))
            for optimizer, rates in RATES.items()
        }
        print(f"best rates: {best}", flush=True)
        print("| seed | AdamW ends at | Muon, of the steps | Muon needs | fewer by |")
        ratios = []
        for seed in range(given.seeds):
            goal = end("adamw", best["adamw"], seed, given.steps)
            lengths = [round(share * given.steps) for share in LENGTHS]
            points = [(steps, end("muon", best["muon"], seed, steps)) for steps in lengths]
            steps = needed(points, goal)
            ratios.append(given.steps / steps)
            ends = ", ".join(f"{n}: {value:.4f}" for n, value in points)
            print(f"| {seed} | {goal:.4f} | {ends} | {steps:.0f} | {ratios[-1]:.2f} |", flush=True)
    print(f"{statistics.mean(ratios):.2f} [{min(ratios):.2f} to {max(ratios):.2f}]")


if __name__ == "__main__":
    main()
