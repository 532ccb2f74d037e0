"""Pretraining: predict the next token of raw text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field
from torch import Tensor, nn

from langwright.evaluation import document_nats
from langwright.model import Architecture, Decoder, ModelBundle
from langwright.store import Artifact, Store
from langwright.text import TokenShards, Windows, build_shards, build_tokenizer, open_corpus
from langwright.tokens import CHATML, END_OF_TEXT, TURN_END, ChatTemplate, read_tokenizer
from langwright.training.batch import MicroBatch, Row, gather, next_token_loss
from langwright.training.recipe import read_recipe
from langwright.training.run_stage import Result, run_stage
from langwright.training.settings import LoopSettings

EVALUATED_BYTES = 65_536
"""Validation text read at each evaluation during training; the end reads all of it."""


class PretrainSettings(LoopSettings):
    """The recipe of a pretraining run: text, tokenizer, shape of the model, and the loop."""

    corpus: str
    tokenizer: str | None = None
    vocab_size: int = 4096
    validation_fraction: float = Field(0.05, gt=0, lt=1)
    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    rope_theta: float = 10_000.0


def pretrain(
    recipe: str, *, name: str | None = None, store: Store | None = None, **settings: object
) -> Result:
    """Train a model from scratch on raw text, as `recipe` says with `settings` on top.

    The same name and settings continue an unfinished run, or return the finished one's result.
    """
    store = store or Store()
    chosen = PretrainSettings.build(read_recipe(recipe, "pretrain", settings))
    name = name or f"{recipe.rpartition('/')[2].removesuffix('.toml')}-base"
    corpus = open_corpus(chosen.corpus, store)
    fraction = chosen.validation_fraction
    if chosen.tokenizer is None:
        named = f"{name}-tokenizer"
        tokenizer = build_tokenizer(named, corpus, chosen.vocab_size, fraction, store)
    else:
        tokenizer = store.get(chosen.tokenizer)
    shards = build_shards(f"{name}-tokens", corpus, tokenizer, fraction, store)
    return run_stage(
        store.run(name), chosen, [shards, tokenizer], store, lambda: _prepare(chosen, shards, store)
    )


def _prepare(
    settings: PretrainSettings, shards: Artifact, store: Store
) -> tuple[ModelBundle, Pretrain]:
    tokenizer = read_tokenizer(store.path(store.get(shards.parents[1])) / "tokenizer.json")
    end = tokenizer.special[END_OF_TEXT]
    shape = Architecture.build(
        {
            # Rows in sixties-four suit the matrix kernels, and other engines' loaders.
            "vocab_size": -(-tokenizer.vocab_size // 64) * 64,
            "hidden_size": settings.hidden_size,
            "intermediate_size": settings.intermediate_size,
            "num_layers": settings.num_layers,
            "num_heads": settings.num_heads,
            "num_kv_heads": settings.num_kv_heads,
            "head_dim": settings.hidden_size // settings.num_heads,
            "context_length": settings.context_length,
            "rope_theta": settings.rope_theta,
        }
    )
    module = Decoder(shape)
    module.initialise(settings.seed)
    ends = frozenset({end, tokenizer.special[TURN_END]})
    bundle = ModelBundle(module, tokenizer, ChatTemplate(CHATML, tokenizer), ends, end)
    return bundle, Pretrain(settings, store.path(shards), end)


class Pretrain:
    """Windows of a token stream; every token is a target."""

    name = "pretrain"

    def __init__(self, settings: PretrainSettings, shards: Path, end_of_document: int) -> None:
        train = TokenShards(shards, "train")
        rows_per_step = settings.tokens_per_step // settings.context_length
        self._windows = Windows(train.tokens, settings.context_length, rows_per_step, settings.seed)
        self._bytes_per_token = train.num_bytes / train.num_tokens
        self._validation = TokenShards(shards, "validation")
        self._end = end_of_document
        self._micro_batch_tokens = settings.micro_batch_tokens

    def micro_batches(self, step: int) -> Sequence[MicroBatch]:
        rows = [Row(ids) for ids in self._windows.batch(step)]
        return gather(rows, self._micro_batch_tokens)

    def loss(self, module: nn.Module, batch: MicroBatch) -> Tensor:
        return next_token_loss(module, batch)

    def bits_per_byte(self, loss: float) -> float:
        return loss / math.log(2) / self._bytes_per_token

    def evaluate(self, module: Decoder, whole: bool) -> dict[str, float]:
        """Validation documents, each from its beginning to its end: the first of them, or all."""
        shards = self._validation
        count, size = 0, 0
        while count < shards.num_documents and (whole or size < EVALUATED_BYTES):
            size += shards.document_bytes[count]
            count += 1
        documents = [shards.document(index).tolist() for index in range(count)]
        nats = float(document_nats(module, documents, self._end).sum())
        targets = sum(len(document) + 1 for document in documents)
        bits = nats / math.log(2) / size
        return {"val_loss": nats / targets, "val_bits_per_byte": bits, "val_bytes": size}
