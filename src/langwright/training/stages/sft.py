"""Supervised fine-tuning: learn what the assistant says, and nothing else."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field
from torch import Tensor, nn

from langwright.errors import BadInput, Unsupported
from langwright.inference import score_rows
from langwright.model import IGNORED, Decoder
from langwright.model.text_parts import TextParts
from langwright.progress import say
from langwright.store import Artifact, Store
from langwright.tokens import ChatTemplate, Tokenizer
from langwright.training.batch import MicroBatch, Row, documents, gather, next_token_loss
from langwright.training.epochs import Epochs, held_out
from langwright.training.examples import Example, Forgotten, Piece, numbers_of
from langwright.training.lines import open_lines
from langwright.training.ranks import join
from langwright.training.recipe import read_recipe
from langwright.training.run_stage import Result, run_stage
from langwright.training.trained import Model
from langwright.training.tuning import TuningSettings, begin, require_alone

EVALUATED_CONVERSATIONS = 200


class SFTSettings(TuningSettings):
    """The recipe of a fine-tuning run: `data` to learn, and how (see `TuningSettings`).

    `data` is an artifact of kind `conversations` or a .jsonl file: one object a line,
    {"messages": [{"role", "content"}, …]}. What `forget` names by its digest is not learnt from;
    all others stay where and when they would be with it.
    """

    data: str
    validation_fraction: float = Field(0.05, gt=0, lt=1)
    forget: Forgotten = ()


def sft(
    recipe: str, *, name: str | None = None, store: Store | None = None, **settings: object
) -> Result:
    """Fine-tune a model on conversations; loss on the assistant's tokens only."""
    store = store or Store()
    chosen = SFTSettings.build(read_recipe(recipe, "sft", settings))
    name = name or recipe.rpartition("/")[2].removesuffix(".toml")
    shape = '{"messages": [...]}'
    ranks = join(chosen)
    require_alone(chosen, ranks.size)
    with ranks.first_alone():
        base = store.get(chosen.model)
        data = open_lines(chosen.data, "conversations", shape, store)

    return run_stage(
        store.run(name),
        chosen,
        [base, data],
        store,
        lambda working: prepare(working, base, data, store),
        ranks,
    )


def prepare(
    settings: SFTSettings, base: Artifact, data: Artifact, store: Store
) -> tuple[Model, SFT]:
    """The model before its first step, and the stage."""
    bundle, trained = begin(settings, base, store)
    return trained, SFT.build(settings, bundle.text, data, store)


def _encode(template: ChatTemplate | None, path: Path, context_length: int) -> list[Row]:
    """All conversations with their masks. What is too long is left out, and that is said."""
    if template is None:
        raise Unsupported(
            "The model has no chat template.", remedy="Start from a model that has one."
        )
    rows, too_long = [], []
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        if not line.strip():
            continue
        try:
            messages: Sequence[Mapping[str, Any]] = json.loads(line)["messages"]
            ids, learn = template.encode_with_mask(messages)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise BadInput(
                f"Line {number} of {path.name} is not a conversation.",
                remedy='Write one {"messages": [{"role", "content"}, …]} a line.',
            ) from None
        except BadInput as error:
            raise BadInput(f"Line {number}: {error.message}", remedy=error.remedy) from None
        if len(ids) > context_length + 1:
            too_long.append(number)
        else:
            rows.append(Row(np.array(ids), np.array(learn), f"{path.name}:{number}"))
    if too_long:
        shown = ", ".join(map(str, too_long[:5])) + (" …" if len(too_long) > 5 else "")
        say(
            f"Left out {len(too_long)} conversations longer than {context_length} tokens "
            f"(lines {shown}); a larger context_length keeps them."
        )
    if len(rows) < 2:
        raise BadInput(
            f"{path.name} has {len(rows)} usable conversations.", remedy="Give at least two."
        )
    return rows


def _split(rows: list[Row], validation_fraction: float) -> tuple[list[Row], list[Row]]:
    """By the hash of the tokens, so that equal conversations land on one side."""
    out = held_out([row.ids.tobytes() for row in rows], validation_fraction)
    validation = [row for row, chosen in zip(rows, out, strict=True) if chosen]
    train = [row for row, chosen in zip(rows, out, strict=True) if not chosen]
    if not train:
        raise BadInput("All conversations are the same.", remedy="Give different ones.")
    return train, validation


def _examples(rows: Sequence[Row]) -> list[Example]:
    digests = (hashlib.sha256(row.ids.astype("<i8").tobytes()).hexdigest() for row in rows)
    return [Example(digest, row.source) for digest, row in zip(digests, rows, strict=True)]


class SFT:
    """Whole conversations, shuffled anew each epoch; the targets are the assistant's tokens."""

    name = "sft"

    def __init__(
        self, settings: SFTSettings, tokenizer: Tokenizer, train: list[Row], validation: list[Row]
    ) -> None:
        self._settings, self._tokenizer = settings, tokenizer
        self._train, self._validation = train, validation
        self._forgotten = numbers_of(settings.forget, self.examples, self.held_out)
        sizes = [len(row.ids) for row in train]  # prompts included
        self._epochs = Epochs(sizes, settings.tokens_per_step, settings.seed)

    @classmethod
    def build(cls, settings: SFTSettings, text: TextParts, data: Artifact, store: Store) -> SFT:
        """The stage of a run: `text` is that of the model it starts from, `data` its parent."""
        path = store.path(data) / "conversations.jsonl"
        rows = _encode(text.template, path, settings.context_length)
        return cls(settings, text.tokenizer, *_split(rows, settings.validation_fraction))

    @property
    def epoch_steps(self) -> int:
        """How many steps the first epoch has."""
        return self._epochs.first

    def micro_batches(self, step: int) -> Sequence[MicroBatch]:
        rows = [self._train[number] for number in self._kept(step)]
        return gather(rows, self._settings.micro_batch_tokens)

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
        """The held-out answers: nats per learnt token, and bits per byte of the answers' text."""
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
        return {"val_loss": nats / count, "val_bits_per_byte": nats / math.log(2) / max(size, 1)}
