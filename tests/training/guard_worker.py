"""Runs in one of several processes, for test_guard.py: one that meets bad windows, one that was
told of them beforehand, and a third like that whose second rank takes each norm for no number.

Run by torch's launcher as `guard_worker.py RECIPE CORPUS`; the home is that of the environment.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.distributed as dist

from langwright.training import pretrain
from langwright.training.batch import MicroBatch
from langwright.training.learner import Learner
from langwright.training.stages.pretrain import Pretrain

BAD = range(33, 37)
LEFT_OUT = [*range(25, 36), 36]
"""Those since the snapshot, and the last one of the bad ones, met after going back."""


def main() -> None:
    torch.set_num_threads(1)
    plain = Pretrain.micro_batches

    def poisoned(self: Pretrain, step: int) -> Sequence[MicroBatch]:
        batches = plain(self, step)
        if step not in BAD:
            return batches
        draw = torch.Generator().manual_seed(step)
        found = []
        for batch in batches:
            drawn = torch.randint(300, batch.targets_BT.shape, generator=draw)
            targets = torch.where(batch.targets_BT < 0, batch.targets_BT, drawn)
            found.append(replace(batch, targets_BT=targets))
        return found

    windows = [number for number in range(100) if number not in LEFT_OUT]

    def told(self: Pretrain, step: int) -> Sequence[MicroBatch]:
        return plain(self, windows[step])

    settings = {"corpus": sys.argv[2], "steps": 40, "eval_every": 1000, "checkpoint_every": 10}
    for name, batches in (("run", poisoned), ("told", told)):
        Pretrain.micro_batches = batches  # type: ignore[method-assign]
        pretrain(sys.argv[1], name=name, **settings)
    clip = Learner.clip

    def misread(self: Learner[Any]) -> torch.Tensor:
        norm = clip(self)
        return norm if self.ranks.leads else norm * torch.nan

    Learner.clip = misread  # type: ignore[method-assign]
    pretrain(sys.argv[1], name="misread", **settings)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
