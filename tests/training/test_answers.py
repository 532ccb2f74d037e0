"""Answers that share their prompts are read as if each stood by itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from langwright.model import Architecture, Decoder
from langwright.training.answers import AnswerBatch, AnswerRow, gather_alike

PLAIN: dict[str, Any] = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_layers": 3,
    "num_heads": 4,
    "num_kv_heads": 2,
    "head_dim": 8,
    "context_length": 64,
}


def rows_of(*prompts: tuple[int, tuple[int, ...]]) -> list[AnswerRow]:
    """For each prompt of so many tokens, answers of so many."""
    draw = np.random.default_rng(0)
    found = []
    for length, sizes in prompts:
        prompt = draw.integers(0, 60, length)
        found += [
            AnswerRow(np.concatenate((prompt, draw.integers(0, 60, size))), length)
            for size in sizes
        ]
    return found


def made(**other: Any) -> Decoder:
    module = Decoder(Architecture.build(PLAIN | other))
    module.initialise(1)
    draw = torch.Generator().manual_seed(2)
    for weight in module.parameters():  # no block is the identity
        torch.nn.init.normal_(weight, 0.0, 0.2, generator=draw)
    return module


@pytest.mark.parametrize("other", [{}, {"sliding_window": 5, "sliding_layers": [0, 2]}])
@pytest.mark.parametrize("heat", [1.0, 0.7])
def test_shared_prompts_change_no_logprob_and_no_gradient(
    other: dict[str, Any], heat: float
) -> None:
    module = made(**other)
    mixed = rows_of((9, (4, 4, 7)), (1, (3, 2)), (12, (5,)))
    order = [3, 0, 5, 1, 4, 2]  # answers to one prompt need not lie together
    batch = AnswerBatch.of([mixed[one] for one in order], 6)
    assert batch.shared is not None
    assert batch.shared.ids_1T.numel() == (8 + 15) + 5 + (11 + 5)
    plain = module.logprobs(batch.ids_BT, batch.tokens_BT, batch.places_N, heat, 60)
    shared = batch.logprobs(module, heat, 60)
    weights = torch.linspace(-1, 2, len(plain[0]))
    gradients = [
        torch.autograd.grad((weights * found[0]).sum(), list(module.parameters()))
        for found in (plain, shared)
    ]
    for found, expected in zip(shared, plain, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    for one, other_one in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other_one, rtol=1e-3, atol=1e-3)


def test_different_prompts_share_nothing() -> None:
    assert AnswerBatch.of(rows_of((4, (3,)), (5, (2,))), 2).shared is None


def test_answers_to_one_prompt_are_gathered_where_there_is_room() -> None:
    rows = rows_of((10, (2, 6, 2, 6, 4)), (3, (5, 5)))
    mixed = [rows[one] for one in (5, 0, 1, 6, 2, 3, 4)]
    gathered = gather_alike(mixed, 64)
    assert sorted(number for numbers, _ in gathered for number in numbers) == list(range(7))
    for numbers, taken in gathered:
        assert [mixed[number] for number in numbers] == taken
        assert len(taken) * max(len(row.ids) for row in taken) <= 64
    assert any({0, 3} <= set(numbers) for numbers, _ in gathered)
    assert sum(len({row.start for row in taken} & {10}) for _, taken in gathered) == 2
