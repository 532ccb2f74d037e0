"""Pairs of sequences: the 2017 Transformer learns to write the target of a source."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from langwright.backend import Device
from langwright.errors import BadInput, Unsupported
from langwright.evaluation import edit_distance
from langwright.model.pairs import NUM_MARKS, PairsModel, padded
from langwright.model.transformer2017 import Shape2017, Transformer2017
from langwright.store import Store
from langwright.training.epochs import Epochs, held_out
from langwright.training.lines import open_lines
from langwright.training.ranks import join
from langwright.training.run_stage import Result, run_stage
from langwright.training.settings import Decay, LoopSettings, Schedule
from langwright.training.stage import PlainStage

EVALUATED_SOURCES = 200
_LINE = '{"source": …, "target": …}'


class PairsSettings(LoopSettings):
    """The shape of a 2017 Transformer, the pairs that it learns, and the loop; what has a value
    here has the paper's.

    `data` is an artifact of kind `pairs` or a .jsonl file: one object a line, {"source",
    "target"}, each a list of symbols, or a string, which is its characters. `context_length` holds
    the longest source or target and one mark. A source with several targets has a line for each;
    it is held out with all of them.
    """

    data: str
    validation_fraction: float = Field(0.05, gt=0, lt=1)
    hidden_size: int = 512
    intermediate_size: int = 2048
    num_layers: int = 6
    num_heads: int = 8
    dropout: float = 0.1
    label_smoothing: float = 0.1
    adam_betas: tuple[Decay, Decay] = (0.9, 0.98)
    adam_epsilon: float = Field(1e-9, gt=0)
    weight_decay: float = Field(0.0, ge=0)
    device: Device = "cpu"
    schedule: Schedule = "noam"
    warmup_steps: int = Field(4000, ge=0)


@dataclass(frozen=True)
class Pair:
    source: tuple[str, ...]
    target: tuple[str, ...]


@dataclass(frozen=True)
class PairBatch:
    """Sources, and targets between their marks; padded."""

    source_BS: Tensor
    target_BT: Tensor

    @property
    def units(self) -> int:
        """Number of target ids that are learnt, the end among them."""
        return int((self.target_BT[:, 1:] != 0).sum())

    @property
    def tokens(self) -> int:
        """Number of ids read, padding left out."""
        return int((self.source_BS != 0).sum() + (self.target_BT[:, :-1] != 0).sum())

    def to(self, device: torch.device) -> PairBatch:
        return PairBatch(self.source_BS.to(device), self.target_BT.to(device))


def pairs(*, name: str, store: Store | None = None, **settings: object) -> Result:
    """Train a 2017 Transformer from scratch on pairs, with `PairsSettings`.

    The same name and settings continue an unfinished run, or return the finished one's result.
    `load_pairs_model(store.path(store.get(name)))` is the model.
    """
    store = store or Store()
    chosen = PairsSettings.build(settings)
    if chosen.device != "cpu":
        raise Unsupported("Pairs are trained on the processor.", remedy="Leave device out.")
    ranks = join(chosen)
    with ranks.first_alone():
        data = open_lines(chosen.data, "pairs", _LINE, store)

    def prepare(working: PairsSettings) -> tuple[PairsModel, Pairs]:
        read = read_pairs(store.path(data) / "pairs.jsonl", chosen.context_length - 1)
        out = held_out([repr(pair.source).encode() for pair in read], chosen.validation_fraction)
        train = [pair for pair, held in zip(read, out, strict=True) if not held]
        validation = [pair for pair, held in zip(read, out, strict=True) if held]
        if not train:
            raise BadInput("All sources are the same.", remedy="Give different ones.")
        model = _fresh(chosen, train)
        return model, Pairs(working, model, train, validation)

    return run_stage(store.run(name), chosen, [data], store, prepare, ranks)


def read_pairs(path: Path, longest: int) -> list[Pair]:
    """The pairs of a .jsonl file; raises `BadInput` that names the line which is none, or has a
    source or target of more than `longest` symbols."""
    found = []
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
            pair = Pair(_symbols(values["source"]), _symbols(values["target"]))
        except (ValueError, KeyError, TypeError):
            pair = Pair((), ())
        if not pair.source:
            raise BadInput(
                f"Line {number} of {path.name} is not a pair.",
                remedy=f"Write one {_LINE} a line, each a string or a list of them.",
            )
        if max(len(pair.source), len(pair.target)) > longest:
            raise BadInput(
                f"Line {number} of {path.name} has more than {longest} symbols.",
                remedy="Give a larger context_length.",
            )
        found.append(pair)
    if len(found) < 2:
        raise BadInput(f"{path.name} has {len(found)} pairs.", remedy="Give at least two.")
    return found


def _symbols(value: object) -> tuple[str, ...]:
    if not isinstance(value, str | list) or not all(isinstance(one, str) and one for one in value):
        raise ValueError("neither a string nor a list of them")
    return tuple(value)


def _fresh(settings: PairsSettings, train: Sequence[Pair]) -> PairsModel:
    """A new model for the symbols of the training pairs."""
    symbols = sorted({symbol for pair in train for symbol in (*pair.source, *pair.target)})
    shape = Shape2017.build(
        {
            "vocab_size": len(symbols) + NUM_MARKS,
            "hidden_size": settings.hidden_size,
            "intermediate_size": settings.intermediate_size,
            "num_layers": settings.num_layers,
            "num_heads": settings.num_heads,
            "context_length": settings.context_length,
            "dropout": settings.dropout,
            "label_smoothing": settings.label_smoothing,
        }
    )
    module = Transformer2017(shape)
    module.initialise(settings.seed)
    return PairsModel(module, tuple(symbols))


Row = tuple[list[int], list[int]]
"""The ids of a source, and those of its target between the marks."""


class Pairs(PlainStage):
    """Pairs shuffled anew each epoch; every symbol of a target is learnt, and its end."""

    name = "pairs"

    def __init__(
        self,
        settings: PairsSettings,
        model: PairsModel,
        train: Sequence[Pair],
        validation: Sequence[Pair],
    ) -> None:
        self._settings, self._model = settings, model
        self._train = [self._row(pair) for pair in train]
        self._targets: dict[tuple[int, ...], list[Row]] = {}
        for row in map(self._row, validation):
            self._targets.setdefault(tuple(row[0]), []).append(row)
        sizes = [len(source) + len(target) for source, target in self._train]
        self._epochs = Epochs(sizes, settings.tokens_per_step, settings.seed)

    def _row(self, pair: Pair) -> Row:
        shape, ids = self._model.module.shape, self._model.ids
        return ids(pair.source), [shape.start_id, *ids(pair.target), shape.end_id]

    def micro_batches(self, step: int) -> Sequence[PairBatch]:
        rows = [self._train[index] for index in self._epochs.step(step)]
        return gather_pairs(rows, self._settings.micro_batch_tokens)

    def documents(self, batch: PairBatch) -> list[dict[str, Any]]:
        symbols = self._model.symbols
        found = []
        for row in zip(batch.source_BS.tolist(), batch.target_BT.tolist(), strict=True):
            source, target = (
                [symbols[i - NUM_MARKS] for i in ids if i >= NUM_MARKS] for ids in row
            )
            found.append({"source": source, "target": target})
        return found

    def loss(self, module: Transformer2017, batch: PairBatch) -> Tensor:
        return module.loss(batch.source_BS, batch.target_BT, reduction="sum")

    def bits_per_byte(self, loss: float) -> None:
        """Symbols have no bytes."""
        return None

    def evaluate(self, module: Transformer2017, whole: bool) -> dict[str, float]:
        """Held-out sources, some or all, written greedily: `val_exact_match`, the share that
        equals one of the source's targets (1 - word error rate); `val_symbol_error`, edits to the
        nearest target / its symbols, summed over the sources; `val_loss`, nats a target symbol
        without label smoothing."""
        # Spread evenly: a file is often in an order, and its first words are not like the others.
        apart = 1 if whole else -(-len(self._targets) // EVALUATED_SOURCES)
        chosen = list(self._targets.items())[::apart]
        batches = gather_pairs(
            [row for _, rows in chosen for row in rows], self._settings.micro_batch_tokens
        )
        nats = 0.0
        with torch.no_grad():
            for batch in batches:
                loss = module.loss(
                    batch.source_BS, batch.target_BT, smoothed=False, reduction="sum"
                )
                nats += float(loss)
        model = PairsModel(module, self._model.symbols)
        written = model.write_ids([list(source) for source, _ in chosen])
        edits = size = exact = 0
        for ids, (_, rows) in zip(written, chosen, strict=True):
            errors, length = nearest(ids, [target[1:-1] for _, target in rows])
            edits, size, exact = edits + errors, size + length, exact + (errors == 0)
        return {
            "val_loss": nats / sum(batch.units for batch in batches),
            "val_exact_match": exact / len(chosen),
            "val_symbol_error": edits / max(size, 1),
        }


def nearest(written: Sequence[object], targets: Sequence[Sequence[object]]) -> tuple[int, int]:
    """Edits to the nearest of the targets, and that target's length."""
    return min((edit_distance(written, target), len(target)) for target in targets)


def gather_pairs(rows: Sequence[Row], micro_batch_tokens: int) -> list[PairBatch]:
    """Pairs of like length side by side, padded; at most so many positions of sources and targets
    in each batch."""
    ordered = sorted(rows, key=lambda row: (len(row[0]) + len(row[1]), len(row[0])))
    batches = []
    while ordered:
        taken = [ordered.pop()]
        longest = [len(part) for part in taken[0]]
        while ordered:
            grown = [max(a, len(part)) for a, part in zip(longest, ordered[-1], strict=True)]
            if sum(grown) * (len(taken) + 1) > micro_batch_tokens:
                break
            taken.append(ordered.pop())
            longest = grown
        sources, targets = zip(*taken, strict=True)
        batches.append(PairBatch(padded(sources), padded(targets)))
    return batches
