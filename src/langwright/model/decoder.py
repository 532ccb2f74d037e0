"""The decoder-only transformer. The same module trains, generates and scores."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from langwright.model.architecture import Architecture
from langwright.model.attention import Attention, Branches, Documents
from langwright.model.cache import KeysInSight
from langwright.model.cross_entropy import cross_entropy_sum
from langwright.model.experts import Experts
from langwright.model.linear import Linear
from langwright.model.mlp import FeedForward
from langwright.model.norm import norm_of
from langwright.model.rotary import Rotary
from langwright.model.token_logprobs import token_logprobs

Turn = tuple[Tensor, Tensor]


class Block(nn.Module):
    """Attention, then feed-forward, each on a normalised copy of the residual stream; with
    sandwich norms what each adds is normalised as well."""

    def __init__(self, shape: Architecture, layer: int) -> None:
        super().__init__()
        self.input_layernorm = norm_of(shape)
        self.self_attn = Attention(shape, layer)
        self.post_attention_layernorm = norm_of(shape)
        self.sandwich = shape.sandwich_norms
        if self.sandwich:
            self.pre_feedforward_layernorm = norm_of(shape)
            self.post_feedforward_layernorm = norm_of(shape)
        self.mlp = Experts(shape) if shape.num_experts else FeedForward(shape)

    def forward(
        self,
        x: Tensor,
        turn: Turn,
        cache: KeysInSight | None,
        documents: Documents | Branches | None = None,
    ) -> Tensor:
        mixed = self.self_attn(self.input_layernorm(x), turn, cache, documents)
        if self.sandwich:
            x = x + self.post_attention_layernorm(mixed)
            return x + self.post_feedforward_layernorm(self.mlp(self.pre_feedforward_layernorm(x)))
        x = x + mixed
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
        if shape.positions == "learned":
            self.embed_positions = nn.Embedding(shape.context_length, shape.hidden_size)
        self.norm = norm_of(shape)
        self.lm_head = Linear(shape.hidden_size, shape.vocab_size, bias=False)
        if shape.tie_embeddings:
            self.lm_head.weight = self.embed_tokens.weight
        if not self.embed_tokens.weight.is_meta:  # what is built without values gets them later
            self.set_rotary()

    @property
    def dtype(self) -> torch.dtype:
        """What it computes in."""
        return next(self.parameters()).dtype

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return next(self.parameters()).device

    def set_rotary(self) -> None:
        """Compute the tables of rotary positions, which no file holds."""
        shape = self.shape
        if shape.positions == "rotary":
            self.rotary = Rotary(shape.head_dim, shape.rope_theta, shape.rope_scaling)
        if shape.local_rope_theta is not None:
            self.local_rotary = Rotary(shape.head_dim, shape.local_rope_theta)

    def initialise(self, seed: int) -> None:
        """Fresh weights: normal with deviation 1/sqrt(inputs); the projections that write to the
        residual stream start at zero, so that each block begins as the identity."""
        generator = torch.Generator().manual_seed(seed)
        for name, weight in self.named_parameters():
            with torch.no_grad():
                if weight.dim() == 1:
                    # A bias of nothing, a norm of one (which some tell as the difference from it).
                    norm = 1.0 - self.shape.norm_offset
                    weight.fill_(0.0 if name.endswith(".bias") else norm)
                elif name.endswith(("o_proj.weight", "down_proj.weight")):
                    weight.zero_()
                elif name in ("embed_tokens.weight", "embed_positions.weight"):
                    # A tied table serves as the head too: at 0.02 the first logits stay near zero.
                    weight.normal_(0.0, 0.02, generator=generator)
                else:
                    weight.normal_(0.0, weight.shape[1] ** -0.5, generator=generator)

    def hidden(
        self,
        ids_BT: Tensor,
        cache: KeysInSight | None = None,
        lengths: Sequence[int] | None = None,
        branches: Branches | None = None,
    ) -> Tensor:
        """The normalised residual stream after the last block, [B, T, E].

        `lengths` are those of the documents that the rows hold, row after row, B * T together:
        positions begin anew in each, and none sees another. Without them a row is one document.
        With `branches` there is one row, of sequences that share their beginnings.
        """
        documents = branches if lengths is None else Documents(tuple(lengths))
        if cache is not None:
            positions = cache.positions_BT
        elif documents is not None:
            if isinstance(documents, Documents):
                assert sum(documents.lengths) == ids_BT.numel(), "documents fill their rows"
            positions = documents.positions().view_as(ids_BT).to(ids_BT.device)
        else:
            positions = torch.arange(ids_BT.shape[1], device=ids_BT.device)[None]
        x = self.embed_tokens(ids_BT)
        if self.shape.scale_embeddings:
            x = x * torch.tensor(self.shape.hidden_size**0.5, dtype=x.dtype)
        if self.shape.positions == "learned":
            x = x + self.embed_positions(positions)
        turns = self._turns(positions)
        for layer, block in enumerate(self.layers):
            x = block(x, turns[self.shape.window(layer) is not None], cache, documents)
        if cache is not None:
            cache.advance()
        return self.norm(x)

    def _turns(self, positions_BT: Tensor) -> tuple[Turn, Turn]:
        """Rotations for layers that see all, and for those with a window."""
        if self.shape.positions != "rotary":
            none = torch.empty(0), torch.empty(0)
            return none, none
        far = self.rotary(positions_BT)
        near = far if self.shape.local_rope_theta is None else self.local_rotary(positions_BT)
        return far, near

    def head(self, hidden: Tensor) -> Tensor:
        """Logits of the residual stream that `hidden` gives."""
        logits = self.lm_head(hidden)
        cap = self.shape.logit_softcap
        return logits if cap is None else cap * torch.tanh(logits / cap)

    def nll(
        self,
        ids_BT: Tensor,
        targets_BT: Tensor,
        lengths: Sequence[int] | None = None,
        places_N: Tensor | None = None,
    ) -> Tensor:
        """Sum over the targets of -log p(target), in nats, float32; IGNORED adds nothing.

        `places_N`: where in the flattened batch something is learnt; the head is applied there
        alone. Without it, everywhere. `lengths` as in `hidden`.
        """
        hidden, targets = self.hidden(ids_BT, lengths=lengths).flatten(0, 1), targets_BT.flatten()
        if places_N is not None:
            hidden, targets = hidden[places_N], targets[places_N]
        return cross_entropy_sum(hidden, self.lm_head.weight, targets, self.shape.logit_softcap)

    def logprobs(
        self,
        ids_BT: Tensor,
        tokens_BT: Tensor,
        places_N: Tensor,
        temperature: float = 1.0,
        num_tokens: int | None = None,
        branches: Branches | None = None,
    ) -> tuple[Tensor, Tensor]:
        """log p of the tokens at `places_N` of the flattened batch, [N] in nats, and the entropies
        there (see `token_logprobs`); `tokens_BT[b, t]` follows `ids_BT[b, : t + 1]`.

        With `num_tokens` only so many rows of the table are tokens: the others are ruled out, as
        where tokens are drawn. `branches` as in `hidden`.
        """
        hidden = self.hidden(ids_BT, branches=branches).flatten(0, 1)[places_N]
        tokens, table = tokens_BT.flatten()[places_N], self.lm_head.weight[:num_tokens]
        return token_logprobs(hidden, table, tokens, self.shape.logit_softcap, temperature)

    def forward(self, ids_BT: Tensor, cache: KeysInSight | None = None) -> Tensor:
        """Logits [B, T, V]; with a cache, the tokens follow those that its slots hold."""
        return self.head(self.hidden(ids_BT, cache))
