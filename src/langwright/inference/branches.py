"""Many continuations read together, so that what they have in common is read once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from langwright.model import Decoder

TOKENS_PER_PASS = 2048
LOGITS_AT_ONCE = 256
"""Rows of logits that stand in memory at a time."""

Pair = tuple[list[int], list[int]]
Found = tuple[float, bool]


@dataclass
class Tree:
    """Sequences, each prefix that they share once: `tokens` in depth-first order, with their
    `depths`; the subtree of place i ends before place `ends[i]`."""

    tokens: list[int] = field(default_factory=list)
    depths: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    path: list[int] = field(default_factory=list)
    """The places of the sequence added last."""

    def shared(self, sequence: Sequence[int]) -> int:
        """How many of its tokens, from the first, are those of the sequence added last."""
        count = 0
        for place, token in zip(self.path, sequence, strict=False):
            if self.tokens[place] != token:
                break
            count += 1
        return count

    def add(self, sequence: Sequence[int]) -> list[int]:
        """Add a sequence, in sorted order; the places of its tokens."""
        kept = self.path[: self.shared(sequence)]
        first = len(self.tokens)
        new = sequence[len(kept) :]
        self.tokens += new
        self.depths += range(len(kept), len(sequence))
        self.ends += [first + len(new)] * len(new)
        for place in kept:
            self.ends[place] = len(self.tokens)
        self.path = [*kept, *range(first, len(self.tokens))]
        return self.path


class Branches:
    """Takes the place of a cache's rows in one pass that keeps nothing: each token sees those on
    its way from the root of its tree, and itself. A row holds trees side by side."""

    def __init__(
        self, rows: Sequence[Sequence[Tree]], width: int, device: torch.device | None = None
    ) -> None:
        self.positions_BT = torch.zeros(len(rows), width, dtype=torch.int64)
        places = torch.arange(width)
        ends = (places + 1).repeat(len(rows), 1)  # padding is seen by itself alone
        for row, trees in enumerate(rows):
            start = 0
            for tree in trees:
                end = start + len(tree.tokens)
                self.positions_BT[row, start:end] = torch.tensor(tree.depths)
                ends[row, start:end] = torch.tensor(tree.ends) + start
                start = end
        # In depth-first order a key is above a query when that lies within the key's subtree.
        seen_BTT = (places <= places[:, None]) & (places[:, None] < ends[:, None, :])
        self._seen_BTT = seen_BTT.to(device)
        self.positions_BT = self.positions_BT.to(device)
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


Members = list[tuple[int, list[int]]]
"""Of the pairs in a tree: which, and the places that foretell its continuation."""

Planted = tuple[Tree, Members]


def likelihoods(
    module: Decoder, pairs: Sequence[Pair], num_tokens: int
) -> list[tuple[float, bool]]:
    """For each (context, continuation), neither empty, the log-probability of the continuation in
    nats, and whether each of its tokens is the likeliest. Only the first `num_tokens` rows of the
    table are tokens."""
    planted = _plant(pairs, 3 * module.shape.hidden_size)
    planted.sort(key=lambda one: -len(one[0].tokens))
    results: list[Found] = [(0.0, True)] * len(pairs)
    while planted:
        rows, planted = _fill(planted)
        _pass(module, rows, pairs, num_tokens, results)
    return results


def _fill(planted: list[Planted]) -> tuple[list[list[Planted]], list[Planted]]:
    """The rows of a pass, each as wide as the largest tree, and the trees left over: each goes
    where it first fits, so that little is padding. `planted` come largest first."""
    width = len(planted[0][0].tokens)
    rows: list[list[Planted]] = []
    room: list[int] = []
    left = []
    for one in planted:
        size = len(one[0].tokens)
        row = next((row for row, free in enumerate(room) if size <= free), None)
        if row is not None:
            rows[row].append(one)
            room[row] -= size
        elif not rows or (len(rows) + 1) * width <= TOKENS_PER_PASS:
            rows.append([one])
            room.append(width - size)
        else:
            left.append(one)
    return rows, left


def _plant(pairs: Sequence[Pair], crossover: int) -> list[Planted]:
    """Trees of sequences, side by side in sorted order, that are cheaper read together.

    T tokens cost T in the matrices and T^2 / `crossover` in attention (which is computed for all
    of a row and hidden), so that a large tree must be worth its width.
    """
    # The last token of a continuation foretells nothing that is asked for.
    sequences = [context + continuation[:-1] for context, continuation in pairs]
    rows: list[Planted] = []
    for index in sorted(range(len(pairs)), key=lambda i: sequences[i]):
        sequence = sequences[index]
        if rows:
            here, new = len(rows[-1][0].tokens), len(sequence)
            shared = rows[-1][0].shared(sequence)
            both = here + new - shared
            wider = both**2 - here**2 - new**2
            alone = both > TOKENS_PER_PASS or shared * crossover <= wider
        if not rows or alone:
            rows.append((Tree(), []))
        tree, members = rows[-1]
        path = tree.add(sequence)
        members.append((index, path[len(pairs[index][0]) - 1 :]))
    return rows


@torch.inference_mode()
def _pass(
    module: Decoder,
    rows: Sequence[Sequence[Planted]],
    pairs: Sequence[Pair],
    num_tokens: int,
    results: list[Found],
) -> None:
    width = max(sum(len(tree.tokens) for tree, _ in row) for row in rows)
    ids = torch.zeros(len(rows), width, dtype=torch.int64)
    asked: dict[int, list[tuple[int, int]]] = {}  # by place, (pair, token) that it foretells
    for number, row in enumerate(rows):
        start = 0
        for tree, members in row:
            ids[number, start : start + len(tree.tokens)] = torch.tensor(tree.tokens)
            for index, places in members:
                for place, token in zip(places, pairs[index][1], strict=True):
                    asked.setdefault(number * width + start + place, []).append((index, token))
            start += len(tree.tokens)
    trees = [[tree for tree, _ in row] for row in rows]
    branches = Branches(trees, width, module.device)
    hidden = module.hidden(ids.to(module.device), branches).flatten(0, 1)
    everywhere = sorted(asked)
    for start in range(0, len(everywhere), LOGITS_AT_ONCE):
        part = everywhere[start : start + LOGITS_AT_ONCE]
        logits = module.head(hidden[part])[:, :num_tokens].float()
        total, best = logits.logsumexp(-1).double().tolist(), logits.argmax(-1).tolist()
        lines = [line for line, place in enumerate(part) for _ in asked[place]]
        wanted = [token for place in part for _, token in asked[place]]
        chosen = logits[lines, wanted].double().tolist()
        told = [index for place in part for index, _ in asked[place]]
        for index, line, token, logit in zip(told, lines, wanted, chosen, strict=True):
            logprob, greedy = results[index]
            results[index] = logprob + logit - total[line], greedy and best[line] == token
