"""One step of training in one of several processes, for test_equality.py; and its cases.

Run by torch's launcher as `step_worker.py OUT CASE…`; the first rank writes what it found to OUT.
"""

from __future__ import annotations

import hashlib
import json
import sys
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from langwright.model import Architecture, Decoder
from langwright.text import Packing
from langwright.training.batch import MicroBatch, Row, gather, gather_packed, next_token_loss, pack
from langwright.training.learner import Learner
from langwright.training.parts import whole
from langwright.training.ranks import ALONE, Ranks, join
from langwright.training.settings import LoopSettings

LENGTH, WORDS = 32, 61
SHAPE = Architecture(
    vocab_size=WORDS,
    hidden_size=16,
    intermediate_size=32,
    num_layers=2,
    num_heads=4,
    num_kv_heads=2,
    head_dim=8,
    context_length=LENGTH,
)


def fresh() -> Decoder:
    decoder = Decoder(SHAPE)
    decoder.initialise(0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():  # the projections that start at zero would hide the layers
        for parameter in decoder.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return decoder


def documents() -> list[list[int]]:
    numbers = np.random.default_rng(0)
    return [numbers.integers(1, WORDS, size).tolist() for size in (3, 23, 7, 9, 31, 1, 12, 23, 5)]


def packed(micro_batch_tokens: int) -> list[MicroBatch]:
    """Pretraining's batches: all documents, packed into rows."""
    tokens = np.array([token for document in documents() for token in (*document, 0)])
    offsets = np.cumsum([0, *(len(document) + 1 for document in documents())])
    packing = Packing(tokens, offsets, LENGTH, seed=0)
    rows = [packing.row(index) for index in range(packing.num_rows)]
    return gather_packed(rows, LENGTH, micro_batch_tokens)


def unpacked(micro_batch_tokens: int) -> list[MicroBatch]:
    """The same documents, a row each, from their end-of-document token on."""
    return gather([Row(np.array([0, *one, 0])) for one in documents()], micro_batch_tokens)


def answers(micro_batch_tokens: int) -> list[MicroBatch]:
    """Fine-tuning's batches: of each conversation an answer is learnt, of one to thirty tokens."""
    return gather(conversations(), micro_batch_tokens)


def answers_packed(micro_batch_tokens: int) -> list[MicroBatch]:
    """The same conversations, several in a row."""
    return gather_packed(pack(conversations(), LENGTH), LENGTH, micro_batch_tokens)


def conversations() -> list[Row]:
    rows = []
    for index, one in enumerate(documents()):
        ids = np.array([0, *one, 0])
        learn = np.arange(len(ids)) >= max(1, len(ids) - 1 - 4 * index)
        rows.append(Row(ids, learn))
    return rows


DATA = {
    "pretrain": packed,
    "pretrain unpacked": unpacked,
    "sft": answers,
    "sft packed": answers_packed,
}


def settings(**values: Any) -> LoopSettings:
    given = {"steps": 4, "tokens_per_step": 512, "context_length": LENGTH, "learning_rate": 1e-2}
    given |= {"embedding_learning_rate": 1e-2, "precision": "float32", "gradient_clip": 1e9}
    return LoopSettings.build(given | values)


def step(data: str, micro_batch_tokens: int, ranks: Ranks = ALONE, **values: Any) -> dict[str, Any]:
    """Loss, norm, gradients and the weights after the step, whole."""
    learner = Learner(fresh(), settings(**values), ranks)
    batches = DATA[data](micro_batch_tokens)
    units = sum(batch.units for batch in batches)
    loss = learner.gradients(next_token_loss, batches, units)
    norm = learner.clip()
    gradients = {}
    for name, weight in learner.masters.weights.items():
        assert weight.grad is not None
        gradients[name] = whole(weight.grad).clone()
    learner.move(1.0)
    return {
        "loss": loss,
        "norm": norm,
        "gradients": gradients,
        "weights": {name: held.clone() for name, held in learner.weights().items()},
        "mine": [
            hashlib.sha256(batch.ids_BT.numpy().tobytes()).hexdigest()
            for _, batch, counts in ranks.mine(batches)
            if counts
        ],
    }


def main() -> None:
    torch.set_num_threads(1)
    found = []
    for text in sys.argv[2:]:
        case = json.loads(text)
        data, size = case.pop("data"), case.pop("micro_batch_tokens")
        ranks = join(settings(**case))
        one = step(data, size, ranks, **case)
        held: list[Any] = [None] * ranks.size
        dist.all_gather_object(held, (ranks.data_rank, one.pop("mine")))
        judged: list[Any] = [None] * ranks.size
        dist.all_gather_object(judged, (float(one["loss"]), float(one["norm"])))
        one |= {"size": ranks.size, "data_size": ranks.data_size, "held": held, "judged": judged}
        found.append(one)
    if ranks.leads:
        torch.save(found, sys.argv[1])
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
