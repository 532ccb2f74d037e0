"""Multi-head attention with grouped queries (Vaswani et al. 2017; Ainslie et al. 2023)."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import groupby
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from langwright.model.architecture import Architecture
from langwright.model.cache import KeysInSight
from langwright.model.linear import Linear
from langwright.model.norm import RMSNorm
from langwright.model.rotary import rotate


def attention_weights(
    q_BHTD: Tensor, k_BHCD: Tensor, mask_TC: Tensor, scale: float | None = None
) -> Tensor:
    """How much each query looks at each key, where the mask is true: softmax(q k^T / sqrt(D)), or
    with another `scale` than 1 / sqrt(D). [B, H, T, C]."""
    scores = q_BHTD @ k_BHCD.transpose(-1, -2)
    scores = scores / math.sqrt(q_BHTD.shape[-1]) if scale is None else scores * scale
    return scores.masked_fill(~mask_TC, float("-inf")).softmax(dim=-1)


def attend(q_BHTD: Tensor, k_BHCD: Tensor, v_BHCD: Tensor, mask_TC: Tensor) -> Tensor:
    """The textbook's formula: softmax(q k^T / sqrt(D)) v. [B, H, T, D].

    The models themselves call torch's fused kernel; a test holds the two equal.
    """
    return attention_weights(q_BHTD, k_BHCD, mask_TC) @ v_BHCD


def window_mask(length: int, window: int, device: torch.device, rows: int | None = None) -> Tensor:
    """Which of `length` positions each sees: itself and the `window` - 1 before it. [T, T], or the
    last `rows` of these rows."""
    rows = length if rows is None else rows
    ones = torch.ones(rows, length, dtype=torch.bool, device=device)
    before = length - rows
    return ones.tril(before) & ones.triu(before + 1 - window)


def attend_causally(
    q_BHTD: Tensor, k_BHTD: Tensor, v_BHTD: Tensor, scale: float | None, window: int | None
) -> Tensor:
    """Each position sees itself and those before it, or the last `window` of them."""
    length = q_BHTD.shape[2]
    if window is None or window >= length:
        return F.scaled_dot_product_attention(q_BHTD, k_BHTD, v_BHTD, is_causal=True, scale=scale)
    mask = window_mask(length, window, q_BHTD.device)
    return F.scaled_dot_product_attention(q_BHTD, k_BHTD, v_BHTD, attn_mask=mask, scale=scale)


@dataclass(eq=False)
class Documents:
    """The documents of packed rows: their `lengths`, row after row, which fill the rows.

    An object, neither a tuple nor frozen: a compiled block would else be compiled anew for each
    number of documents, for torch's compiler looks into those.
    """

    lengths: tuple[int, ...]

    def positions(self) -> Tensor:
        """Of each token in its document, counted from 0: [B * T] on the CPU."""
        sizes = np.array(self.lengths)
        starts = np.repeat(np.cumsum(sizes) - sizes, sizes)
        return torch.from_numpy(np.arange(len(starts)) - starts)

    @cached_property
    def bounds(self) -> Tensor:
        """Where each begins in all rows end to end, and where the last one ends: [N + 1], int32 on
        the CPU."""
        return torch.from_numpy(np.cumsum((0, *self.lengths), dtype=np.int32))


@dataclass(eq=False)
class Branches:
    """Sequences that begin alike, end to end in one row [1, T], where what they share stands once.

    `groups`: how long a beginning is, and how long each of what goes on from it; its branches
    follow a beginning in the row, and see it and themselves alone.
    """

    groups: tuple[tuple[int, tuple[int, ...]], ...]

    def positions(self) -> Tensor:
        """Of each token in its sequence, counted from 0: [T] on the CPU."""
        return torch.cat(
            [
                part
                for before, sizes in self.groups
                for part in (
                    torch.arange(before),
                    *(torch.arange(before, before + size) for size in sizes),
                )
            ]
        )


@cache
def _kernel_of_lengths() -> Callable[..., Any] | None:
    """torch's kernel for documents of any lengths end to end (CUDA; FlashAttention, Dao 2023). None
    for a torch without it (before 2.10), or whose own has no scale and no window yet."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    known = inspect.signature(varlen_attn).parameters
    return varlen_attn if {"scale", "window_size"} <= known.keys() else None


