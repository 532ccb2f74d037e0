"""Answers to prompts as rows of tokens, and batches of them: what preferences and policies learn
from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from langwright.errors import BadInput, Unsupported
from langwright.model import IGNORED, Branches, Decoder
from langwright.tokens import ChatTemplate
from langwright.training.batch import MicroBatch


@dataclass(frozen=True)
class AnswerRow:
    """The ids of a prompt with its answer, end of turn included; `start` is where the answer
    begins. Only what follows `start` is weighed."""

    ids: np.ndarray
    start: int

    @property
    def size(self) -> int:
        """Number of tokens of the answer."""
        return len(self.ids) - self.start


def encode_answer(
    template: ChatTemplate | None, messages: Sequence[Mapping[str, Any]], answer: str
) -> AnswerRow:
    """The row of an answer: its tokens are those that fine-tuning would learn of it.

    Raises `Unsupported` without a template, `BadInput` where the template writes the prompt
    otherwise once the answer follows, or nothing of the answer would be weighed.
    """
    if template is None:
        raise Unsupported(
            "The model has no chat template.", remedy="Start from a model that has one."
        )
    prompt = template.encode(messages, add_generation_prompt=True)
    ids, learn = template.encode_with_mask([*messages, {"role": "assistant", "content": answer}])
    if ids[: len(prompt)] != prompt:
        raise BadInput(
            "The chat template writes this prompt otherwise once an answer follows it.",
            remedy="Take a template that only adds to what stands there.",
        )
    # What the template writes behind the end of the turn is nobody's answer.
    learnt = [place for place in range(len(prompt), len(ids)) if learn[place]]
    if not learnt:
        raise BadInput("The answer is empty.", remedy="Leave it out.")
    return AnswerRow(np.array(ids[: learnt[-1] + 1]), learnt[0])


@dataclass(frozen=True)
class Shared:
    """The same rows with each prompt once, its answers behind it, in one row [1, T] of `branches`.
    `tokens_1T` and `places_N` as in `AnswerBatch`, whose order of rows they keep.

    A branch begins with the prompt's last token, which foretells the first of its own answer.
    """

    ids_1T: Tensor
    tokens_1T: Tensor
    places_N: Tensor
    branches: Branches

    @classmethod
    def of(cls, rows: Sequence[AnswerRow]) -> Shared | None:
        """None where no two rows have a prompt in common."""
        prompts = _by_prompt(rows)
        if len(prompts) == len(rows):
            return None
        ids: list[np.ndarray] = []
        follows: list[np.ndarray] = []
        places: list[np.ndarray] = [np.empty(0)] * len(rows)
        groups: list[tuple[int, tuple[int, ...]]] = []
        here = 0
        for numbers in prompts:
            before = rows[numbers[0]].start - 1
            prompt = rows[numbers[0]].ids[: before + 1]
            ids.append(prompt[:before])
            follows.append(prompt[1:])
            here += before
            for number in numbers:
                row = rows[number]
                ids.append(row.ids[before:-1])
                follows.append(row.ids[row.start :])
                places[number] = np.arange(here, here + row.size)
                here += row.size
            groups.append((before, tuple(rows[number].size for number in numbers)))
        ids_T, tokens_T, places_N = (
            torch.from_numpy(np.concatenate(parts)) for parts in (ids, follows, places)
        )
        return cls(ids_T[None], tokens_T[None], places_N, Branches(tuple(groups)))

    def to(self, device: torch.device) -> Shared:
        parts = ("ids_1T", "tokens_1T", "places_N")
        return replace(self, **{name: getattr(self, name).to(device) for name in parts})


@dataclass(frozen=True)
class AnswerBatch:
    """Rows padded on the right. `tokens_BT[b, t]` follows `ids_BT[b, t]`; `places_N` are where the
    answers' tokens stand in the flattened batch, row after row, and `row_N` whose they are.
    `last_B`: where each row's last token stands in the row. `sizes`: tokens of each answer. `read`:
    tokens of all rows, padding left out. `numbers`: which rows these are, for who made them.
    `units`: what a loss over them is a sum over. `shared`: the rows without repetition, if any."""

    ids_BT: Tensor
    tokens_BT: Tensor
    places_N: Tensor
    row_N: Tensor
    last_B: Tensor
    sizes: tuple[int, ...]
    tokens: int
    units: int
    numbers: tuple[int, ...] = ()
    shared: Shared | None = None

    @classmethod
    def of(cls, rows: Sequence[AnswerRow], units: int, numbers: Sequence[int] = ()) -> AnswerBatch:
        longest = max(len(row.ids) for row in rows)
        ids = np.zeros((len(rows), longest), dtype=np.int64)
        for line, row in enumerate(rows):
            ids[line, : len(row.ids)] = row.ids
        follows = np.zeros_like(ids)
        follows[:, :-1] = ids[:, 1:]
        places = [
            np.arange(line * longest + row.start - 1, line * longest + len(row.ids) - 1)
            for line, row in enumerate(rows)
        ]
        sizes = tuple(row.size for row in rows)
        return cls(
            torch.from_numpy(ids),
            torch.from_numpy(follows),
            torch.from_numpy(np.concatenate(places)),
            torch.from_numpy(np.repeat(np.arange(len(rows)), sizes)),
            torch.tensor([len(row.ids) - 1 for row in rows]),
            sizes,
            sum(len(row.ids) for row in rows),
            units,
            tuple(numbers),
            Shared.of(rows),
        )

    def to(self, device: torch.device) -> AnswerBatch:
        parts = ("ids_BT", "tokens_BT", "places_N", "row_N", "last_B")
        moved = {name: getattr(self, name).to(device) for name in parts}
        return replace(self, **moved, shared=self.shared and self.shared.to(device))

    def logprobs(
        self, module: Decoder, temperature: float = 1.0, num_tokens: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """log p of the answers' tokens and the entropies there, [N] both, as `Decoder.logprobs`; a
        prompt that several answers share is read once."""
        if self.shared is None:
            return module.logprobs(
                self.ids_BT, self.tokens_BT, self.places_N, temperature, num_tokens
            )
        one = self.shared
        return module.logprobs(
            one.ids_1T, one.tokens_1T, one.places_N, temperature, num_tokens, one.branches
        )

    def as_targets(self, *, last_alone: bool = False) -> MicroBatch:
        """The same rows as fine-tuning would learn them: the answers' tokens are targets, or of
        each its last one alone."""
        targets = np.full(self.tokens_BT.numel(), IGNORED, dtype=np.int64)
        places = self.places_N.numpy()
        if last_alone:
            places = places[np.cumsum(self.sizes) - 1]
        targets[places] = self.tokens_BT.numpy().ravel()[places]
        shifted = targets.reshape(self.tokens_BT.shape)[:, :-1]
        ids = self.ids_BT.numpy()[:, :-1]
        return MicroBatch.of(ids.copy(), shifted.copy(), sizes=tuple(self.last_B.tolist()))

    @property
    def mask_BA(self) -> Tensor:
        """Which places of `spread` an answer has a token in."""
        sizes_B = torch.tensor(self.sizes, device=self.row_N.device)
        return torch.arange(max(self.sizes), device=self.row_N.device) < sizes_B[:, None]

    def spread(self, values_N: Tensor) -> Tensor:
        """What there is for the answers' tokens, a row for each answer, 0 behind its end:
        [B, A]."""
        mask_BA = self.mask_BA
        return values_N.new_zeros(mask_BA.shape).masked_scatter(mask_BA, values_N)

    def sums(self, values_N: Tensor) -> Tensor:
        """The sum over each row's answer of what there is for its tokens, [B]."""
        zeros = values_N.new_zeros(len(self.sizes))
        return zeros.index_add(0, self.row_N, values_N)


