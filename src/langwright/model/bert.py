"""The encoder of BERT (Devlin et al. 2018): the 2017 encoder with learned positions and GELU."""

from __future__ import annotations

import re
from typing import Any

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from langwright.config import Settings
from langwright.model.families.config import ConfigFile
from langwright.model.transformer2017 import EncoderLayer


class BertShape(Settings):
    """Shape of the encoder, in the terms of the other models."""

    vocab_size: int = Field(ge=1, lt=2**31)
    hidden_size: int = Field(ge=1, lt=2**31)
    intermediate_size: int = Field(ge=1, lt=2**31)
    num_layers: int = Field(ge=1, lt=65_536)
    num_heads: int = Field(ge=1)
    context_length: int = Field(ge=1, lt=2**31)
    num_types: int = Field(2, ge=1, lt=2**31)
    norm_eps: float = Field(1e-12, ge=0, allow_inf_nan=False)
    dropout: float = Field(0.1, ge=0, lt=1)
    pad_id: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _fits(self) -> BertShape:
        if self.hidden_size % self.num_heads:
            raise ValueError("hidden_size must be a multiple of num_heads")
        if self.pad_id >= self.vocab_size:
            raise ValueError("pad_id must be of the vocabulary")
        return self

    @classmethod
    def from_hugging_face(cls, fields: dict[str, Any]) -> BertShape:
        """Read `config.json`; a field that would change the result is an error."""
        config = ConfigFile(fields)
        config.must(
            model_type="bert",
            hidden_act="gelu",
            position_embedding_type="absolute",
            is_decoder=False,
            add_cross_attention=False,
            quantization_config=None,
        )
        for harmless in ("attention_probs_dropout_prob", "classifier_dropout"):
            config.take(harmless)
        config.take("tie_word_embeddings")  # it has no head
        values = {
            "vocab_size": config.take("vocab_size"),
            "hidden_size": config.take("hidden_size"),
            "intermediate_size": config.take("intermediate_size"),
            "num_layers": config.take("num_hidden_layers"),
            "num_heads": config.take("num_attention_heads"),
            "context_length": config.take("max_position_embeddings"),
            "num_types": config.take("type_vocab_size", 2),
            "norm_eps": config.take("layer_norm_eps", 1e-12),
            "dropout": config.take("hidden_dropout_prob", 0.1),
            "pad_id": config.take("pad_token_id", 0),
        }
        config.finish()
        return cls.build({key: value for key, value in values.items() if value is not None})


class Bert(nn.Module):
    """Ids [B, T] and their mask [B, T] to states [B, T, E]. All tokens are of the first type."""

    def __init__(self, shape: BertShape) -> None:
        super().__init__()
        self.shape = shape
        self.embed_tokens = nn.Embedding(shape.vocab_size, shape.hidden_size)
        self.embed_positions = nn.Embedding(shape.context_length, shape.hidden_size)
        self.embed_types = nn.Embedding(shape.num_types, shape.hidden_size)
        self.norm = nn.LayerNorm(shape.hidden_size, shape.norm_eps)
        self.layers = nn.ModuleList(
            EncoderLayer(shape, F.gelu, shape.norm_eps) for _ in range(shape.num_layers)
        )
        self.drop = nn.Dropout(shape.dropout)

    def forward(self, ids_BT: Tensor, mask_BT: Tensor) -> Tensor:
        places = torch.arange(ids_BT.shape[1], device=ids_BT.device)
        x = self.embed_tokens(ids_BT) + self.embed_positions(places) + self.embed_types.weight[0]
        x = self.drop(self.norm(x))
        seen = mask_BT.bool()[:, None, None, :]
        for layer in self.layers:
            x = layer(x, seen)
        return x


_OUTSIDE = {
    "word_embeddings": "embed_tokens",
    "position_embeddings": "embed_positions",
    "token_type_embeddings": "embed_types",
    "LayerNorm": "norm",
}
_INSIDE = {
    "attention.self.query": "self_attn.q_proj",
    "attention.self.key": "self_attn.k_proj",
    "attention.self.value": "self_attn.v_proj",
    "attention.output.dense": "self_attn.o_proj",
    "attention.output.LayerNorm": "norms.0",
    "intermediate.dense": "mlp.up_proj",
    "output.dense": "mlp.down_proj",
    "output.LayerNorm": "norms.1",
}
_NAME = re.compile(
    r"(?:bert\.)?(?:embeddings\.(\w+)|encoder\.layer\.([0-9]+)\.(.+))\.(weight|bias)"
)
_LEFT_OUT = re.compile(r"(?:bert\.)?(embeddings\.position_ids|pooler\..*)|cls\..*")
"""A table of counted positions, and heads that are not the encoder's."""


def bert_weights(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a Hugging Face file by our names; unknown ones keep theirs."""
    ours = {}
    for name, values in weights.items():
        match = _NAME.fullmatch(name)
        if match and match[1]:
            ours[f"{_OUTSIDE.get(match[1], match[1])}.{match[4]}"] = values
        elif match:
            ours[f"layers.{match[2]}.{_INSIDE.get(match[3], match[3])}.{match[4]}"] = values
        elif not _LEFT_OUT.fullmatch(name):
            ours[name] = values
    return ours
