"""Packed training: documents share rows and know nothing of each other; mixtures of corpora."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from langwright.errors import BadSettings
from langwright.model import Architecture, Decoder
from langwright.store import Store
from langwright.text import PackedRow, Packing
from langwright.training import pretrain
from langwright.training.batch import IGNORED, Row, gather, gather_packed, next_token_loss

LENGTH = 24
END = 0


@pytest.fixture
def module() -> Decoder:
    shape = Architecture(
        vocab_size=64,
        hidden_size=16,
        intermediate_size=32,
        num_layers=2,
        num_heads=2,
        num_kv_heads=1,
        head_dim=8,
        context_length=LENGTH,
        tie_embeddings=False,
    )
    decoder = Decoder(shape)
    decoder.initialise(0)
    with torch.no_grad():  # the projections that start at zero would hide the layers
        for parameter in decoder.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.manual_seed(1)) * 0.1)
    return decoder


@pytest.fixture
def documents() -> list[list[int]]:
    numbers = np.random.default_rng(0)
    return [numbers.integers(1, 64, length).tolist() for length in (3, 23, 7, 9, 60, 1, 12, 23, 5)]


@pytest.fixture
def rows(documents: list[list[int]]) -> list[PackedRow]:
    """One epoch."""
    tokens = np.array([token for document in documents for token in (*document, END)])
    offsets = np.cumsum([0, *(len(document) + 1 for document in documents)])
    packing = Packing(tokens, offsets, LENGTH, seed=0)
    return [packing.row(index) for index in range(packing.num_rows)]


@pytest.mark.parametrize("micro_batch_tokens", [LENGTH, 3 * LENGTH, 1000])
def test_loss_and_gradient_are_those_of_the_documents_one_by_one(
    module: Decoder, documents: list[list[int]], rows: list[PackedRow], micro_batch_tokens: int
) -> None:
    """Each document from its end-of-document token on; the long one in its three pieces."""
    alone = []
    for document in documents:
        whole = np.array([END, *document, END])
        cuts = range(0, len(document) + 1, LENGTH)
        alone += [Row(whole[start : start + LENGTH + 1]) for start in cuts]
    losses, gradients = [], []
    for batches in (
        [batch for row in alone for batch in gather([row], 1000)],
        gather_packed(rows, LENGTH, micro_batch_tokens),
    ):
        units = sum(batch.units for batch in batches)
        assert units == sum(len(document) + 1 for document in documents)
        module.zero_grad()
        parts = [next_token_loss(module, batch) / units for batch in batches]
        torch.stack(parts).sum().backward()
        losses.append(float(sum(part.detach() for part in parts)))
        grads = [p.grad.flatten() for p in module.parameters() if p.grad is not None]
        gradients.append(torch.cat(grads))
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=0, atol=1e-6)


def test_every_position_is_a_target_but_the_padding(rows: list[PackedRow]) -> None:
    for batch in gather_packed(rows, LENGTH, 2 * LENGTH):
        assert batch.ids_BT.shape == batch.targets_BT.shape
        assert batch.ids_BT.numel() <= 2 * LENGTH
        assert batch.lengths is not None
        assert sum(batch.lengths) == batch.ids_BT.numel()
        for targets in batch.targets_BT.tolist():
            padding = targets.count(IGNORED)
            assert IGNORED not in targets[: LENGTH - padding]


SHARES = """
[[pretrain.corpus]]
name = "{one}"
weight = 0.75
epochs = 3

[[pretrain.corpus]]
name = "{two}"
weight = 0.25
epochs = {epochs}
"""


@pytest.fixture
def two(tmp_path: Path) -> dict[str, str]:
    paths = {}
    for name, word in (("one", "plain words of text"), ("two", "quite other words")):
        path = tmp_path / f"{name}.jsonl"
        lines = [f'{{"text": "{word} number {n}, {"again " * (n % 40)}"}}' for n in range(400)]
        path.write_text("\n".join(lines))
        paths[name] = str(path)
    return paths


def mixed(recipe: str, two: dict[str, str], epochs: float, folder: Path) -> str:
    """The small recipe with a mixture for its corpus."""
    text = Path(recipe).read_text().replace('corpus = "python-docs"\n', "")
    path = folder / "mixed.toml"
    path.write_text(text + SHARES.format(**two, epochs=epochs))
    return str(path)


def test_a_mixture_trains_tokenizes_and_validates_on_all_its_sources(
    store: Store, recipe: str, two: dict[str, str], tmp_path: Path
) -> None:
    result = pretrain(mixed(recipe, two, 1.5, tmp_path), name="run", store=store)
    metrics = result["metrics"]
    shards = [store.get(f"run-tokens-{number}") for number in (1, 2)]
    assert metrics["val_bytes"] == sum(part.metrics["validation_bytes"] for part in shards)
    for (name, path), drawn in zip(two.items(), (36, 12), strict=True):
        assert 0 < metrics[f"epochs_{path}"] < 3, name
        assert drawn / metrics[f"epochs_{path}"] == pytest.approx(
            round(drawn / metrics[f"epochs_{path}"])
        )
    assert metrics["packing_efficiency"] == result["tokens"] / (12 * 512)
    parents = {node["name"] for node in store.lineage("run-tokenizer")["nodes"]}
    assert {"corpus-one", "corpus-two"} <= parents


def test_a_mixture_that_runs_dry_is_refused_before_training(
    store: Store, recipe: str, two: dict[str, str], tmp_path: Path
) -> None:
    with pytest.raises(BadSettings, match=r"12 rows of .*two\.jsonl.* declared are 0\.01"):
        pretrain(mixed(recipe, two, 0.01, tmp_path), name="run", store=store)
    assert not store.run("run").metrics_path.exists()
