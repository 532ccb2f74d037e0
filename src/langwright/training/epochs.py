"""Examples of unequal size, shuffled anew each epoch and cut into steps; those held out."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np


class Epochs:
    """Which examples a step learns from: a function of the seed and the step alone.

    An epoch is cut into steps of at least `tokens_per_step` tokens (`sizes`, one for each
    example); what is left over joins the last.
    """

    def __init__(self, sizes: Sequence[int], tokens_per_step: int, seed: int) -> None:
        self._sizes, self._tokens_per_step, self._seed = sizes, tokens_per_step, seed
        self._steps: list[list[int]] = []
        self._epoch = 0

    def step(self, step: int) -> list[int]:
        """The examples of a step, by their places in `sizes`."""
        while len(self._steps) <= step:
            self._steps += self._cut(self._epoch)
            self._epoch += 1
        return self._steps[step]

    @property
    def first(self) -> int:
        """How many steps the first epoch has."""
        return len(self._cut(0))

    def _cut(self, epoch: int) -> list[list[int]]:
        bits = np.random.Philox(np.random.SeedSequence(self._seed, spawn_key=(epoch,)))
        order = np.argsort(bits.random_raw(len(self._sizes)), kind="stable")
        steps: list[list[int]] = [[]]
        size = 0
        for index in order.tolist():
            if size >= self._tokens_per_step:
                steps.append([])
                size = 0
            steps[-1].append(index)
            size += self._sizes[index]
        if len(steps) > 1 and size < self._tokens_per_step:
            left_over = steps.pop()
            steps[-1] += left_over
        return steps


def held_out(keys: Sequence[bytes], validation_fraction: float) -> list[bool]:
    """For each key whether it is for validation, by its hash: equal keys land on one side. At
    least the key with the lowest hash is."""
    hashes = [hashlib.sha256(key).digest()[:8] for key in keys]
    edge = max(min(hashes), int(validation_fraction * 2**64).to_bytes(8, "big"))
    return [value <= edge for value in hashes]
