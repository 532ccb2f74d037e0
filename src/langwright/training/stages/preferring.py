"""What the stages share that learn from judged answers."""

from __future__ import annotations

from abc import abstractmethod
from collections import defaultdict
from collections.abc import Sequence

from langwright.tokens import Tokenizer
from langwright.training.answers import AnswerBatch, AnswerRow, gather_answers
from langwright.training.batch import MicroBatch
from langwright.training.epochs import Epochs
from langwright.training.settings import LoopSettings
from langwright.training.stage import PlainStage


class Preferring(PlainStage):
    """Groups of answers that stay together, shuffled anew each epoch; a unit is a group. The first
    `count` groups are learnt from, the others held out."""

    def __init__(
        self, groups: Sequence[Sequence[AnswerRow]], count: int, settings: LoopSettings
    ) -> None:
        self._groups, self._width = groups, settings.micro_batch_tokens
        self._validation = list(range(count, len(groups)))
        sizes = [sum(len(row.ids) for row in group) for group in groups[:count]]
        self._epochs = Epochs(sizes, settings.tokens_per_step, settings.seed)
        self._told: dict[str, list[float]] = defaultdict(list)

    def micro_batches(self, step: int) -> Sequence[AnswerBatch]:
        return self._batches(self._epochs.step(step))

    def _batches(self, numbers: Sequence[int]) -> list[AnswerBatch]:
        gathered = gather_answers([self._groups[one] for one in numbers], numbers, self._width)
        return [AnswerBatch.of(rows, len(chosen), chosen) for chosen, rows in gathered]

    def lessons(self, batch: AnswerBatch) -> MicroBatch:
        """A batch with what is weighed in it as targets, for people."""
        return batch.as_targets()

    @abstractmethod
    def labels(self, batch: AnswerBatch) -> list[str]:
        """What somebody said of each row."""

    def figures(self) -> dict[str, float]:
        told, self._told = self._told, defaultdict(list)
        return means(told)

    def bits_per_byte(self, loss: float) -> None:
        """The loss is one of judgements, not of a text."""
        return None


def means(told: dict[str, list[float]]) -> dict[str, float]:
    """Of each figure that there is something of."""
    return {key: sum(values) / len(values) for key, values in told.items() if values}


def answer_bytes(row: AnswerRow, tokenizer: Tokenizer) -> int:
    """Those of an answer's text."""
    special = frozenset(tokenizer.special.values())
    answer = row.ids[row.start :].tolist()
    return sum(len(tokenizer.token_bytes(one)) for one in answer if one not in special)