def _in_one_call(q_BHTD: Tensor) -> bool:
    """Whether there is that kernel, and it takes such tensors."""
    half, width = q_BHTD.dtype in (torch.bfloat16, torch.float16), q_BHTD.shape[-1]
    if not (q_BHTD.is_cuda and half and width % 8 == 0 and width <= 256):
        return False
    new_enough = torch.cuda.get_device_capability(q_BHTD.device) >= (8, 0)
    return new_enough and _kernel_of_lengths() is not None


def _attend_at_once(
    q_BHTD: Tensor,
    k_BHTD: Tensor,
    v_BHTD: Tensor,
    documents: Documents,
    scale: float | None,
    window: int | None,
) -> Tensor:
    kernel = _kernel_of_lengths()
    assert kernel is not None
    parts = (x.transpose(1, 2).flatten(0, 1) for x in (q_BHTD, k_BHTD, v_BHTD))
    longest, bounds = max(documents.lengths), documents.bounds.to(q_BHTD.device)
    # It counts the positions before a query's own; -1 stands for all of them.
    before = -1 if window is None or window >= longest else window - 1
    mixed: Tensor = kernel(
        *parts, bounds, bounds, longest, longest, scale=scale, window_size=(before, 0)
    )
    return mixed.unflatten(0, (q_BHTD.shape[0], -1)).transpose(1, 2)


def attend_apart(
    q_BHTD: Tensor,
    k_BHTD: Tensor,
    v_BHTD: Tensor,
    documents: Documents | Branches,
    scale: float | None = None,
    window: int | None = None,
) -> Tensor:
    """Causal attention inside each document of packed rows, or each of `Branches`, [B, H, T, D].

    Each is a call of the kernel of its own (neighbours of one length share it), so that none can
    see another, and less is computed than for whole rows; a mask would make the kernel compute, and
    hide, all that lies between them. On a GPU in half precision one call of another kernel, which
    knows where each begins, does the same for all.
    """
    if isinstance(documents, Branches):
        return _attend_in_branches(q_BHTD, k_BHTD, v_BHTD, documents, scale, window)
    if _in_one_call(q_BHTD):
        return _attend_at_once(q_BHTD, k_BHTD, v_BHTD, documents, scale, window)
    kept = q_BHTD.dtype
    if q_BHTD.device.type == "cpu":
        # Its kernel is slower in bfloat16 (AVX-512, without AMX), most so for short documents.
        q_BHTD, k_BHTD, v_BHTD = q_BHTD.float(), k_BHTD.float(), v_BHTD.float()
    runs = [(length, len(list(same))) for length, same in groupby(documents.lengths)]
    sizes = [length * count for length, count in runs]
    # All rows end to end, [B * T, H, D], cut where the length changes.
    cuts = (x.transpose(1, 2).flatten(0, 1).split(sizes) for x in (q_BHTD, k_BHTD, v_BHTD))
    mixed = []
    for run, *parts in zip(runs, *cuts, strict=True):
        q, k, v = (part.unflatten(0, run[::-1]).transpose(1, 2) for part in parts)
        one = attend_causally(q, k, v, scale, window)
        mixed.append(one.transpose(1, 2).flatten(0, 1))
    return torch.cat(mixed).to(kept).unflatten(0, (q_BHTD.shape[0], -1)).transpose(1, 2)


