"""Writing a target with the 2017 Transformer: greedily, or by beam search."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from langwright.model.transformer2017 import Transformer2017


@torch.no_grad()
def greedy(model: Transformer2017, source_BS: Tensor, max_length: int) -> list[list[int]]:
    """For each source the likeliest next id, again and again, until the end; the ids between."""
    return beam_search(model, source_BS, max_length, beams=1)


@torch.no_grad()
def beam_search(
    model: Transformer2017,
    source_BS: Tensor,
    max_length: int,
    *,
    beams: int = 4,
    length_penalty: float = 0.6,
) -> list[list[int]]:
    """The best of `beams` hypotheses for each source, as ids without start and end.

    Where the end is among the `beams` likeliest continuations, that hypothesis is finished; a
    source is done with as many finished ones as beams. They are ranked by log-probability /
    ((5 + length) / 6)^`length_penalty` (Wu et al. 2016, as in the paper's section 6.1), the end
    counted. At most `max_length` ids are written; what is unfinished then stands as it is where
    nothing was finished.
    """
    shape = model.shape
    limit = min(max_length, shape.context_length - 1)
    memory, mask = model.encode(source_BS), model.seen(source_BS)
    count = source_BS.shape[0]
    # Row b * beams + k is hypothesis k of source b. At first there is one of each.
    memory, mask = (one.repeat_interleave(beams, dim=0) for one in (memory, mask))
    written = torch.full((count * beams, 1), shape.start_id, device=source_BS.device)
    scores = torch.full((count, beams), -math.inf, device=source_BS.device)
    scores[:, 0] = 0.0
    finished: list[list[tuple[float, list[int]]]] = [[] for _ in range(count)]
    for length in range(1, limit + 2):
        states, _ = model.decode(written, memory, mask)
        step = model.head(states[:, -1]).float().log_softmax(-1).view(count, beams, -1)
        step[..., shape.pad_id] = step[..., shape.start_id] = -math.inf
        total = scores[..., None] + step
        values, places = total.flatten(1).topk(beams, dim=-1)
        ends = (places % step.shape[-1] == shape.end_id) & values.isfinite()
        for row, rank in ends.nonzero().tolist():
            if len(finished[row]) < beams:
                value = values[row, rank].item() / ((5 + length) / 6) ** length_penalty
                beam = int(places[row, rank]) // step.shape[-1]
                finished[row].append((value, written[row * beams + beam, 1:].tolist()))
        if length > limit or all(len(done) == beams for done in finished):
            break
        total[..., shape.end_id] = -math.inf
        scores, places = total.flatten(1).topk(beams, dim=-1)
        parents, new = places // step.shape[-1], places % step.shape[-1]
        rows = (torch.arange(count, device=places.device)[:, None] * beams + parents).flatten()
        written = torch.cat((written[rows], new.flatten()[:, None]), dim=1)
    return [
        max(done)[1] if done else written[row * beams, 1:].tolist()
        for row, done in enumerate(finished)
    ]
