"""A 2017 Transformer with its symbols: sequences in, sequences out; and its folder.

The family is in no other program's format, so it is not exported; the folder is our own:
config.json, model.safetensors (float32) and vocabulary.json, the list of symbols.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from langwright.errors import BadInput, BadSettings, Damaged, NotFound, Unsupported
from langwright.model.beam import beam_search
from langwright.model.bundle import filled
from langwright.model.folder import load_weights, read_json, write_json, write_tensors
from langwright.model.transformer2017 import Shape2017, Transformer2017

FAMILY = "transformer2017"
NUM_MARKS = 3
"""Padding, start and end are the ids before the first symbol's."""

_SYMBOLS_TOGETHER = 8_192
"""Padded source symbols, times beams, in one pass."""


@dataclass(frozen=True)
class PairsModel:
    """`symbols[i]` has the id i + 3; one table serves source and target."""

    module: Transformer2017
    symbols: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(set(self.symbols)) != len(self.symbols):
            raise BadInput("A symbol is listed twice.", remedy="Give each symbol once.")
        if len(self.symbols) + NUM_MARKS != self.module.shape.vocab_size:
            raise BadInput(
                f"{len(self.symbols)} symbols and {NUM_MARKS} marks do not fit the model's "
                f"{self.module.shape.vocab_size} rows.",
                remedy="Use the symbols that the model was trained with.",
            )

    def ids(self, sequence: Sequence[str]) -> list[int]:
        """The ids of symbols, without marks (a string is its characters). Raises `BadInput` for
        one that the training pairs did not have, and for more than the model can hold."""
        if len(sequence) > self.longest:
            raise BadInput(
                f"{len(sequence)} symbols are more than the model's {self.longest}.",
                remedy="Cut the sequence, or train with a larger context_length.",
            )
        for symbol in sequence:
            if symbol not in self._ids:
                raise BadInput(
                    f"The model does not know the symbol '{symbol}'.",
                    remedy="Train on pairs that have it.",
                )
        return [self._ids[symbol] for symbol in sequence]

    @property
    def longest(self) -> int:
        """Symbols in a source or target at most; start or end come on top."""
        return self.module.shape.context_length - 1

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {symbol: index for index, symbol in enumerate(self.symbols, start=NUM_MARKS)}

    def write(self, sources: Sequence[Sequence[str]], *, beams: int = 1) -> list[list[str]]:
        """The target of each source, greedily or by beam search; a source must not be empty."""
        return [
            [self.symbols[index - NUM_MARKS] for index in row]
            for row in self.write_ids([self.ids(source) for source in sources], beams=beams)
        ]

    def write_ids(self, sources: Sequence[list[int]], *, beams: int = 1) -> list[list[int]]:
        """The same in ids, without marks."""
        order = sorted(range(len(sources)), key=lambda index: len(sources[index]))
        written: list[list[int]] = [[] for _ in sources]
        while order:
            longest = len(sources[order[-1]])
            group = order[-max(1, _SYMBOLS_TOGETHER // (max(1, longest) * beams)) :]
            del order[-len(group) :]
            source_BS = padded([sources[index] for index in group])
            rows = beam_search(self.module, source_BS, self.longest, beams=beams)
            for index, row in zip(group, rows, strict=True):
                written[index] = row
        return written

    def attention(self, source: Sequence[str], target: Sequence[str]) -> Tensor:
        """Where the last decoder layer looks in the source, mean over its heads, [T + 1, S]: a
        row for each symbol of the target as it is written, and one for the end."""
        return self.attention_heads(source, target)[-1].mean(0)

    @torch.no_grad()
    def attention_heads(self, source: Sequence[str], target: Sequence[str]) -> Tensor:
        """The same of each layer and head, [layers, H, T + 1, S]."""
        source_1S = padded([self.ids(source)])
        start = self.module.shape.start_id
        target_1T = torch.tensor([[start, *self.ids(target)]])
        memory, mask = self.module.encode(source_1S), self.module.seen(source_1S)
        _, looks = self.module.decode(target_1T, memory, mask, keep=True)
        return torch.cat(looks)

    @property
    def kind(self) -> str:
        return "model"

    @property
    def learnt(self) -> dict[str, torch.nn.Parameter]:
        return dict(self.module.named_parameters())

    def over(self, weights: dict[str, Tensor]) -> PairsModel:
        """The same model holding `weights` without a copy; raises as `filled` does."""
        return replace(self, module=_holding(self.module.shape, weights))

    def read(self, folder: Path) -> dict[str, Tensor]:
        """The weights that `save` wrote there, by name."""
        return load_file(folder / "model.safetensors")

    def save(self, folder: Path) -> None:
        """Write what `load_pairs_model` reads."""
        weights = {
            name: weight.detach().float().contiguous()
            for name, weight in self.module.named_parameters()
        }
        write_tensors(folder / "model.safetensors", weights)
        marked = {"model_type": FAMILY, "exportable": False}
        write_json(folder / "config.json", marked | self.module.shape.model_dump())
        text = json.dumps(self.symbols, ensure_ascii=False)
        (folder / "vocabulary.json").write_text(text + "\n", encoding="utf-8")


def load_pairs_model(folder: Path) -> PairsModel:
    """Read the folder of a 2017 Transformer trained on pairs.

    Raises `NotFound`, `Unsupported` for another family, `Damaged` for files that are not what
    was written, `BadInput` for weights or symbols that do not fit the settings.
    """
    if not (folder / "config.json").is_file():
        raise NotFound(
            f"{folder} holds no model: there is no config.json.",
            remedy="Give the folder of a model trained on pairs.",
        )
    config = read_json(folder / "config.json")
    if config.pop("model_type", None) != FAMILY:
        raise Unsupported(
            f"{folder} does not hold a {FAMILY}.", remedy="`load_model` reads decoders."
        )
    config.pop("exportable", None)
    try:
        shape = Shape2017.build(config)
    except BadSettings as error:
        raise _damaged(folder / "config.json", error.message) from None
    try:
        symbols = json.loads((folder / "vocabulary.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(folder / "vocabulary.json", str(error)) from None
    if not isinstance(symbols, list) or not all(isinstance(one, str) for one in symbols):
        raise _damaged(folder / "vocabulary.json", "It is not a list of symbols.")
    return PairsModel(_holding(shape, load_weights(folder)), tuple(symbols))


def padded(rows: Sequence[list[int]]) -> Tensor:
    """Rows of ids side by side, zeros (the padding's id) behind the shorter ones."""
    longest = max(len(row) for row in rows)
    if not all(rows):
        raise BadInput("A sequence is empty.", remedy="Give at least one symbol.")
    return torch.tensor([row + [0] * (longest - len(row)) for row in rows])


def _holding(shape: Shape2017, weights: dict[str, Tensor]) -> Transformer2017:
    module = filled(lambda: Transformer2017(shape), weights, shape.num_layers)
    module.set_positions()
    return module


def _damaged(path: Path, why: str) -> Damaged:
    return Damaged(f"{path} is damaged: {why}", remedy="Train the model again.")
