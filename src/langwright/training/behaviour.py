"""A behaviour of a model: that it continues a prompt with what is expected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from langwright.errors import BadInput, Unsupported
from langwright.model import IGNORED, Decoder
from langwright.model.text_parts import TextParts


@dataclass(frozen=True)
class Behaviour:
    """`ids` and, shifted by one, `targets`: the expected tokens, IGNORED before them."""

    ids: tuple[int, ...]
    targets: tuple[int, ...]

    @classmethod
    def in_text(cls, prompt: str, expect: str, text: TextParts, entered: int) -> Self:
        """Of a model that goes on with raw text, which is entered with the token `entered`."""
        before, ids = text.tokenizer.encode(prompt), text.tokenizer.encode(prompt + expect)
        # Where both meet, tokens may differ from those of the prompt alone.
        alike = 0
        while alike < min(len(before), len(ids)) and before[alike] == ids[alike]:
            alike += 1
        return cls._of([entered, *ids], [False] * (alike + 1) + [True] * (len(ids) - alike))

    @classmethod
    def in_conversation(cls, prompt: str, expect: str, text: TextParts) -> Self:
        """Of a model that answers: how its answer begins."""
        if text.template is None:
            raise Unsupported(
                "The model has no chat template.", remedy="Name a run whose model has one."
            )
        turns = ({"role": "user", "content": prompt}, {"role": "assistant", "content": expect})
        ids, learn = text.template.encode_with_mask(turns)
        special = frozenset(text.tokenizer.special.values())
        # How the answer ends is none of it.
        wanted = [learnt and one not in special for one, learnt in zip(ids, learn, strict=True)]
        return cls._of(ids, wanted)

    @classmethod
    def _of(cls, ids: Sequence[int], wanted: Sequence[bool]) -> Self:
        if not any(wanted):
            raise BadInput("Nothing is expected.", remedy="Give --expect some text.")
        end = max(place for place, one in enumerate(wanted) if one)
        pairs = zip(ids[1 : end + 1], wanted[1 : end + 1], strict=True)
        return cls(tuple(ids[:end]), tuple(one if want else IGNORED for one, want in pairs))

    def nats(self, module: Decoder) -> Tensor:
        """The mean of -log p over the expected tokens, each after those before it; a scalar."""
        ids, targets = (
            torch.tensor([part], device=module.device) for part in (self.ids, self.targets)
        )
        return module.nll(ids, targets) / (targets != IGNORED).sum()

    @torch.no_grad()
    def logprob(self, module: Decoder) -> float:
        """The mean log p of an expected token, in nats."""
        return -float(self.nats(module))
