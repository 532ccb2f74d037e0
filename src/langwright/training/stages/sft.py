"""Supervised fine-tuning: learn what the assistant says, and nothing else."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from pydantic import Field
from torch import Tensor, nn

from langwright.errors import BadInput, Unsupported
from langwright.inference import score_rows
from langwright.model import IGNORED, Decoder
from langwright.model.text_parts import TextParts
from langwright.store import Artifact, Store, write_atomic
from langwright.tokens import Tokenizer
from langwright.training.batch import (
    MicroBatch,
    Row,
    documents,
    gather,
    gather_packed,
    next_token_loss,
    pack,
)
from langwright.training.conversations import Lessons, TooLong, lessons, open_conversations
from langwright.training.epochs import Epochs, held_out
from langwright.training.examples import Example, Forgotten, Piece, numbers_of
from langwright.training.ranks import join
from langwright.training.recipe import read_recipe
from langwright.training.run_stage import Result, run_stage
from langwright.training.stage import PlainStage
from langwright.training.start import open_start
from langwright.training.trained import Model
from langwright.training.tuning import TuningSettings, begin, require_alone

EVALUATED_CONVERSATIONS = 200
_LINES = "data.json"
"""In the run's folder: the lines that were left out or cut."""


class SFTSettings(TuningSettings):
    """The recipe of a fine-tuning run: `data` to learn, and how (see `TuningSettings`).

    `data` is an artifact of kind `conversations`, or a file, folder or data set of the hub in one
    of `conversations.SHAPES`. What is longer than `context_length` is left out, cut behind that, or
    an error (`too_long`). `packing` puts conversations next to each other in rows of that length,
    each apart from the others: the same loss and gradients, without the padding. What `forget`
    names by its digest is not learnt from; all others stay where and when they would be with it.
    """

    data: str
    validation_fraction: float = Field(0.05, gt=0, lt=1)
    too_long: TooLong = "leave_out"
    packing: bool = True
    forget: Forgotten = ()


def sft(
    recipe: str, *, name: str | None = None, store: Store | None = None, **settings: object
) -> Result:
    """Fine-tune a model on conversations; loss on the assistant's tokens only.

    The result has `data` beside what every stage answers: which lines of `conversations.jsonl` in
    the run's data were left out or cut, by reason; the counts are in `metrics`.
    """
    store = store or Store()
    chosen = SFTSettings.build(read_recipe(recipe, "sft", settings))
    name = name or recipe.rpartition("/")[2].removesuffix(".toml")
    ranks = join(chosen)
    if chosen.method == "lora":
        require_alone("sft with method=lora", ranks.size)
    with ranks.first_alone():
        base = open_start(chosen.model, store)
        data = open_conversations(chosen.data, store)
    run = store.run(name)

    def prepared(working: SFTSettings) -> tuple[Model, SFT]:
        trained, stage = prepare(working, base, data, store)
        if ranks.leads:
            write_atomic(run.folder / _LINES, json.dumps(stage.lessons.lines()))
        return trained, stage

    result = run_stage(run, chosen, [base, data], store, prepared, ranks)
    lines = run.folder / _LINES
    return {**result, "data": json.loads(lines.read_bytes())} if lines.exists() else result


def prepare(
    settings: SFTSettings, base: Artifact, data: Artifact, store: Store
) -> tuple[Model, SFT]:
    """The model before its first step, and the stage."""
    bundle, trained = begin(settings, base, store)
    return trained, SFT.build(settings, bundle.text, data, store)


def _split(found: Lessons, validation_fraction: float) -> tuple[list[Row], list[Row]]:
    """By the hash of the tokens, so that equal conversations land on one side, and all rows of one
    do. The first row decides: others that begin with it are on its side."""
    first: dict[int, Row] = {}
    for group, row in zip(found.groups, found.rows, strict=True):
        first.setdefault(group, row)
    keys = [row.ids.tobytes() for row in first.values()]
    out = dict(zip(first, held_out(keys, validation_fraction), strict=True))
    sides: tuple[list[Row], list[Row]] = ([], [])
    for group, row in zip(found.groups, found.rows, strict=True):
        sides[out[group]].append(row)
    train, validation = sides
    if not train:
        raise BadInput("All conversations are the same.", remedy="Give different ones.")
    return train, validation


