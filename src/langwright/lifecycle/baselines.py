"""What a model must beat: counting (a byte n-gram) and compressing (xz)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from langwright.evaluation import WittenBell, xz_bits_per_byte
from langwright.progress import say
from langwright.text import Document

MOST_BYTES = 64 * 2**20
"""Beyond so much training text the baselines take gigabytes; they then count the first of it."""

END = b"\0"


@dataclass(frozen=True)
class Baselines:
    """`order` is the n-gram order (1 to 6) that is best on the whole validation text;
    `ngram_nats` are its nats for each validation document, the end of document included."""

    order: int
    ngram_nats: npt.NDArray[Any]
    xz_bits_per_byte: float

    def ngram_bits_per_byte(self, document_bytes: Sequence[int]) -> float:
        """Over the first `len(document_bytes)` validation documents."""
        nats = float(self.ngram_nats[: len(document_bytes)].sum())
        return nats / math.log(2) / sum(document_bytes)


def measure_baselines(train: Sequence[Document], validation: Sequence[Document]) -> Baselines:
    """Fit both on the training documents and measure them on the validation documents."""
    texts, size = [], 0
    for document in train:
        texts.append(document.full_text.encode())
        size += len(texts[-1])
        if size > MOST_BYTES:
            say(f"The baselines count the first {size:,} bytes of the training text only.")
            break
    held_out = [document.full_text.encode() for document in validation]
    nats = WittenBell.fit(texts).nll(held_out)
    order = int(np.argmin(nats.sum(axis=0)))
    xz = xz_bits_per_byte(END.join(texts), END.join(held_out))
    return Baselines(order + 1, nats[:, order], xz)
