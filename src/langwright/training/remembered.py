"""Conversations that a policy goes on learning beside its rewards, lest it forget them: PPO-ptx
(Ouyang et al. 2022, section 3.5, objective 2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from langwright.errors import BadInput, Unsupported
from langwright.model.text_parts import TextParts
from langwright.store import Artifact, Store
from langwright.training.batch import MicroBatch, Row, gather
from langwright.training.conversations import lessons
from langwright.training.epochs import Epochs


@dataclass(frozen=True)
class RememberedBatch:
    """`rows`, whose sum of nats counts `scale` in a step's sum. They are no `units` of the step:
    its loss is divided by those of the rewards."""

    rows: MicroBatch
    scale: float
    units: int = 0

    @property
    def tokens(self) -> int:
        return self.rows.tokens

    def to(self, device: torch.device) -> RememberedBatch:
        return replace(self, rows=self.rows.to(device))


class Remembered:
    """What each step learns of them: at least `tokens` tokens, prompts included, shuffled anew each
    epoch; `weight` times the mean nats of a learnt token are added to the step's loss."""

    def __init__(self, rows: Sequence[Row], weight: float, tokens: int, seed: int) -> None:
        self._rows, self._weight = rows, weight
        self._epochs = Epochs([len(row.ids) for row in rows], tokens, seed)

    @classmethod
    def open(
        cls,
        data: Artifact,
        store: Store,
        text: TextParts,
        context_length: int,
        weight: float,
        tokens: int,
        seed: int,
    ) -> Remembered:
        """Of an artifact of kind `conversations`; what is longer than `context_length` is left out,
        which is said. Raises `Unsupported` for a model without a template."""
        if text.template is None:
            raise Unsupported(
                "The model has no chat template.", remedy="Start from a model that has one."
            )
        path = store.path(data) / "conversations.jsonl"
        found = lessons(text.template, path, context_length, "leave_out").rows
        if not found:
            raise BadInput(
                f"Nothing of '{data.name}' can be learnt.", remedy="Raise context_length."
            )
        return cls(found, weight, tokens, seed)

    def batches(self, step: int, units: int, width: int) -> list[RememberedBatch]:
        """Those of a step that has so many `units` of its own."""
        rows = [self._rows[number] for number in self._epochs.step(step)]
        gathered = gather(rows, width)
        # The step's sum is divided by its units, and this is a mean over its own tokens.
        scale = self._weight * units / sum(batch.units for batch in gathered)
        return [RememberedBatch(batch, scale) for batch in gathered]
