"""What each example of a step does to a behaviour: TracIn (Pruthi et al. 2020, 2002.08484)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from langwright.model import IGNORED
from langwright.training.behaviour import Behaviour
from langwright.training.examples import Piece
from langwright.training.trained import Model

STEP = 3e-4
"""How far the weights are moved to see the slope, as a share of their norm: far enough for float32
to show it, near enough for it to be a line."""


def influences(
    trained: Model, behaviour: Behaviour, pieces: Sequence[Piece], batch_tokens: int
) -> list[float]:
    """For each piece the product of two gradients: that of its loss (a sum, in nats), and that of
    the behaviour's (`Behaviour.nats`). A step of plain descent on the piece, at the rate r, raises
    the log-probability of what is expected by r times that, to the first order.

    It is the slope of the pieces' losses along the behaviour's gradient, which two readings of all
    pieces give, on both sides of the weights: no gradient of each is needed.
    """
    weights = {name: weight.detach() for name, weight in trained.learnt.items()}
    gradient = _gradient(trained, behaviour)
    length = _norm(gradient)
    if length == 0:
        return [0.0] * len(pieces)
    step = STEP * _norm(weights)
    beyond, behind = (
        _losses(trained.over(_moved(weights, gradient, way * step / length)), pieces, batch_tokens)
        for way in (1, -1)
    )
    return ((beyond - behind) * (length / (2 * step))).tolist()


def _gradient(trained: Model, behaviour: Behaviour) -> dict[str, Tensor]:
    named = {name: one.requires_grad_(True) for name, one in trained.learnt.items()}
    found = torch.autograd.grad(
        behaviour.nats(trained.module), list(named.values()), allow_unused=True
    )
    return {name: one for name, one in zip(named, found, strict=True) if one is not None}


def _norm(tensors: dict[str, Tensor]) -> float:
    return float(torch.stack([one.double().norm() for one in tensors.values()]).norm())


def _moved(
    weights: dict[str, Tensor], gradient: dict[str, Tensor], far: float
) -> dict[str, Tensor]:
    return {
        name: weight.add(gradient[name], alpha=far) if name in gradient else weight
        for name, weight in weights.items()
    }


@torch.no_grad()
def _losses(trained: Model, pieces: Sequence[Piece], batch_tokens: int) -> Tensor:
    """The loss of each piece, a sum in nats, float64 [pieces]."""
    module = trained.module
    losses = torch.zeros(len(pieces), dtype=torch.float64)
    for chosen in _batches(pieces, batch_tokens):
        longest = len(pieces[chosen[-1]].inputs)
        ids = torch.zeros(len(chosen), longest, dtype=torch.int64)
        targets = torch.full((len(chosen), longest), IGNORED)
        for line, number in enumerate(chosen):
            piece = pieces[number]
            ids[line, : len(piece.inputs)] = torch.from_numpy(piece.inputs)
            targets[line, : len(piece.targets)] = torch.from_numpy(piece.targets)
        hidden = module.hidden(ids.to(module.device))
        for line, number in enumerate(chosen):
            # Row by row, so that the logits of a large vocabulary never stand whole in memory.
            logits = module.head(hidden[line]).float()
            losses[number] = torch.nn.functional.cross_entropy(
                logits, targets[line].to(module.device), ignore_index=IGNORED, reduction="sum"
            )
    return losses


def _batches(pieces: Sequence[Piece], batch_tokens: int) -> Iterator[list[int]]:
    """Pieces of like length together, the longest of each batch last."""
    batch: list[int] = []
    for number in sorted(range(len(pieces)), key=lambda number: len(pieces[number].inputs)):
        if batch and (len(batch) + 1) * len(pieces[number].inputs) > batch_tokens:
            yield batch
            batch = []
        batch.append(number)
    if batch:
        yield batch
