"""What a training run holds in memory, reckoned without training."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from langwright.model import Architecture, Decoder
from langwright.training.guard import KEPT
from langwright.training.settings import LoopSettings


def memory(
    shape: Architecture, settings: LoopSettings, dtype: torch.dtype, ranks: int = 1
) -> dict[str, int]:
    """Bytes on each of `ranks` devices that share the weights (FSDP), by category.

    `weights`: in float32, with the copy to compute with; `gradients`; `optimizer`: what it
    remembers; `activations`: what a micro-batch keeps for its backward pass; `loss`: the gradients
    that the head makes on the way; `backward`: what is in work in a block. Of the machine's own
    memory, which on a processor is the same: `snapshots`, the guard's, and `saving`, the copy that
    a checkpoint is written from.
    """
    at_once = min(settings.micro_batch_tokens, settings.tokens_per_step)
    rows = max(1, at_once // shape.context_length)
    size = torch.finfo(dtype).bits // 8
    one, two = (_Counted.of(shape, layers, 1, dtype) for layers in (1, 2))
    wide, both = (_Counted.of(shape, layers, 2, dtype) for layers in (1, 2))
    # Layers are alike, and rows too: what one more of them adds, many more do.
    deeper, more = shape.num_layers - 1, rows - 1
    total = one.total + deeper * (two.total - one.total)
    flat = one.flat + deeper * (two.flat - one.flat)
    outside = one.kept - (two.kept - one.kept)
    outside += more * ((wide.kept - one.kept) - (both.kept - wide.kept - two.kept + one.kept))
    block = two.kept - one.kept + more * (both.kept - wide.kept - two.kept + one.kept)
    kept = outside + shape.num_layers * block
    if settings.activation_checkpointing:
        entered = rows * shape.context_length * shape.hidden_size * size
        kept = outside + shape.num_layers * entered
    turned = flat if settings.optimizer == "muon" else 0
    masters, remembered = 4 * total, 8 * (total - turned) + 4 * turned
    copies = 0 if dtype == torch.float32 else size * total
    places = rows * shape.context_length
    told = {
        "weights": masters + copies,
        "gradients": masters + copies,
        "optimizer": remembered,
        "activations": kept,
        "loss": places * shape.hidden_size * size + 4 * shape.vocab_size * shape.hidden_size,
        "backward": 3 * places * max(shape.intermediate_size, shape.hidden_size) * size,
        "snapshots": settings.guard * KEPT * (masters + remembered),
        "saving": masters + remembered,
    }
    if settings.activation_checkpointing:
        told["backward"] += block
    shared = ("weights", "gradients", "optimizer", "snapshots", "saving")
    return {key: value // ranks if key in shared else value for key, value in told.items()}


HOST = ("snapshots", "saving")
"""What lies in the machine's own memory also where a GPU computes."""


class _Counted(NamedTuple):
    """Of a decoder with few layers: parameters, those in the layers' matrices, and the bytes that
    autograd keeps of a forward pass, weights apart."""

    total: int
    flat: int
    kept: int

    @classmethod
    @cache
    def of(cls, shape: Architecture, layers: int, rows: int, dtype: torch.dtype) -> _Counted:
        with FakeTensorMode():  # tensors without memory
            module = Decoder(shape.model_copy(update={"num_layers": layers}))
            weights = list(module.parameters())
            for weight in weights:
                weight.data = weight.data.to(dtype)
            flat = sum(w.numel() for w in module.layers.parameters() if w.dim() == 2)
            ours = {weight.untyped_storage()._cdata for weight in weights}
            held: dict[int, Any] = {}

            def pack(tensor: torch.Tensor) -> torch.Tensor:
                storage = tensor.untyped_storage()
                if storage._cdata not in ours:
                    held[storage._cdata] = storage  # held on to, or its place would be another's
                return tensor

            ids = torch.zeros(rows, shape.context_length, dtype=torch.long)
            with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
                module.nll(ids, ids)
            kept = sum(storage.nbytes() for storage in held.values())
            return cls(sum(weight.numel() for weight in weights), flat, kept)
