"""The decoder-only transformer. The same module trains, generates and scores."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from langwright.model.architecture import Architecture
from langwright.model.attention import Attention
from langwright.model.cache import CacheRows
from langwright.model.mlp import SwiGLU
from langwright.model.norm import RMSNorm
from langwright.model.rotary import Rotary


class Block(nn.Module):
    """Attention, then feed-forward, each on a normalised copy of the residual stream."""

    def __init__(self, shape: Architecture, layer: int) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(shape.hidden_size, shape.rms_norm_eps)
        self.self_attn = Attention(shape, layer)
        self.post_attention_layernorm = RMSNorm(shape.hidden_size, shape.rms_norm_eps)
        self.mlp = SwiGLU(shape)

    def forward(
        self,
        x: Tensor,
        turn: tuple[Tensor, Tensor],
        cache: CacheRows | None,
        lengths: Sequence[int] | None = None,
    ) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), turn, cache, lengths)
        return x + self.mlp(self.post_attention_layernorm(x))


class Decoder(nn.Module):
    """Token ids to next-token logits.

    Legend: B batch, T tokens, E hidden_size, V vocab_size. Parameters carry Hugging Face's names
    less the prefix `model.`, so that files need no translation.
    """

    def __init__(self, shape: Architecture) -> None:
        super().__init__()
        self.shape = shape
        self.embed_tokens = nn.Embedding(shape.vocab_size, shape.hidden_size)
        self.layers = nn.ModuleList(Block(shape, layer) for layer in range(shape.num_layers))
        self.norm = RMSNorm(shape.hidden_size, shape.rms_norm_eps)
        self.lm_head = nn.Linear(shape.hidden_size, shape.vocab_size, bias=False)
        if shape.tie_embeddings:
            self.lm_head.weight = self.embed_tokens.weight
        self.rotary = Rotary(shape.head_dim, shape.rope_theta)

    def initialise(self, seed: int) -> None:
        """Fresh weights: normal with deviation 1/sqrt(inputs); the projections that write to the
        residual stream start at zero, so that each block begins as the identity."""
        generator = torch.Generator().manual_seed(seed)
        for name, weight in self.named_parameters():
            with torch.no_grad():
                if weight.dim() == 1:
                    weight.fill_(1.0)
                elif name.endswith(("o_proj.weight", "down_proj.weight")):
                    weight.zero_()
                elif name == "embed_tokens.weight":
                    # A tied table serves as the head too: at 0.02 the first logits stay near zero.
                    weight.normal_(0.0, 0.02, generator=generator)
                else:
                    weight.normal_(0.0, weight.shape[1] ** -0.5, generator=generator)

    def hidden(
        self,
        ids_BT: Tensor,
        cache: CacheRows | None = None,
        lengths: Sequence[int] | None = None,
    ) -> Tensor:
        """The normalised residual stream after the last block, [B, T, E].

        `lengths` are those of the documents that the rows hold, row after row, B * T together:
        positions begin anew in each, and none sees another. Without them a row is one document.
        """
        if cache is not None:
            positions = cache.positions_BT
        elif lengths is not None:
            assert sum(lengths) == ids_BT.numel(), "documents fill their rows"
            parts = [torch.arange(length, device=ids_BT.device) for length in lengths]
            positions = torch.cat(parts).view_as(ids_BT)
        else:
            positions = torch.arange(ids_BT.shape[1], device=ids_BT.device)[None]
        turn = self.rotary(positions)
        x = self.embed_tokens(ids_BT)
        for block in self.layers:
            x = block(x, turn, cache, lengths)
        if cache is not None:
            cache.advance()
        return self.norm(x)

    def forward(self, ids_BT: Tensor, cache: CacheRows | None = None) -> Tensor:
        """Logits [B, T, V]; with a cache, the tokens follow those that its slots hold."""
        return self.lm_head(self.hidden(ids_BT, cache))
