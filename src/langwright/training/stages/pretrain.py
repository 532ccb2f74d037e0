"""Pretraining: predict the next token of raw text."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from functools import cached_property
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Discriminator, Field, Tag
from torch import Tensor, nn

from langwright.config import Settings
from langwright.evaluation import document_nats
from langwright.model import Architecture, Decoder, ModelBundle
from langwright.model.text_parts import TextParts
from langwright.providers import load_tokenizer
from langwright.store import Artifact, Store
from langwright.text import (
    Mixture,
    Packing,
    Source,
    TokenShards,
    adopt_tokenizer,
    build_shards,
    build_tokenizer,
    open_corpus,
)
from langwright.tokens import CHATML, END_OF_TEXT, TURN_END, ChatTemplate, Tokenizer, read_tokenizer
from langwright.training.batch import MicroBatch, documents, gather_packed, next_token_loss
from langwright.training.examples import Example, Forgotten, Piece, numbers_of
from langwright.training.ranks import join
from langwright.training.recipe import read_forecast, read_recipe
from langwright.training.run_stage import Result, run_stage
from langwright.training.settings import LoopSettings
from langwright.training.stage import PlainStage
from langwright.training.trained import TrainedDecoder

EVALUATED_BYTES = 65_536
"""Validation text read at each evaluation during training; the end reads all of it."""


class CorpusShare(Settings):
    """A table `[[pretrain.corpus]]`: a corpus (a name or a path), its share of the rows, and how
    many epochs of it the run may read."""

    name: str
    weight: float = Field(gt=0)
    epochs: float = Field(gt=0)


class PretrainSettings(LoopSettings):
    """The recipe of a pretraining run: text, tokenizer, shape of the model, and the loop.

    `corpus` is one corpus, read as often as `steps` ask for, or a list of shares. `tokenizer` is
    that of a tokenizer or model of the store (`gpt2` after `langwright pull gpt2`); without it,
    byte-level BPE of `vocab_size` is trained. What `forget` names by its digest is not learnt from;
    all other text stays where and when it would be with it.
    """

    corpus: Annotated[
        Annotated[str, Tag("name")]
        | Annotated[list[CorpusShare], Tag("shares"), Field(min_length=1)],
        # Told apart beforehand, so that an error speaks of one of them.
        Discriminator(lambda value: "name" if isinstance(value, str) else "shares"),
    ]
    tokenizer: str | None = None
    vocab_size: int = 4096
    validation_fraction: float = Field(0.05, gt=0, lt=1)
    forget: Forgotten = ()
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
    ranks = join(chosen)
    with ranks.first_alone():
        shards, tokenizer = _build(chosen, name, store)
    return run_stage(
        store.run(name),
        chosen,
        [*shards, tokenizer],
        store,
        lambda working: prepare(working, shards, tokenizer, store),
        ranks,
        read_forecast(recipe),
    )


def _build(chosen: PretrainSettings, name: str, store: Store) -> tuple[list[Artifact], Artifact]:
    """Token shards of each corpus, and the tokenizer."""
    fraction = chosen.validation_fraction
    shares = chosen.corpus
    if isinstance(shares, str):
        corpora = [open_corpus(shares, store)]
        named = [f"{name}-tokens"]
    else:
        corpora = [open_corpus(share.name, store) for share in shares]
        named = [f"{name}-tokens-{number}" for number in range(1, len(shares) + 1)]
    if chosen.tokenizer is None:
        tokenizer = build_tokenizer(
            f"{name}-tokenizer", corpora, chosen.vocab_size, fraction, store
        )
    else:
        given = store.get(chosen.tokenizer)
        loaded = load_tokenizer(chosen.tokenizer, store=store)
        tokenizer = adopt_tokenizer(f"{name}-tokenizer", given, loaded, store)
    shards = [
        build_shards(shard, corpus, tokenizer, fraction, store)
        for shard, corpus in zip(named, corpora, strict=True)
    ]
    return shards, tokenizer


def prepare(
    settings: PretrainSettings, shards: Sequence[Artifact], vocabulary: Artifact, store: Store
) -> tuple[TrainedDecoder, Pretrain]:
    """The model before its first step, and the stage."""
    text = text_of(vocabulary, store)
    module = Decoder(shape_of(settings, text.tokenizer.vocab_size))
    module.initialise(settings.seed)
    bundle = ModelBundle(module, text.tokenizer, text.template, text.end_ids, text.start_id)
    return TrainedDecoder(bundle), Pretrain.build(settings, text, shards, store)


def shape_of(settings: PretrainSettings, vocab_size: int) -> Architecture:
    """The shape of the model that the settings ask for, with a tokenizer of that size."""
    return Architecture.build(
        {
            # Rows in sixties-four suit the matrix kernels, and other engines' loaders.
            "vocab_size": -(-vocab_size // 64) * 64,
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


def text_of(vocabulary: Artifact, store: Store) -> TextParts:
    """How a model that is pretrained with this tokenizer meets text."""
    tokenizer = read_tokenizer(store.path(vocabulary) / "tokenizer.json")
    end = tokenizer.special[END_OF_TEXT]
    ends = frozenset({end, tokenizer.special[TURN_END]})
    template = ChatTemplate(CHATML, tokenizer, bos=END_OF_TEXT)
    return TextParts(tokenizer, template, ends, end)


class Pretrain(PlainStage):
    """Documents packed into rows, of one corpus or several; every token is a target."""

    name = "pretrain"

    def __init__(
        self,
        settings: PretrainSettings,
        shards: Sequence[Path],
        tokenizer: Tokenizer,
        end_of_document: int,
    ) -> None:
        self._settings, self._tokenizer, self._end = settings, tokenizer, end_of_document
        self._trains = trains = [TokenShards(folder, "train") for folder in shards]
        self._validation = [TokenShards(folder, "validation") for folder in shards]
        self._firsts = [0, *accumulate(train.num_documents for train in trains)]
        """The numbers of the corpora's first documents, where all are counted."""
        whole = self._mixed([[] for _ in trains])
        self._mixture = self._mixed(self._forgotten()) if settings.forget else whole
        # With what is forgotten: bits of runs that forgot and that did not can be compared.
        trained = whole.trained
        size = sum(
            count * train.num_bytes / train.num_tokens
            for count, train in zip(trained, trains, strict=True)
        )
        self._bytes_per_token = size / sum(trained)
        places = sum(self._mixture.drawn) * settings.context_length
        self._packed = sum(self._mixture.trained) / places

    @classmethod
    def build(
        cls,
        settings: PretrainSettings,
        text: TextParts,
        shards: Sequence[Artifact],
        store: Store,
    ) -> Pretrain:
        """The stage of a run: `text` is `text_of` its tokenizer, `shards` its other parents."""
        end = text.tokenizer.special[END_OF_TEXT]
        return cls(settings, [store.path(shard) for shard in shards], text.tokenizer, end)

    @property
    def epochs(self) -> dict[str, float]:
        """How often the whole run reads each corpus."""
        return self._mixture.epochs

    @property
    def epoch_steps(self) -> int:
        """How many steps read nothing twice, one at least."""
        return max(1, int(self._settings.steps / max(self.epochs.values())))

    def micro_batches(self, step: int) -> Sequence[MicroBatch]:
        settings = self._settings
        rows = self._mixture.rows(step)
        return gather_packed(rows, settings.context_length, settings.micro_batch_tokens)

    def documents(self, batch: MicroBatch) -> list[dict[str, Any]]:
        return documents(batch, self._tokenizer.decode)

    @cached_property
    def examples(self) -> list[Example]:
        """The documents of all corpora that may be learnt from, the forgotten ones among them."""
        return _examples(self._trains)

    @cached_property
    def held_out(self) -> list[Example]:
        """Those of validation."""
        return _examples(self._validation)

    def numbers(self, window: int) -> set[int]:
        """Which documents a window of the data holds, by their places in `examples`."""
        rows = self._mixture.documents(window)
        return {self._firsts[corpus] + number for row in rows for corpus, number in row}

    def pieces(self, window: int) -> list[Piece]:
        """What a window of the data has of each document, in the order of the rows."""
        found = []
        pairs = zip(self._mixture.rows(window), self._mixture.documents(window), strict=True)
        for row, numbers in pairs:
            edges = np.cumsum(row.lengths)[:-1]
            parts = (np.split(row.inputs, edges), np.split(row.targets, edges))
            for (corpus, number), inputs, targets in zip(numbers, *parts, strict=False):
                found.append(Piece(self._firsts[corpus] + number, inputs, targets))
        return found

    def text(self, number: int) -> str:
        """That of a document."""
        corpus = bisect_right(self._firsts, number) - 1
        ids = self._trains[corpus].document(number - self._firsts[corpus])
        return self._tokenizer.decode(ids.tolist())

    def _forgotten(self) -> list[list[int]]:
        """The documents of each corpus that are not learnt from."""
        numbers = sorted(numbers_of(self._settings.forget, self.examples, self.held_out))
        spans = pairwise(self._firsts)
        return [[n - first for n in numbers if first <= n < end] for first, end in spans]

    def _mixed(self, forgotten: Sequence[Sequence[int]]) -> Mixture:
        """The rows of all corpora without these documents."""
        settings = self._settings
        rows_per_step = settings.tokens_per_step // settings.context_length
        sources = _sources(settings, self._trains, forgotten)
        return Mixture(sources, rows_per_step, settings.steps)

    def loss(self, module: nn.Module, batch: MicroBatch) -> Tensor:
        return next_token_loss(module, batch)

    def bits_per_byte(self, loss: float) -> float:
        return loss / math.log(2) / self._bytes_per_token

    def evaluate(self, module: Decoder, whole: bool) -> dict[str, float]:
        """Validation documents of all corpora, each from its beginning to its end: the first of
        them, or all. With all of them, what the run read: `packing_efficiency` (trained tokens /
        positions paid for) and `epochs` (of one corpus) or `epochs_NAME` (of each of several)."""
        documents, size = [], 0
        for shards in self._validation:
            # Every corpus has a part in the sample.
            enough = size + EVALUATED_BYTES // len(self._validation)
            count = 0
            while count < shards.num_documents and (whole or size < enough):
                documents.append(shards.document(count).tolist())
                size += shards.document_bytes[count]
                count += 1
        nats = float(document_nats(module, documents, self._end).sum())
        targets = sum(len(document) + 1 for document in documents)
        bits = nats / math.log(2) / size
        figures = {"val_loss": nats / targets, "val_bits_per_byte": bits, "val_bytes": size}
        if whole:
            epochs = self.epochs
            single = isinstance(self._settings.corpus, str)
            figures["packing_efficiency"] = self._packed
            figures |= {"epochs" if single else f"epochs_{name}": epochs[name] for name in epochs}
        return figures


def _examples(shards: Sequence[TokenShards]) -> list[Example]:
    rows = (row for part in shards for row in part.records())
    return [Example(row["digest"], row["source"], row["title"]) for row in rows]


def _sources(
    settings: PretrainSettings, trains: Sequence[TokenShards], forgotten: Sequence[Sequence[int]]
) -> list[Source]:
    """The shards of each corpus of the recipe, packed, without the documents to forget."""
    length, seed = settings.context_length, settings.seed
    rows = [
        Packing(train.tokens, train.offsets, length, seed, stream, gone)
        for stream, (train, gone) in enumerate(zip(trains, forgotten, strict=True))
    ]
    if isinstance(settings.corpus, str):
        return [Source(settings.corpus, rows[0])]
    return [
        Source(share.name, packed, share.weight, share.epochs)
        for share, packed in zip(settings.corpus, rows, strict=True)
    ]
