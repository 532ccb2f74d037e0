"""Weights that lie in parts on several ranks: FSDP2 and tensor parallelism.

`fully_shard` keeps float32 shards and computes with whole copies in the compute dtype, gathered
block by block; gradients are summed in float32. With one shard and several replicas it is data
parallelism (DDP); so the two differ in their mesh alone.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import (
    FSDPModule,
    MixedPrecisionPolicy,
    fully_shard,
    register_fsdp_forward_method,
)
from torch.distributed.tensor import DTensor
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    ParallelStyle,
    RowwiseParallel,
    SequenceParallel,
    parallelize_module,
)

from langwright.errors import Unsupported
from langwright.model import Decoder

_ENTRIES = ("hidden", "nll", "head")
"""Methods of a module that compute with its weights, beside `forward`."""


class ShardedWeights:
    """As `MasterWeights`, over the shards that this rank holds."""

    def __init__(self, module: nn.Module, dtype: torch.dtype, mesh: DeviceMesh) -> None:
        decoder = _suitable(module, mesh["tensor"].size())
        decoder.float().requires_grad_(True)
        if mesh["tensor"].size() > 1:
            for block in decoder.layers:
                parallelize_module(block, mesh["tensor"], tensor_plan(block))
        policy = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32)
        data = mesh["replicate", "shard"]
        for block in decoder.layers:
            fully_shard(block, mesh=data, mp_policy=policy)
        fully_shard(module, mesh=data, mp_policy=policy)
        for part in module.modules():
            if isinstance(part, FSDPModule):
                # The loss is divided by the units of all ranks: their gradients add up.
                part.set_gradient_divide_factor(1.0)
                part.set_force_sum_reduction_for_comms(True)  # gloo has no other
        for name in _ENTRIES:
            register_fsdp_forward_method(module, name)
        self._module = module
        self.weights: dict[str, Tensor] = dict(module.named_parameters())

    def last_next(self, last: bool) -> None:
        """Whether the next backward pass ends the step: only then gradients go round."""
        assert isinstance(self._module, FSDPModule)
        self._module.set_requires_gradient_sync(last)

    def gather(self) -> None:
        """Nothing: FSDP adds the gradients up."""

    @torch.no_grad()
    def clip(self, limit: float) -> Tensor:
        """Scale the whole gradient down to the norm `limit`; returns the norm before."""
        # Tensors of one mesh at a time: torch does not put several in one norm.
        alike: dict[object, list[Tensor]] = {}
        for weight in self.weights.values():
            assert isinstance(weight, DTensor)
            if weight.grad is not None:
                alike.setdefault(weight.device_mesh, []).append(weight)
        squares = []
        for weights in alike.values():
            grads = [weight.grad for weight in weights if weight.grad is not None]
            norm = nn.utils.get_total_norm(grads)
            squares.append((norm.full_tensor() if isinstance(norm, DTensor) else norm).square())
        total = torch.stack(squares).sum().sqrt()
        for weights in alike.values():
            nn.utils.clip_grads_with_norm_(weights, limit, total)
        return total

    def publish(self) -> None:
        """Clear the gradients; FSDP computes with the new weights by itself."""
        for weight in self.weights.values():
            weight.grad = None


def _suitable(module: nn.Module, tensor_parallel: int) -> Decoder:
    """The module, if it can be divided so; raises `Unsupported`."""
    if not isinstance(module, Decoder):
        raise Unsupported(
            "Several processes train decoders only.", remedy="Train this model in one process."
        )
    shape = module.shape
    divided = (shape.num_kv_heads, shape.intermediate_size)
    if tensor_parallel > 1 and (
        shape.num_experts or any(size % tensor_parallel for size in divided)
    ):
        raise Unsupported(
            f"tensor_parallel={tensor_parallel} does not fit this model.",
            remedy="It must divide num_kv_heads and intermediate_size of a dense decoder.",
        )
    return module


def tensor_plan(block: nn.Module) -> dict[str, ParallelStyle]:
    """How a block's matrices are divided over the ranks of a group (Shoeybi et al. 2019): those
    that read the residual stream by outputs, those that write to it by inputs."""
    plan: dict[str, ParallelStyle] = {}
    for name, _ in block.named_modules():
        last = name.rpartition(".")[2]
        if last in ("q_proj", "k_proj", "v_proj", "gate_proj", "up_proj"):
            plan[name] = ColwiseParallel()
        elif last in ("o_proj", "down_proj"):
            plan[name] = RowwiseParallel()
        elif last in ("q_norm", "k_norm"):
            # Each rank sees some of the heads, so that the gradients must be summed.
            plan[name] = SequenceParallel(sequence_dim=2, use_local_output=True)
    return plan
