"""A rater's session: two answers to each prompt, and a choice that is stored at once.

A session is a run of the store: `answers.jsonl` has what was drawn, `choices.jsonl` what was
chosen, a line each, on the disk before the next question. Both only grow, so a session that was
killed loses nothing, goes on with the same command, and shows several raters the same answers.
Artifacts do not change; each time that a session is left, all of it becomes a new one.
"""

from __future__ import annotations

import hashlib
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal, Self, get_args

from langwright.errors import BadInput
from langwright.evaluation import bootstrap_ratio, wilson
from langwright.store import Artifact, Run, Store
from langwright.store.lines import append_line, read_lines
from langwright.training.comparisons import Comparison, write_comparisons
from langwright.training.prompts import Prompt

Choice = Literal["left", "right", "tie", "both bad", "skip", "quit"]
"""`both bad` is a tie of answers that nobody should learn from; `skip` says nothing of them; `quit`
leaves the session."""

ANSWERS, CHOICES = "answers.jsonl", "choices.jsonl"

_NO_CHOICE = "Delete that line; its question is asked again."
_NO_ANSWER = "Restore the file; without it the choices have lost what they are of."


@dataclass(frozen=True)
class Answer:
    """`finish_reason` tells why it ended: `length` is one that was cut."""

    text: str
    model: str
    seed: int
    finish_reason: str


Drawn = tuple[Prompt, Sequence[Answer]]
"""A prompt with its two answers."""


@dataclass(frozen=True)
class Question:
    """What a rater sees: nothing tells which model is which. `number` counts the session's
    questions from 1, `of` them in all where that is known."""

    number: int
    of: int | None
    messages: Prompt
    left: str
    right: str
    left_cut: bool
    right_cut: bool


@dataclass(frozen=True)
class _Item:
    messages: Prompt
    answers: tuple[Answer, Answer]

    @classmethod
    def of(cls, messages: Prompt, answers: Sequence[Answer]) -> Self:
        first, second = answers
        return cls(messages, (first, second))

    @property
    def can_be_asked(self) -> bool:
        first, second = (answer.text.strip() for answer in self.answers)
        return bool(first) and bool(second) and first != second


