"""One question of a task, with the examples put before it."""

from __future__ import annotations

import random
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langwright.errors import BadInput
from langwright.evaluation.rows import Rows
from langwright.evaluation.task import Task
from langwright.evaluation.template import render, value_of


@dataclass(frozen=True)
class Item:
    """`question` is the row's own prompt; `shots` are the (prompt, answer) of its examples.

    `answers` are the texts that are right (of a multiple choice the one choice, at `gold` among
    the `choices`). `row` holds the fields, `index` counts the rows from 0.
    """

    index: int
    row: Mapping[str, Any]
    question: str
    answers: tuple[str, ...]
    choices: tuple[str, ...]
    gold: int
    description: str
    shots: tuple[tuple[str, str], ...]

    def context(self, task: Task) -> str:
        """All that the model reads before it answers, as raw text."""
        shown = "".join(
            f"{question}{task.delimiter}{answer}{task.fewshot_separator}"
            for question, answer in self.shots
        )
        return self.description + shown + self.question

    def messages(self) -> list[dict[str, str]]:
        """The same as a conversation."""
        turns = [("system", self.description)] if self.description else []
        for question, answer in self.shots:
            turns += [("user", question), ("assistant", answer)]
        turns.append(("user", self.question))
        return [{"role": role, "content": content} for role, content in turns]


def make_items(
    task: Task, rows: Rows, pool: Rows | None, seed: int, limit: int | None = None
) -> list[Item]:
    """The items of the first `limit` rows. Examples come from `pool`, or else from the rows
    without the one that is asked; which ones is a pure function of seed and row."""
    asked = rows.rows[:limit]
    bare = [_read(task, row, rows.where(index)) for index, row in enumerate(asked)]
    if not task.num_fewshot:
        return [_item(task, rows, index, one, ()) for index, one in enumerate(bare)]
    source = rows if pool is None else pool
    candidates = range(len(source.rows))
    if len(candidates) - (pool is None) < task.num_fewshot:
        raise BadInput(
            f"{source.path.name} has too few rows for {task.num_fewshot} examples.",
            remedy="Take fewer, or give more data with fewshot_data.",
        )
    items = []
    for index, one in enumerate(bare):
        others = [row for row in candidates if pool is not None or row != index]
        if task.fewshot_order == "first":
            chosen = others[: task.num_fewshot]
        else:
            chosen = random.Random(f"{seed}/{index}").sample(others, task.num_fewshot)  # noqa: S311
        shots = tuple(_shot(task, source, row) for row in chosen)
        items.append(_item(task, rows, index, one, shots))
    return items


_Read = tuple[str, tuple[str, ...], tuple[str, ...], int]


def _read(task: Task, row: Mapping[str, Any], where: str) -> _Read:
    question = render(task.prompt, row, where)
    if task.chain_of_thought:
        between = "\n" if task.chat else " "
        question += between + task.chain_of_thought
    if task.kind == "perplexity" or task.kind == "preference":
        return question, (), (), -1
    if task.kind == "generation" and not task.grader.needs_answer:
        return question, (), (), -1
    answer = value_of(task.answer, row, where)
    if task.kind != "multiple_choice":
        texts = answer if isinstance(answer, list | tuple) else [answer]
        if not texts or not all(isinstance(one, str | int | float) for one in texts):
            raise BadInput(
                f"{where}: the answer is {answer!r}.", remedy="Give a text or a list of texts."
            )
        return question, tuple(map(str, texts)), (), -1
    choices = value_of(task.choices, row, where)
    if (
        not isinstance(choices, list | tuple)
        or len(choices) < 2
        or not all(isinstance(one, str) and one for one in choices)
    ):
        raise BadInput(
            f"{where}: the choices are {choices!r}.", remedy="Give a list of two texts or more."
        )
    gold = _gold(answer, list(choices), where)
    return question, (choices[gold],), tuple(choices), gold


def _gold(answer: Any, choices: list[str], where: str) -> int:
    if isinstance(answer, int) and not isinstance(answer, bool) and 0 <= answer < len(choices):
        return answer
    if isinstance(answer, str):
        if choices.count(answer) == 1:
            return choices.index(answer)
        letter = string.ascii_uppercase.find(answer) if len(answer) == 1 else -1
        if answer not in choices and 0 <= letter < len(choices):
            return letter
    raise BadInput(
        f"{where}: the answer {answer!r} is none of the {len(choices)} choices.",
        remedy="Give its index from 0, its text or its letter.",
    )


def _shot(task: Task, rows: Rows, index: int) -> tuple[str, str]:
    row, where = rows.rows[index], rows.where(index)
    question, answers, _, _ = _read(task, row, where)
    if task.fewshot_answer:
        return question, render(task.fewshot_answer, row, where)
    if not answers:
        raise BadInput(
            f"The task '{task.name}' says no answer that an example could show.",
            remedy="Set fewshot_answer, a template.",
        )
    return question, answers[0]


def _item(
    task: Task, rows: Rows, index: int, read: _Read, shots: Sequence[tuple[str, str]]
) -> Item:
    question, answers, choices, gold = read
    row = rows.rows[index]
    described = render(task.description, row, rows.where(index)) if task.description else ""
    return Item(index, row, question, answers, choices, gold, described, tuple(shots))
