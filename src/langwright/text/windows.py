"""The order of training data: a pure function of (seed, step)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from langwright.errors import BadInput, BadSettings

Ids = npt.NDArray[np.int64]


class Windows:
    """Batches of windows over a stream of tokens, [num_tokens] integers.

    A window is `context_length + 1` tokens: inputs and, one further, targets. The stream is read as
    a ring. An epoch lays `num_windows` windows end to end from a random offset in
    [0, context_length), so that no token is a target twice and fewer than `context_length` are left
    out, others in each epoch; then it takes them in random order. A window may thus
    run over the end of the stream (which ends a document) into its beginning.

    Raises `BadInput` for a stream shorter than one window.
    """

    def __init__(
        self,
        tokens: npt.NDArray[np.integer[Any]],
        context_length: int,
        batch_size: int,
        seed: int,
    ) -> None:
        if context_length < 1 or batch_size < 1 or seed < 0:
            raise BadSettings(
                f"No windows have context_length {context_length}, batch_size {batch_size} and"
                f" seed {seed}.",
                remedy="Give at least 1, 1 and 0.",
            )
        if len(tokens) < context_length + 1:
            raise BadInput(
                f"The corpus has {len(tokens)} tokens, fewer than one context window of"
                f" {context_length} (and one more, to predict).",
                remedy="Add more text, or set a smaller context_length.",
            )
        self.tokens = tokens
        self.context_length = context_length
        self.batch_size = batch_size
        self.seed = seed
        self.num_windows = len(tokens) // context_length
        """In one epoch."""
        self._epoch = -1
        self._starts: Ids = np.empty(0, dtype=np.int64)

    def batch(self, step: int) -> Ids:
        """The windows of a step (counted from 0), int64 [batch_size, context_length + 1].

        It may begin in one epoch and end in the next. Inputs are `[:, :-1]`, targets `[:, 1:]`.
        """
        if step < 0:
            raise ValueError(f"step {step} is before the first")
        index, end = step * self.batch_size, (step + 1) * self.batch_size
        pieces = []
        while index < end:
            epoch, position = divmod(index, self.num_windows)
            piece = self._starts_of(epoch)[position : position + end - index]
            pieces.append(piece)
            index += len(piece)
        starts = np.concatenate(pieces)
        places = (starts[:, None] + np.arange(self.context_length + 1)) % len(self.tokens)
        windows: Ids = self.tokens[places].astype(np.int64)
        return windows

    def epoch_of(self, step: int) -> int:
        """The epoch, counted from 0, of the first window of a step."""
        return step * self.batch_size // self.num_windows

    def _starts_of(self, epoch: int) -> Ids:
        """Where the windows of an epoch begin, in its order, int64 [num_windows]."""
        if epoch != self._epoch:
            # Only raw bits: numpy promises them to be the same in every version, but not
            # what `Generator.permutation` makes of them, and an old run must resume exactly.
            bits = np.random.Philox(np.random.SeedSequence(self.seed, spawn_key=(epoch,)))
            offset = int(bits.random_raw()) % self.context_length
            order = np.argsort(bits.random_raw(self.num_windows), kind="stable")
            self._starts = offset + order * self.context_length
            self._epoch = epoch
        return self._starts