def gather_answers(
    groups: Sequence[Sequence[AnswerRow]], numbers: Sequence[int], micro_batch_tokens: int
) -> list[tuple[list[int], list[AnswerRow]]]:
    """Groups of rows that stay together (a pair, all answers to a prompt), those of like length
    side by side: batches of at most so many places, each the numbers of its groups and their rows
    one after the other."""
    order = sorted(range(len(groups)), key=lambda one: max(len(row.ids) for row in groups[one]))
    batches: list[tuple[list[int], list[AnswerRow]]] = []
    while order:
        longest = max(len(row.ids) for row in groups[order[-1]])
        taken: list[int] = []
        rows: list[AnswerRow] = []
        while order and (
            not taken or (len(rows) + len(groups[order[-1]])) * longest <= micro_batch_tokens
        ):
            number = order.pop()
            taken.append(number)
            rows += groups[number]
        batches.append(([numbers[one] for one in taken], rows))
    return batches


def gather_alike(
    rows: Sequence[AnswerRow], micro_batch_tokens: int
) -> list[tuple[list[int], list[AnswerRow]]]:
    """Answers that each stand for themselves, as `gather_answers`, but those to one prompt in one
    batch where it has room: what they share is then read once. The numbers are those of `rows`."""
    parts: list[list[int]] = []
    for alike in _by_prompt(rows):
        longest = max(len(rows[number].ids) for number in alike)
        count = max(1, micro_batch_tokens // longest)
        parts += [alike[start : start + count] for start in range(0, len(alike), count)]
    groups = [[rows[number] for number in part] for part in parts]
    gathered = gather_answers(groups, list(range(len(parts))), micro_batch_tokens)
    return [([one for part in chosen for one in parts[part]], taken) for chosen, taken in gathered]


def _by_prompt(rows: Sequence[AnswerRow]) -> list[list[int]]:
    """The numbers of the rows of each prompt."""
    found: dict[bytes, list[int]] = {}
    for number, row in enumerate(rows):
        found.setdefault(row.ids[: row.start].tobytes(), []).append(number)
    return list(found.values())
