"""The same tests for every model of a life: the questions kept back, and plain language."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from langwright.evaluation import bootstrap_ratio, document_nats
from langwright.inference import Engine
from langwright.lifecycle.answers import ask_all
from langwright.lifecycle.gate import Check, Pair, check
from langwright.lifecycle.questions import Question
from langwright.model import ModelBundle
from langwright.text import Document
from langwright.tokens import END_OF_TEXT

FORM, CLOSENESS, LANGUAGE = "answers in the asked format", "closeness", "bits per byte"
MARGINS = {FORM: 0.05, CLOSENESS: 0.02, LANGUAGE: 0.05}
"""How much worse each may become before a model is not promoted, in its own unit."""


@dataclass(frozen=True)
class Exam:
    """What one model did: `answers` as `ask_all` has them, one to each question, and the bits and
    bytes of each validation document."""

    answers: list[dict[str, Any]]
    bits: list[float]
    bytes: list[int]

    @classmethod
    def taken(
        cls, model: ModelBundle, name: str, questions: Sequence[Question], text: Sequence[Document]
    ) -> Exam:
        answers = ask_all(Engine(model, name), questions, f"{name}: questions")
        texts = [document.full_text for document in text]
        end = model.tokenizer.special[END_OF_TEXT]
        nats = document_nats(model.module, model.tokenizer.encode_batch(texts), end)
        sizes = [len(one.encode()) for one in texts]
        return cls(answers, (nats / math.log(2)).tolist(), sizes)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def scores(self) -> dict[str, list[Pair]]:
        """(numerator, denominator) of each item, test by test; what has no item is not there."""
        closeness = [one["closeness"] for one in self.answers if one["closeness"] is not None]
        found: dict[str, list[Pair]] = {
            FORM: [(float(one["ok"]), 1.0) for one in self.answers],
            CLOSENESS: [(value, 1.0) for value in closeness],
            LANGUAGE: [
                (bits, float(size)) for bits, size in zip(self.bits, self.bytes, strict=True)
            ],
        }
        return {test: pairs for test, pairs in found.items() if pairs}

    @property
    def values(self) -> dict[str, float]:
        """The value of each test."""
        return {
            test: sum(one[0] for one in pairs) / sum(one[1] for one in pairs)
            for test, pairs in self.scores.items()
        }

    @property
    def figures(self) -> dict[str, float]:
        """The same, by names that are keys."""
        return {test.replace(" ", "_"): value for test, value in self.values.items()}

    def checks(self, before: Exam, aims: Collection[str]) -> list[Check]:
        """This one against `before`, test by test; `aims` are what the stage between was for."""
        earlier = before.scores
        return [
            check(
                test, pairs, earlier[test], aim=test in aims, margin=MARGINS[test],
                lower_is_better=test == LANGUAGE,
            )
            for test, pairs in self.scores.items()
        ]  # fmt: skip

    def win_rate(self, before: Exam) -> dict[str, float]:
        """The share of the questions with a known answer that this one comes closer to, with its
        interval; where both are as close each has half."""
        both = zip(self.scores[CLOSENESS], before.scores[CLOSENESS], strict=True)
        halves = [(float(a > b) + float(a >= b)) / 2 for (a, _), (b, _) in both]
        found = bootstrap_ratio(halves, [1.0] * len(halves), seed=0)
        return asdict(found)
