"""The glass box: what a model computes on its way, and what becomes of it without a part.

It looks at the running module itself, through hooks, and has no model of its own: whatever a family
does to its queries and keys (norms, rotation, windows, adapters, fewer bits) is what is seen here.

Legend: N rows, T tokens, C tokens in sight, H heads, D head_dim, E hidden_size, V vocabulary.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from langwright.errors import BadInput
from langwright.inference.scoring import TOKENS_PER_PASS
from langwright.model import Decoder
from langwright.model.attention import attention_weights
from langwright.model.bert import Bert


class Part(NamedTuple):
    """A head of a layer, or a whole layer; both counted from 0."""

    layer: int
    head: int | None = None


@dataclass(frozen=True)
class Mixing:
    """What a layer hands to the attention kernel: q and k normed and turned, k and v repeated for
    the heads that share them; and the kernel's answer."""

    q_HTD: Tensor
    k_HCD: Tensor
    v_HCD: Tensor
    mask_TC: Tensor
    scale: float | None
    mixed_HTD: Tensor

    def weights(self, head: int | None = None) -> Tensor:
        """How much each token looks at each, by the textbook's formula in float32, [H, T, C], or of
        one head [1, T, C]; each row sums to 1. Times v it is what the kernel answered, which keeps
        no weights."""
        heads = slice(None) if head is None else slice(head, head + 1)
        q, k = self.q_HTD[heads].float(), self.k_HCD[heads].float()
        return attention_weights(q, k, self.mask_TC, self.scale)


@dataclass(frozen=True)
class Trace:
    """One text's way through a model.

    `hidden[d]` is the residual stream behind `d` layers, [T, E]: 0 is what comes in, the last what
    the final norm reads. Layer l reads `hidden[l]` and writes `hidden[l + 1]`. `mixing[l]` is the
    attention of layer l. `states` are what the module gives, behind its final norm if it has one.
    """

    ids: list[int]
    hidden: list[Tensor]
    mixing: list[Mixing]
    states: Tensor

    def attention(self, layer: int) -> Tensor:
        """Weights of all heads of a layer, [H, T, C]; computed when asked, for they are many."""
        return self.mixing[layer].weights()


@torch.inference_mode()
def watch(module: Decoder | Bert, ids: Sequence[int]) -> Trace:
    """Run the module over one text and keep what it computed on the way."""
    kernel, hidden, hooks = _Kernel(), list[Tensor](), []

    def comes_in(_: nn.Module, given: tuple[Any, ...]) -> None:
        hidden.append(given[0][0])

    def comes_out(_: nn.Module, given: Any, made: Tensor) -> None:
        hidden.append(made[0])

    hooks.append(module.layers[0].register_forward_pre_hook(comes_in))
    hooks += [layer.register_forward_hook(comes_out) for layer in module.layers]
    try:
        with kernel:
            states = _states(module, torch.tensor([list(ids)], device=_device(module)))
    finally:
        for hook in hooks:
            hook.remove()
    assert len(kernel.seen) == len(module.layers), "each layer calls the kernel once"
    return Trace(list(ids), hidden, kernel.seen, states[0])


def _device(module: Decoder | Bert) -> torch.device:
    return next(module.parameters()).device


def _states(module: Decoder | Bert, ids_NT: Tensor) -> Tensor:
    if isinstance(module, Decoder):
        return module.hidden(ids_NT)
    return module(ids_NT, torch.ones_like(ids_NT))


class _Kernel(TorchFunctionMode):
    """Listens at the one function that all attention goes through."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Mixing] = []

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        made = func(*args, **kwargs)
        if func is F.scaled_dot_product_attention:
            q, k, v = (one[0] for one in args)
            mask = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool, device=q.device)
            if kwargs.get("is_causal"):
                mask = mask.tril()
            elif kwargs.get("attn_mask") is not None:
                given = kwargs["attn_mask"]
                mask = mask & given.reshape(-1, given.shape[-1])  # of one text, for all its heads
            self.seen.append(Mixing(q, k, v, mask, kwargs.get("scale"), made[0]))
        return made


@contextmanager
def without_parts(module: Decoder | Bert, rows: Sequence[Collection[Part]]) -> Iterator[None]:
    """Within the block, row n of a batch is computed without the parts `rows[n]`.

    A head is off when what it mixed is zero before the output projection mixes the heads; a layer
    is off when it returns what it was given (the identity).
    """
    hooks = []
    for index, layer in enumerate(module.layers):
        heads = [(n, p.head) for n, row in enumerate(rows) for p in row if p.layer == index]
        off = [n for n, head in heads if head is None]
        if heads:
            hook = _without_heads([one for one in heads if one[1] is not None], module)
            out = layer.get_submodule("self_attn.o_proj")
            hooks.append(out.register_forward_pre_hook(hook))
        if off:
            hooks.append(layer.register_forward_hook(_identity(off)))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _without_heads(heads: Sequence[tuple[int, int | None]], module: Decoder | Bert) -> Any:
    def hook(_: nn.Module, given: tuple[Tensor]) -> tuple[Tensor]:
        mixed_NTHD = given[0].unflatten(-1, (module.shape.num_heads, -1)).clone()
        for row, head in heads:
            mixed_NTHD[row, :, head] = 0
        return (mixed_NTHD.flatten(2),)

    return hook


def _identity(rows: list[int]) -> Any:
    def hook(_: nn.Module, given: tuple[Any, ...], made: Tensor) -> Tensor:
        return made.index_copy(0, torch.tensor(rows, device=made.device), given[0][rows])

    return hook


@torch.inference_mode()
def last_logits(
    module: Decoder, ids: Sequence[int], rows: Sequence[Collection[Part]]
) -> Iterator[Tensor]:
    """For each of `rows`, the logits [V] behind the last token, computed without its parts."""
    step = max(1, TOKENS_PER_PASS // len(ids))
    for start in range(0, len(rows), step):
        group = rows[start : start + step]
        with without_parts(module, group):
            ids_NT = torch.tensor([list(ids)] * len(group), device=module.device)
            hidden_NTE = module.hidden(ids_NT)
        yield from module.head(hidden_NTE[:, -1]).float()


def parts_of(names: Sequence[str], num_layers: int, num_heads: int) -> list[Part]:
    """`"23"` is layer 23, `"23.4"` its head 4. Raises `BadInput` for what is none."""
    parts = []
    for name in names:
        match = re.fullmatch(r"([0-9]{1,9})(?:\.([0-9]{1,9}))?", name)
        if match is None:
            raise BadInput(
                f"'{name}' names no part of the model.",
                remedy="Write LAYER or LAYER.HEAD, counted from 0, as 3 or 3.1.",
            )
        layer, head = int(match[1]), int(match[2]) if match[2] else None
        check_part(layer, head, num_layers, num_heads)
        parts.append(Part(layer, head))
    return parts


def check_part(layer: int | None, head: int | None, num_layers: int, num_heads: int) -> None:
    """Raises `BadInput` for a layer or a head that the model does not have."""
    for what, index, count in (("layer", layer, num_layers), ("head", head, num_heads)):
        if index is not None and not 0 <= index < count:
            raise BadInput(
                f"There is no {what} {index}: the model has {count}.",
                remedy=f"Take one from 0 to {count - 1}.",
            )
