"""How likely a model holds whole documents to be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from langwright.inference import score_rows
from langwright.model import Decoder


def document_nats(
    module: Decoder, documents: Sequence[Sequence[int]], end_of_document: int
) -> npt.NDArray[Any]:
    """-log p of each document in nats, float64 [documents]: its tokens and its end, read from its
    beginning. A document longer than the context window is read in windows that overlap by half.
    """
    rows = [[end_of_document, *document, end_of_document] for document in documents]
    window = module.shape.context_length
    scores = score_rows(module, rows, window, max(1, window // 2))
    return np.array([-sum(value for value in row if value is not None) for row in scores])