def _examples(rows: Sequence[Row]) -> list[Example]:
    digests = (hashlib.sha256(row.ids.astype("<i8").tobytes()).hexdigest() for row in rows)
    return [Example(digest, row.source) for digest, row in zip(digests, rows, strict=True)]


class SFT(PlainStage):
    """Whole conversations, shuffled anew each epoch; the targets are the assistant's tokens."""

    name = "sft"

    def __init__(self, settings: SFTSettings, tokenizer: Tokenizer, found: Lessons) -> None:
        self._settings, self._tokenizer, self.lessons = settings, tokenizer, found
        self._train, self._validation = _split(found, settings.validation_fraction)
        self._forgotten = numbers_of(settings.forget, self.examples, self.held_out)
        sizes = [len(row.ids) for row in self._train]  # prompts included
        self._epochs = Epochs(sizes, settings.tokens_per_step, settings.seed)

    @classmethod
    def build(cls, settings: SFTSettings, text: TextParts, data: Artifact, store: Store) -> SFT:
        """The stage of a run: `text` is that of the model it starts from, `data` its parent."""
        if text.template is None:
            raise Unsupported(
                "The model has no chat template.", remedy="Start from a model that has one."
            )
        path = store.path(data) / "conversations.jsonl"
        found = lessons(text.template, path, settings.context_length, settings.too_long)
        return cls(settings, text.tokenizer, found)

    @property
    def epoch_steps(self) -> int:
        """How many steps the first epoch has."""
        return self._epochs.first

    def micro_batches(self, step: int) -> Sequence[MicroBatch]:
        rows = [self._train[number] for number in self._kept(step)]
        length, tokens = self._settings.context_length, self._settings.micro_batch_tokens
        if not self._settings.packing:
            return gather(rows, tokens)
        packed = pack(rows, length)
        return gather_packed(packed, max((len(row.inputs) for row in packed), default=0), tokens)

    @cached_property
    def examples(self) -> list[Example]:
        """The conversations that may be learnt from, the forgotten ones among them."""
        return _examples(self._train)

    @cached_property
    def held_out(self) -> list[Example]:
        """Those of validation."""
        return _examples(self._validation)

    def numbers(self, window: int) -> set[int]:
        """Which conversations a window of the data holds, by their places in `examples`."""
        return set(self._kept(window))

    def pieces(self, window: int) -> list[Piece]:
        """The conversations of a window of the data."""
        found = []
        for number in self._kept(window):
            row = self._train[number]
            assert row.learn is not None
            targets = np.where(row.learn, row.ids, IGNORED)
            found.append(Piece(number, row.ids[:-1], targets[1:]))
        return found

    def text(self, number: int) -> str:
        """That of a conversation, as the template spells it."""
        return self._tokenizer.decode(self._train[number].ids.tolist())

    def _kept(self, window: int) -> list[int]:
        return [number for number in self._epochs.step(window) if number not in self._forgotten]

    def documents(self, batch: MicroBatch) -> list[dict[str, Any]]:
        return documents(batch, self._tokenizer.decode)

    def loss(self, module: nn.Module, batch: MicroBatch) -> Tensor:
        return next_token_loss(module, batch)

    def bits_per_byte(self, loss: float) -> None:
        """The mean over a step's answers mixes texts of all lengths; only validation has it."""
        return None

    def evaluate(self, module: Decoder, whole: bool) -> dict[str, float]:
        """The held-out answers: nats per learnt token, and bits per byte of the answers' text; at
        the end also how many conversations there were, and what was left out or cut."""
        rows = self._validation if whole else self._validation[:EVALUATED_CONVERSATIONS]
        window = max(len(row.ids) for row in rows)
        scores = score_rows(module, [row.ids.tolist() for row in rows], window, window - 1)
        tokenizer = self._tokenizer
        special = frozenset(tokenizer.special.values())
        nats, count, size = 0.0, 0, 0
        for row, values in zip(rows, scores, strict=True):
            assert row.learn is not None
            for token, value, learn in zip(row.ids.tolist(), values, row.learn, strict=True):
                if learn and value is not None:
                    nats, count = nats - value, count + 1
                    size += 0 if token in special else len(tokenizer.token_bytes(token))
        found = {"val_loss": nats / count, "val_bits_per_byte": nats / math.log(2) / max(size, 1)}
        return found | (self.lessons.counts() if whole else {})