def _attend_in_branches(
    q_BHTD: Tensor,
    k_BHTD: Tensor,
    v_BHTD: Tensor,
    branches: Branches,
    scale: float | None,
    window: int | None,
) -> Tensor:
    """Neighbouring branches of one length share a call; a mask of so few rows costs little."""
    kept = q_BHTD.dtype
    if q_BHTD.device.type == "cpu":
        q_BHTD, k_BHTD, v_BHTD = q_BHTD.float(), k_BHTD.float(), v_BHTD.float()
    runs = [
        (before, [(size, len(list(same))) for size, same in groupby(sizes)])
        for before, sizes in branches.groups
    ]
    cuts = [cut for before, same in runs for cut in (before, *(size * n for size, n in same))]
    # One split for all: its gradient is one tensor, where each slice would fill one of its own.
    q_parts, k_parts, v_parts = (iter(x.split(cuts, dim=2)) for x in (q_BHTD, k_BHTD, v_BHTD))
    mixed = []
    for before, same in runs:
        q, k_before, v_before = next(q_parts), next(k_parts), next(v_parts)
        if before:
            mixed.append(attend_causally(q, k_before, v_before, scale, window))
        for size, count in same:
            # [count, H, size, D]: each branch a row of its own.
            q, k, v = (
                next(parts)[0].unflatten(1, (count, size)).transpose(0, 1)
                for parts in (q_parts, k_parts, v_parts)
            )
            k = torch.cat((k_before.expand(count, -1, -1, -1), k), dim=2)
            v = torch.cat((v_before.expand(count, -1, -1, -1), v), dim=2)
            mask = window_mask(before + size, window or before + size, q.device, size)
            one = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)
            mixed.append(one.transpose(0, 1).flatten(1, 2)[None])
    return torch.cat(mixed, dim=2).to(kept)


_apart = attend_apart


def leave_apart_uncompiled() -> None:
    """To be called before an `Attention` is compiled: documents apart are no part of its graph,
    which would be another one for all their lengths. (As a decorator it would have every program
    wait a second and more for torch's compiler to be imported.)"""
    global _apart
    if _apart is attend_apart:
        _apart = torch.compiler.disable(attend_apart)


class Attention(nn.Module):
    """Legend: B batch, T new tokens, C tokens in sight, H query heads, K kv heads, D head_dim."""

    def __init__(self, shape: Architecture, layer: int) -> None:
        super().__init__()
        self.layer, self.head_dim = layer, shape.head_dim
        self.groups = shape.num_heads // shape.num_kv_heads
        query, key = shape.num_heads * shape.head_dim, shape.num_kv_heads * shape.head_dim
        self.scale, self.window = shape.attention_scale, shape.window(layer)
        self.rotates = shape.positions == "rotary" and layer not in shape.unrotated_layers
        self.q_proj = Linear(shape.hidden_size, query, bias=shape.qkv_bias)
        self.k_proj = Linear(shape.hidden_size, key, bias=shape.qkv_bias)
        self.v_proj = Linear(shape.hidden_size, key, bias=shape.qkv_bias)
        self.o_proj = Linear(query, shape.hidden_size, bias=shape.output_bias)
        norm = (shape.head_dim, shape.norm_eps, shape.norm_offset)
        self.q_norm = RMSNorm(*norm) if shape.qk_norm else None
        self.k_norm = RMSNorm(*norm) if shape.qk_norm else None

    def forward(
        self,
        x_BTE: Tensor,
        turn: tuple[Tensor, Tensor],
        cache: KeysInSight | None,
        documents: Documents | Branches | None = None,
    ) -> Tensor:
        q_BTHD = self.q_proj(x_BTE).unflatten(-1, (-1, self.head_dim))
        k_BTKD = self.k_proj(x_BTE).unflatten(-1, (-1, self.head_dim))
        v_BTKD = self.v_proj(x_BTE).unflatten(-1, (-1, self.head_dim))
        if self.q_norm is not None and self.k_norm is not None:
            q_BTHD, k_BTKD = self.q_norm(q_BTHD), self.k_norm(k_BTKD)
        q, k, v = (part.transpose(1, 2) for part in (q_BTHD, k_BTKD, v_BTKD))
        if self.rotates:
            q, k = rotate(q, *turn), rotate(k, *turn)
        if cache is not None:
            k, v = cache.update(self.layer, k, v)
        if self.groups > 1:
            k = torch.repeat_interleave(k, self.groups, dim=1)
            v = torch.repeat_interleave(v, self.groups, dim=1)
        if documents is not None:
            mixed = _apart(q, k, v, documents, self.scale, self.window)
        elif cache is None:
            mixed = attend_causally(q, k, v, self.scale, self.window)
        else:
            mask = cache.mask(self.window)
            mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=self.scale)
        return self.o_proj(mixed.transpose(1, 2).flatten(2))
