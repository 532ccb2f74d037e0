"""Several continuations of one context in one row, so that the context is read once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from langwright.model import Decoder

TOKENS_PER_PASS = 2048

Pair = tuple[list[int], list[int]]
Found = tuple[float, bool]
Group = tuple[tuple[int, ...], list[int]]
"""A context, and the pairs that it belongs to."""


class Branches:
    """Takes the place of a cache's rows in one pass that keeps nothing.

    A row is a context and behind it its continuations, each of which sees the context and itself:
    `layout` holds, row by row, the length of the context and those of the continuations.
    """

    def __init__(self, layout: Sequence[tuple[int, Sequence[int]]], width: int) -> None:
        positions = torch.zeros(len(layout), width, dtype=torch.int64)
        # The branch of each place: 0 the context, then 1, 2 ...; padding is a branch of its own.
        branch = torch.full((len(layout), width), -1)
        for row, (context, lengths) in enumerate(layout):
            parts = [torch.arange(context), *(context + torch.arange(one) for one in lengths)]
            flat = torch.cat(parts)
            positions[row, : len(flat)] = flat
            sizes = torch.tensor([context, *lengths])
            branch[row, : len(flat)] = torch.arange(len(sizes)).repeat_interleave(sizes)
        self.positions_BT = positions
        same = branch[:, :, None] == branch[:, None, :]
        context_key = (branch == 0)[:, None, :]
        order = torch.arange(width)
        earlier = order <= order[:, None]
        self._seen_BTT = (same | context_key) & earlier
        self._masks: dict[int | None, Tensor] = {}

    def mask(self, window: int | None) -> Tensor:
        """Which keys each query sees, [B, 1, T, T]."""
        if window not in self._masks:
            seen = self._seen_BTT
            if window is not None:
                far = self.positions_BT[:, :, None] - self.positions_BT[:, None, :]
                seen = seen & (far < window)
            self._masks[window] = seen[:, None]
        return self._masks[window]

    def update(self, layer: int, k_BKTD: Tensor, v_BKTD: Tensor) -> tuple[Tensor, Tensor]:
        return k_BKTD, v_BKTD

    def advance(self) -> None:
        pass


def likelihoods(
    module: Decoder, pairs: Sequence[Pair], num_tokens: int
) -> list[tuple[float, bool]]:
    """For each (context, continuation), neither empty, the log-probability of the continuation in
    nats, and whether each of its tokens is the likeliest. Only the first `num_tokens` rows of the
    table are tokens."""
    rows: dict[tuple[int, ...], list[int]] = {}
    for index, (context, _) in enumerate(pairs):
        rows.setdefault(tuple(context), []).append(index)
    groups = list(_split(rows, pairs))
    groups.sort(key=lambda group: _width(group, pairs))
    results: list[Found] = [(0.0, True)] * len(pairs)
    while groups:
        widest = _width(groups[-1], pairs)
        batch = groups[-max(1, TOKENS_PER_PASS // widest) :]
        del groups[-len(batch) :]
        _pass(module, batch, pairs, widest, num_tokens, results)
    return results


def _split(rows: dict[tuple[int, ...], list[int]], pairs: Sequence[Pair]) -> list[Group]:
    """Groups whose continuations do not make a row much longer than a pass."""
    groups: list[Group] = []
    for context, members in rows.items():
        part: list[int] = []
        size = len(context)
        for index in members:
            if part and size + len(pairs[index][1]) > TOKENS_PER_PASS:
                groups.append((context, part))
                part, size = [], len(context)
            part.append(index)
            size += len(pairs[index][1])
        groups.append((context, part))
    return groups


def _width(group: Group, pairs: Sequence[Pair]) -> int:
    context, members = group
    return len(context) + sum(len(pairs[index][1]) - 1 for index in members)


@torch.inference_mode()
def _pass(
    module: Decoder,
    batch: Sequence[Group],
    pairs: Sequence[Pair],
    width: int,
    num_tokens: int,
    results: list[Found],
) -> None:
    ids = torch.zeros(len(batch), width, dtype=torch.int64)
    layout = []
    for row, (context, members) in enumerate(batch):
        # The last token of a continuation foretells nothing that is asked for.
        flat = [*context, *(token for index in members for token in pairs[index][1][:-1])]
        ids[row, : len(flat)] = torch.tensor(flat)
        layout.append((len(context), [len(pairs[index][1]) - 1 for index in members]))
    hidden = module.hidden(ids, Branches(layout, width))
    for row, (context, members) in enumerate(batch):
        at, places, wanted, sizes = len(context), list[int](), list[int](), list[int]()
        for index in members:
            continuation = pairs[index][1]
            places += [len(context) - 1, *range(at, at + len(continuation) - 1)]
            wanted += continuation
            sizes.append(len(continuation))
            at += len(continuation) - 1
        logits = module.head(hidden[row, places])[:, :num_tokens].float()
        target = torch.tensor(wanted)
        chosen = logits.gather(-1, target[:, None])[:, 0] - logits.logsumexp(-1)
        right = logits.argmax(-1) == target
        for index, values, hits in zip(
            members, chosen.double().split(sizes), right.split(sizes), strict=True
        ):
            results[index] = float(values.sum()), bool(hits.all())
