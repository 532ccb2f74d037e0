"""The Transformer as its paper has it: an encoder that reads and a decoder that writes.

Vaswani et al. 2017, "Attention Is All You Need". Everything that decides the result is the paper's:
norms behind each part, no norm behind the stacks, sinusoidal positions, one table of embeddings for
source, target and output, scaled by the root of the width.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, NamedTuple, Protocol

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from langwright.config import Settings
from langwright.model.attention import attention_weights
from langwright.model.sinusoid import sinusoids


class Shape2017(Settings):
    """The base model of the paper unless told otherwise (table 3). `pad_id` fills short rows,
    `start_id` begins and `end_id` ends each target."""

    vocab_size: int = Field(ge=4, lt=2**31)
    hidden_size: int = Field(512, ge=2, lt=2**31)
    intermediate_size: int = Field(2048, ge=1, lt=2**31)
    num_layers: int = Field(6, ge=1)
    num_heads: int = Field(8, ge=1)
    context_length: int = Field(512, ge=1, le=65_536)  # a table is made of it, on anybody's word
    dropout: float = Field(0.1, ge=0, lt=1)
    label_smoothing: float = Field(0.1, ge=0, lt=1)
    pad_id: int = 0
    start_id: int = 1
    end_id: int = 2

    @model_validator(mode="after")
    def _fits(self) -> Shape2017:
        if self.hidden_size % self.num_heads:
            raise ValueError("hidden_size must be a multiple of num_heads")
        marks = {self.pad_id, self.start_id, self.end_id}
        if len(marks) < 3 or not all(0 <= mark < self.vocab_size for mark in marks):
            raise ValueError("pad_id, start_id and end_id must be three ids of the vocabulary")
        return self


class LayerShape(Protocol):
    """What a layer needs to know."""

    @property
    def hidden_size(self) -> int: ...
    @property
    def intermediate_size(self) -> int: ...
    @property
    def num_heads(self) -> int: ...
    @property
    def dropout(self) -> float: ...


class Attended(NamedTuple):
    """Legend: B batch, T queries, C keys, H heads, E width."""

    mixed_BTE: Tensor
    weights_BHTC: Tensor | None


class MultiHead(nn.Module):
    """Queries from one sequence, keys and values from the same or another (section 3.2)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj = nn.Linear(width, width), nn.Linear(width, width)
        self.v_proj, self.o_proj = nn.Linear(width, width), nn.Linear(width, width)

    def forward(
        self, x_BTE: Tensor, y_BCE: Tensor, mask_B1TC: Tensor, *, keep: bool = False
    ) -> Attended:
        """`keep` returns the weights as well, by the textbook's formula; else torch's kernel."""
        q, k, v = (
            proj(one).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for proj, one in ((self.q_proj, x_BTE), (self.k_proj, y_BCE), (self.v_proj, y_BCE))
        )
        weights = None
        if keep:
            weights = attention_weights(q, k, mask_B1TC)
            mixed = weights @ v
        else:
            mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask_B1TC)
        return Attended(self.o_proj(mixed.transpose(1, 2).flatten(2)), weights)


