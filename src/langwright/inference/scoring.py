"""Log-probabilities of given tokens, in windows, many sequences at a time."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from langwright.inference.reader import reads
from langwright.model import Decoder

TOKENS_PER_PASS = 4096


def score_rows(
    module: Decoder, rows: Sequence[Sequence[int]], window: int, stride: int
) -> list[list[float | None]]:
    """For each row, log p(token | those before it in its window) in nats; the first is None.

    A row longer than `window` is read in windows that begin `stride` tokens apart; each token is
    scored once, in the first window that holds it.
    """
    if not 1 <= stride < window:
        raise ValueError("stride must lie between 1 and window - 1")
    results: list[list[float | None]] = [[None] * len(row) for row in rows]
    passes = []
    for index, row in enumerate(rows):
        for start, done, end in reads(len(row), window, stride):
            passes.append((end - start, index, start, done))
    passes.sort()
    while passes:
        longest = passes[-1][0]
        batch = passes[-max(1, TOKENS_PER_PASS // longest) :]
        del passes[-len(batch) :]
        ids = torch.zeros(len(batch), longest, dtype=torch.int64)
        for line, (length, index, start, _) in enumerate(batch):
            ids[line, :length] = torch.tensor(rows[index][start : start + length])
        logprobs = _logprobs(module, ids.to(module.device))
        for line, (length, index, start, done) in enumerate(batch):
            values = logprobs[line, done - start - 1 : length - 1].tolist()
            results[index][done : start + length] = values
    return results


@torch.no_grad()  # inference mode would spoil the copies that sharded training gathers
def _logprobs(module: Decoder, ids_BT: Tensor) -> Tensor:
    """log p of each token but the first, [B, T - 1]; right padding cannot reach back."""
    hidden = module.hidden(ids_BT[:, :-1])
    parts = []
    # Row by row, so that the float32 logits of a large vocabulary never stand whole in memory.
    for hidden_TE, target_T in zip(hidden, ids_BT[:, 1:], strict=True):
        logits = module.head(hidden_TE).float()
        chosen = logits.gather(-1, target_T[:, None])[:, 0]
        parts.append(chosen - logits.logsumexp(-1))
    return torch.stack(parts)
