"""The processes that train one model together: who they are, and what each takes.

`torchrun` starts them and tells each its place by the environment (`langwright launch` is that).
Alone, a process is a rank of one, and nothing here costs anything.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from langwright.errors import BadSettings
from langwright.model.device import compute_device
from langwright.training.settings import LoopSettings

B = TypeVar("B")

PATIENCE = timedelta(minutes=30)
"""How long ranks wait for each other, as where the first builds the tokenizer for all."""
_PR_SET_PDEATHSIG = 1
"""prctl(2): the signal that comes when the parent ends."""


@dataclass(frozen=True)
class Ranks:
    """This process among `size`. `mesh` has the dimensions `replicate`, `shard` and `tensor`; ranks
    that differ in `tensor` alone see the same data."""

    rank: int = 0
    size: int = 1
    mesh: DeviceMesh | None = None
    aside: dist.ProcessGroup | None = None
    """A group of its own for what goes on beside the training."""

    @property
    def leads(self) -> bool:
        """Whether it is the one that writes to the run."""
        return self.rank == 0

    @property
    def data_size(self) -> int:
        """Number of ranks, or groups of them, that hold different data."""
        return 1 if self.mesh is None else self.mesh["replicate"].size() * self.mesh["shard"].size()

    @property
    def data_rank(self) -> int:
        """Which of them this one is."""
        if self.mesh is None:
            return 0
        place = self.mesh["replicate"].get_local_rank() * self.mesh["shard"].size()
        return place + self.mesh["shard"].get_local_rank()

    def mine(self, batches: Sequence[B]) -> list[tuple[int, B, bool]]:
        """This rank's share of a step: each batch's number in the step, the batch, and whether it
        counts. All ranks get equally many, since they compute in unison; what is short is filled
        up with batches that do not count."""
        rounds = -(-len(batches) // self.data_size)
        numbers = [turn * self.data_size + self.data_rank for turn in range(rounds)]
        last = len(batches) - 1
        return [(number, batches[min(number, last)], number <= last) for number in numbers]

    def sum(self, values: Tensor) -> Tensor:
        """The sum over the ranks with different data."""
        if self.mesh is not None:
            for name in ("replicate", "shard"):
                dist.all_reduce(values, group=self.mesh.get_group(name))
        return values

    def agree(self, flag: bool) -> bool:
        """Whether it is true on any rank."""
        if self.mesh is None:
            return flag
        told = torch.tensor(float(flag), device=self.mesh.device_type)
        dist.all_reduce(told, op=dist.ReduceOp.MAX)
        return bool(told)

    def alike(self, values: Tensor) -> Tensor:
        """The first rank's values, on each. Sums over the ranks are the same everywhere, but ranks
        of one tensor group compute them apart, and a GPU's kernels may differ in the last bits."""
        if self.mesh is not None:
            dist.broadcast(values, 0)
        return values

    def told(self, value: int) -> int:
        """The first rank's value, on each."""
        if self.mesh is None:
            return value
        held = torch.tensor(value)
        dist.broadcast(held, 0, group=self.aside)
        return int(held)

    def wait(self) -> None:
        """Until all have come here: where one leaves, the launcher ends the others."""
        if self.mesh is not None:
            dist.barrier(group=self.aside)

    @contextmanager
    def first_alone(self) -> Iterator[None]:
        """The first rank goes through the block before the others do, which then find what it
        made."""
        if self.mesh is not None and not self.leads:
            dist.barrier()
        yield
        if self.mesh is not None and self.leads:
            dist.barrier()


ALONE = Ranks()


def join(settings: LoopSettings) -> Ranks:
    """This process's place among those that `torchrun` started; raises `BadSettings` where their
    number does not suit the settings."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        if settings.tensor_parallel > 1:
            raise BadSettings(
                f"tensor_parallel={settings.tensor_parallel} needs as many processes.",
                remedy=f"Start it by `langwright launch --nproc {settings.tensor_parallel} …`.",
            )
        return Ranks()
    device = compute_device(settings.device)
    if device.type == "cuda":
        here, there = int(os.environ["LOCAL_WORLD_SIZE"]), torch.cuda.device_count()
        if here > there:
            raise BadSettings(
                f"{here} processes need as many GPUs; this machine has {there}.",
                remedy=f"Give --nproc {there}, or device=cpu.",
            )
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    if not dist.is_initialized():
        _end_with_parent()
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, timeout=PATIENCE)
    groups, left = divmod(size, settings.tensor_parallel)
    if left:
        raise BadSettings(
            f"{size} processes cannot be divided into groups of {settings.tensor_parallel}.",
            remedy="Give a tensor_parallel that divides their number.",
        )
    apart = (1, groups) if settings.parallel == "fsdp" else (groups, 1)
    mesh = init_device_mesh(
        device.type,
        (*apart, settings.tensor_parallel),
        mesh_dim_names=("replicate", "shard", "tensor"),
    )
    return Ranks(dist.get_rank(), size, mesh, dist.new_group(backend="gloo", timeout=PATIENCE))


def _end_with_parent() -> None:
    """On Linux a launcher that is killed outright has its ranks save and leave, as by SIGTERM; else
    they would train on, and hold the run that a new launcher wants."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
