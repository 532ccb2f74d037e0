"""Texts to vectors: an encoder with its tokenizer, as sentence-transformers' folders hold it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from langwright.errors import BadInput, Damaged, NotFound, Unsupported
from langwright.model.bert import Bert, BertShape, bert_weights
from langwright.model.bundle import filled
from langwright.model.folder import (
    load_weights,
    read_json,
    read_json_if_there,
    read_json_list,
)
from langwright.tokens import Tokenizer, read_tokenizer

_TOKENS_TOGETHER = 16_384
"""Padded tokens in one pass: more only take memory."""


@dataclass
class Encoder:
    """`pooling` makes one vector of a text's states: their mean, or the first; `normalised` ones
    have length 1. A text has room for `max_tokens`, its two marks among them."""

    module: Bert
    tokenizer: Tokenizer
    first_id: int
    last_id: int
    max_tokens: int
    pooling: str = "mean"
    normalised: bool = False

    @property
    def width(self) -> int:
        return self.module.shape.hidden_size

    def whole_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text between its marks, however many."""
        rows = self.tokenizer.encode_batch(list(texts))
        return [[self.first_id, *row, self.last_id] for row in rows]

    def ids(self, texts: Sequence[str], *, truncate: bool = False) -> list[list[int]]:
        """The ids of each text between its marks. Raises `BadInput` naming the first text of more
        than `max_tokens`, which `truncate` has cut instead, as sentence-transformers does."""
        rows = self.whole_ids(texts)
        for index, row in enumerate(rows):
            if len(row) > self.max_tokens and not truncate:
                raise BadInput(
                    f"Text {index + 1} of {len(rows)} has {len(row)} tokens with its marks; the "
                    f"encoder reads {self.max_tokens}.",
                    remedy="Split the text, or allow the cut with truncate.",
                )
        return [
            row if len(row) <= self.max_tokens else [*row[: self.max_tokens - 1], self.last_id]
            for row in rows
        ]

    @torch.inference_mode()
    def encode(self, texts: Sequence[str], *, truncate: bool = False) -> Tensor:
        """A vector for each text, [N, E] float32; the order of the texts changes none of them.
        Raises as `ids` does."""
        rows = self.ids(texts, truncate=truncate)
        order = sorted(range(len(rows)), key=lambda index: len(rows[index]))
        vectors = torch.empty(len(rows), self.width)
        while order:
            longest = len(rows[order[-1]])
            group = order[-max(1, _TOKENS_TOGETHER // longest) :]
            del order[-len(group) :]
            ids = torch.full((len(group), longest), self.module.shape.pad_id)
            mask = torch.zeros_like(ids)
            for place, index in enumerate(group):
                row = rows[index]
                ids[place, : len(row)], mask[place, : len(row)] = torch.tensor(row), 1
            vectors[group] = self._pool(self.module(ids, mask), mask)
        return vectors

    def _pool(self, states_BTE: Tensor, mask_BT: Tensor) -> Tensor:
        if self.pooling == "first":
            pooled = states_BTE[:, 0]
        else:
            weights = mask_BT[..., None].to(states_BTE.dtype)
            pooled = (states_BTE * weights).sum(1) / weights.sum(1)
        return F.normalize(pooled, dim=-1) if self.normalised else pooled


def is_encoder(path: Path) -> bool:
    """Whether this is the folder of a model of the family that `load_encoder` reads."""
    config = path / "config.json"
    return config.is_file() and read_json(config).get("model_type") == "bert"


def load_encoder(folder: Path) -> Encoder:
    """Read a folder with a BERT and, where they are, sentence-transformers' settings.

    Raises `NotFound`, `Unsupported` for another family or way of pooling, and as `filled` does.
    """
    if not (folder / "config.json").is_file():
        raise NotFound(
            f"{folder} holds no model: there is no config.json.",
            remedy="Give the folder of an encoder, such as `langwright pull minilm` brings.",
        )
    config = read_json(folder / "config.json")
    if config.get("model_type") != "bert":
        raise Unsupported(
            f"{folder} holds the family '{config.get('model_type')}', which is no encoder here.",
            remedy="Known is bert.",
        )
    shape = BertShape.from_hugging_face(config)
    tokenizer = read_tokenizer(folder / "tokenizer.json")
    weights = bert_weights(load_weights(folder))
    module = filled(lambda: Bert(shape), weights, shape.num_layers)
    pooling, normalised = _modules(folder)
    limit = read_json_if_there(folder / "sentence_bert_config.json").get("max_seq_length")
    special = tokenizer.special
    if not {"[CLS]", "[SEP]"} <= special.keys() or tokenizer.vocab_size > shape.vocab_size:
        raise Unsupported(
            f"The tokenizer in {folder} is not that of a BERT.",
            remedy="Put the model's own tokenizer.json there.",
        )
    longest = min(limit, shape.context_length) if isinstance(limit, int) else shape.context_length
    return Encoder(
        module, tokenizer, special["[CLS]"], special["[SEP]"], longest, pooling, normalised
    )


def _modules(folder: Path) -> tuple[str, bool]:
    """How the vectors are made, from `modules.json`; without it, the mean as it is."""
    path = folder / "modules.json"
    if not path.is_file():
        return "mean", False
    listed = read_json_list(path)
    kinds = [str(one.get("type", "")).rpartition(".")[2] for one in listed]
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise Unsupported(
            f"{path} asks for {', '.join(kinds)}; built are Transformer, Pooling and Normalize.",
            remedy="Use an encoder without other parts.",
        )
    settings = read_json(folder / _inside(path, listed[1]) / "config.json")
    modes = [key for key, value in settings.items() if key.startswith("pooling_mode") and value]
    names = {
        "pooling_mode_mean_tokens": "mean",
        "pooling_mode_cls_token": "first",
        "mean": "mean",
        "cls": "first",
    }
    stated = settings.get("pooling_mode")
    modes = [str(stated)] if isinstance(stated, str) else modes
    if len(modes) != 1 or modes[0] not in names:
        raise Unsupported(
            f"{folder} pools by {', '.join(modes) or 'nothing'}; built are the mean and the first.",
            remedy="Use an encoder with one of these.",
        )
    return names[modes[0]], "Normalize" in kinds


def _inside(path: Path, module: dict[str, Any]) -> str:
    """The folder of a module, which must be one name: a file may not lead out of its folder."""
    name = str(module.get("path", ""))
    if Path(name).name != name:
        raise Damaged(f"{path} names the folder '{name}'.", remedy="Fetch the model again.")
    return name