class Session:
    """That of `run`, whose lock the caller holds. `sampling` are the options of the answers."""

    def __init__(self, run: Run, sampling: Mapping[str, Any]) -> None:
        self._run, self._sampling = run, dict(sampling)
        self._items = [
            _Item.of(line["messages"], [Answer(**one) for one in line["answers"]])
            for line in read_lines(run.folder / ANSWERS, _NO_ANSWER)
        ]
        self._choices = {
            (line["item"], line["rater"]): line
            for line in read_lines(run.folder / CHOICES, _NO_CHOICE)
        }

    @property
    def num_items(self) -> int:
        """How many prompts have their answers."""
        return len(self._items)

    def ask(
        self,
        drawn: Iterable[Drawn],
        of: int | None,
        choose: Callable[[Question], Choice],
        rater: str,
    ) -> None:
        """Ask `rater` what the session has and they have not seen, then what is `drawn`."""
        for number in range(self.num_items):
            if not self._asked(number, of, choose, rater):
                return
        for prompt, answers in drawn:
            line = {"messages": prompt, "answers": [asdict(answer) for answer in answers]}
            append_line(self._run.folder / ANSWERS, line, sync=True)
            self._items.append(_Item.of(prompt, answers))
            if not self._asked(self.num_items - 1, of, choose, rater):
                return

    def _asked(
        self, number: int, of: int | None, choose: Callable[[Question], Choice], rater: str
    ) -> bool:
        """False when the rater quits."""
        item = self._items[number]
        if (number, rater) in self._choices or not item.can_be_asked:
            return True
        left = first_stands_right(self._run.name, number, rater)
        ours, theirs = item.answers[left], item.answers[1 - left]
        cut = [answer.finish_reason == "length" for answer in (ours, theirs)]
        choice = choose(Question(number + 1, of, item.messages, ours.text, theirs.text, *cut))
        if choice not in get_args(Choice):
            raise BadInput(
                f"{choice!r} is no choice.", remedy=f"Choose of {', '.join(get_args(Choice))}."
            )
        if choice == "quit":
            return False
        now = datetime.now(UTC).isoformat(timespec="seconds")
        line = {"item": number, "rater": rater, "at": now, "left": int(left), "choice": choice}
        append_line(self._run.folder / CHOICES, line, sync=True)
        self._choices[number, rater] = line
        return True

    def unasked(self, rater: str, of: int | None) -> int:
        """How many questions `rater` has still to be asked, of `of` prompts or of those drawn."""
        open_ = sum(
            item.can_be_asked and (number, rater) not in self._choices
            for number, item in enumerate(self._items)
        )
        return open_ + max(0, (of or 0) - self.num_items)

    def comparisons(self) -> list[Comparison]:
        """One of each choice but `skip`; the answers in the order of the models."""
        found = []
        for (number, rater), line in sorted(self._choices.items()):
            item, left, choice = self._items[number], line["left"], line["choice"]
            if choice == "skip":
                continue
            better = {"left": left, "right": 1 - left}.get(choice)
            ranks = [0, 0] if better is None else [better, 1 - better]
            found.append(
                Comparison(
                    item.messages,
                    [answer.text for answer in item.answers],
                    ranks,
                    rater=rater,
                    at=line["at"],
                    models=[answer.model for answer in item.answers],
                    sampling=self._sampling | {"seeds": [answer.seed for answer in item.answers]},
                    source=f"{self._run.name}#{number + 1}",
                )
            )
        return found

    def counts(self) -> dict[str, Any]:
        """How often each was chosen: {"choices", "not_asked", "raters", "models", "win_rate",
        "left_rate"}; the rates are of those choices that prefer one answer: how often it was the
        first model's (None where one model wrote both), and the left one. No preference, of the
        raters' or for a place, is 0.5. The interval is Wilson's, or, where raters were asked the
        same, the bootstrap's over questions, since what they say of one is not independent."""
        lines = list(self._choices.values())
        preferring = [line for line in lines if line["choice"] in ("left", "right")]
        items = [line["item"] for line in preferring]
        lefts = [line["choice"] == "left" for line in preferring]
        wins = [left == (line["left"] == 0) for left, line in zip(lefts, preferring, strict=True)]
        models = list(dict.fromkeys(one.model for item in self._items for one in item.answers))
        return {
            "choices": dict(Counter(line["choice"] for line in lines)),
            "not_asked": sum(not item.can_be_asked for item in self._items),
            "raters": sorted({line["rater"] for line in lines}),
            "models": models,
            "win_rate": _rate(wins, items) if len(models) > 1 else None,
            "left_rate": _rate(lefts, items),
        }

    def publish(self, store: Store, parents: Sequence[Artifact]) -> str | None:
        """The name of the artifact that holds all comparisons so far, with the session's two files;
        None where there are none."""
        comparisons = self.comparisons()
        if not comparisons:
            return None
        with store.writing(
            self._run.name,
            "comparisons",
            parents=parents,
            settings=self._run.settings,
            metrics={"comparisons": len(comparisons)} | self.counts(),
        ) as draft:
            write_comparisons(draft.folder, comparisons)
            for name in (ANSWERS, CHOICES):
                shutil.copyfile(self._run.folder / name, draft.folder / name)
        return draft.artifact.name


def first_stands_right(session: str, number: int, rater: str) -> bool:
    """A coin for each question and rater, the same whenever it is thrown: the place must tell
    nothing, and a question that comes again must not change."""
    return bool(hashlib.sha256(f"{session}\0{number}\0{rater}".encode()).digest()[0] & 1)


def _rate(successes: Sequence[bool], items: Sequence[int]) -> dict[str, Any] | None:
    """The share of the choices, each of which is of one of the `items`."""
    n = len(items)
    if not n:
        return None
    found = wilson(sum(successes), n)
    of_item = Counter(items)
    if 1 < len(of_item) < n:
        won = Counter(item for item, success in zip(items, successes, strict=True) if success)
        found = bootstrap_ratio([won[item] for item in of_item], list(of_item.values()), seed=0)
    return {"value": found.value, "interval": [found.low, found.high], "n": n, "baseline": 0.5}