class FeedForward2017(nn.Module):
    """max(0, x W1 + b1) W2 + b2 (section 3.3); or another function than max."""

    def __init__(self, shape: LayerShape, act: Callable[[Tensor], Tensor] = F.relu) -> None:
        super().__init__()
        self.act = act
        self.up_proj = nn.Linear(shape.hidden_size, shape.intermediate_size)
        self.down_proj = nn.Linear(shape.intermediate_size, shape.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(self.act(self.up_proj(x)))


class EncoderLayer(nn.Module):
    """norm(x + part(x)), twice."""

    def __init__(
        self, shape: LayerShape, act: Callable[[Tensor], Tensor] = F.relu, eps: float = 1e-5
    ) -> None:
        super().__init__()
        self.self_attn = MultiHead(shape.hidden_size, shape.num_heads)
        self.mlp = FeedForward2017(shape, act)
        self.norms = nn.ModuleList(nn.LayerNorm(shape.hidden_size, eps) for _ in range(2))
        self.drop = nn.Dropout(shape.dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = self.norms[0](x + self.drop(self.self_attn(x, x, mask).mixed_BTE))
        return self.norms[1](x + self.drop(self.mlp(x)))


class DecoderLayer(nn.Module):
    """What has been written, what was read, and the feed-forward; a norm behind each."""

    def __init__(self, shape: Shape2017) -> None:
        super().__init__()
        self.self_attn = MultiHead(shape.hidden_size, shape.num_heads)
        self.cross_attn = MultiHead(shape.hidden_size, shape.num_heads)
        self.mlp = FeedForward2017(shape)
        self.norms = nn.ModuleList(nn.LayerNorm(shape.hidden_size) for _ in range(3))
        self.drop = nn.Dropout(shape.dropout)

    def forward(
        self, x: Tensor, memory: Tensor, mask: Tensor, memory_mask: Tensor, *, keep: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        x = self.norms[0](x + self.drop(self.self_attn(x, x, mask).mixed_BTE))
        read = self.cross_attn(x, memory, memory_mask, keep=keep)
        x = self.norms[1](x + self.drop(read.mixed_BTE))
        return self.norms[2](x + self.drop(self.mlp(x))), read.weights_BHTC


class Transformer2017(nn.Module):
    """Source ids [B, S] and target ids [B, T] to logits of the next target id [B, T, V]."""

    positions: Tensor

    def __init__(self, shape: Shape2017) -> None:
        super().__init__()
        self.shape = shape
        self.embed_tokens = nn.Embedding(shape.vocab_size, shape.hidden_size)
        self.encoder = nn.ModuleList(EncoderLayer(shape) for _ in range(shape.num_layers))
        self.decoder = nn.ModuleList(DecoderLayer(shape) for _ in range(shape.num_layers))
        self.drop = nn.Dropout(shape.dropout)
        self.set_positions()

    def set_positions(self) -> None:
        """Compute the table of positions, which no file holds."""
        table = sinusoids(self.shape.context_length, self.shape.hidden_size)
        self.register_buffer("positions", table, persistent=False)

    def initialise(self, seed: int) -> None:
        """Xavier's uniform for matrices (as the paper's own code has it), deviation width^-0.5
        for the table, so that scaled it has one; biases nothing."""
        generator = torch.Generator().manual_seed(seed)
        for name, weight in self.named_parameters():
            with torch.no_grad():
                if name == "embed_tokens.weight":
                    weight.normal_(0.0, self.shape.hidden_size**-0.5, generator=generator)
                elif weight.dim() == 2:
                    nn.init.xavier_uniform_(weight, generator=generator)
                else:
                    weight.fill_(1.0 if "norms" in name and name.endswith("weight") else 0.0)

    def embed(self, ids_BT: Tensor) -> Tensor:
        scaled = self.embed_tokens(ids_BT) * math.sqrt(self.shape.hidden_size)
        return self.drop(scaled + self.positions[: ids_BT.shape[1]])

    def seen(self, ids_BT: Tensor) -> Tensor:
        """The mask [B, 1, 1, T] that hides the padding."""
        return (ids_BT != self.shape.pad_id)[:, None, None, :]

    def encode(self, source_BS: Tensor) -> Tensor:
        """What the decoder reads of the source, [B, S, E]."""
        x, mask = self.embed(source_BS), self.seen(source_BS)
        for layer in self.encoder:
            x = layer(x, mask)
        return x

    def decode(
        self, target_BT: Tensor, memory_BSE: Tensor, source_mask: Tensor, *, keep: bool = False
    ) -> tuple[Tensor, list[Tensor]]:
        """The decoder's last states [B, T, E]; and where `keep`, of each layer what each target
        position looked at in the source, [B, H, T, S]."""
        length = target_BT.shape[1]
        causal = torch.ones(length, length, dtype=torch.bool, device=target_BT.device).tril()
        # Padding stands behind a target, where no earlier position looks.
        x, looks = self.embed(target_BT), []
        for layer in self.decoder:
            x, weights = layer(x, memory_BSE, causal[None, None], source_mask, keep=keep)
            if weights is not None:
                looks.append(weights)
        return x, looks

    def head(self, states: Tensor) -> Tensor:
        """Logits, by the table itself (section 3.4)."""
        return states @ self.embed_tokens.weight.T

    def forward(self, source_BS: Tensor, target_BT: Tensor) -> Tensor:
        memory = self.encode(source_BS)
        return self.head(self.decode(target_BT, memory, self.seen(source_BS))[0])

    def loss(
        self,
        source_BS: Tensor,
        target_BT: Tensor,
        *,
        smoothed: bool = True,
        reduction: Literal["mean", "sum"] = "mean",
    ) -> Tensor:
        """Cross-entropy (nats) of the target ids behind the first, label-smoothed (section 5.4)
        or plain; a target begins with `start_id` and ends with `end_id`."""
        logits = self(source_BS, target_BT[:, :-1])
        return F.cross_entropy(
            logits.flatten(0, 1).float(),
            target_BT[:, 1:].flatten(),
            ignore_index=self.shape.pad_id,
            label_smoothing=self.shape.label_smoothing if smoothed else 0.0,
            reduction=reduction,
        )
