"""Which of two answers a judge prefers, asked twice with their places swapped."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from langwright.backend import Backend, Constraint, Request, Sampling
from langwright.errors import BadInput
from langwright.evaluation.answering import ask
from langwright.evaluation.item import Item
from langwright.evaluation.outcome import Measured, Outcome
from langwright.evaluation.task import Task
from langwright.evaluation.template import value_of
from langwright.progress import progress

QUESTION = """Two assistants have answered a user. Say which answer is better: the more helpful, \
correct and fitting one. Their order, their length and the style of their names do not matter.

[The user]
{question}

[Answer A]
{first}

[Answer B]
{second}

Reply with one letter alone: A if the first answer is better, B if the second is, C if neither."""

_VERDICT = re.compile(r"\W*(?:(?i:the |final |answer|verdict)\W*)*([ABC])\b")


def prefer(
    backend: Backend, judge: Backend, task: Task, items: Sequence[Item], seed: int, where: str
) -> Measured:
    """The share of the answers that `judge` prefers to those they stand `against`, ties half.

    Judges favour a place (Zheng et al. 2023), so each pair is judged in both orders, and a judge
    that contradicts itself has seen a tie. What bias is left is told: `consistency`, the share of
    pairs with the same verdict in both orders, and `first_place`, how often the first answer won
    of the verdicts that were for one (0.5 is no bias).
    """
    places = [f"{where}, row {item.index + 1}" for item in items]
    against = [
        str(value_of(task.against, item.row, place))
        for item, place in zip(items, places, strict=True)
    ]
    if task.candidate:
        candidates = [
            str(value_of(task.candidate, item.row, place))
            for item, place in zip(items, places, strict=True)
        ]
        cut = 0
    else:
        drawn = [one for (one,) in ask(backend, task, items, seed)]
        candidates, cut = [one.text for one in drawn], sum(one.cut for one in drawn)
    orders = []
    for item, ours, theirs in zip(items, candidates, against, strict=True):
        orders += [(item.question, ours, theirs), (item.question, theirs, ours)]
    verdicts = judged(judge, orders, task.name)
    outcomes = []
    for item, ours, theirs, pair in zip(
        items, candidates, against, zip(verdicts[::2], verdicts[1::2], strict=True), strict=True
    ):
        forward, backward = pair
        wins = (forward == "A") + (backward == "B")
        losses = (forward == "B") + (backward == "A")
        score = 1.0 if wins == 2 else 0.0 if losses == 2 else 0.5
        same = wins == 2 or losses == 2 or (forward == "C" and backward == "C")
        scores = {
            "win_rate": (score, 1.0),
            "consistency": (float(same), 1.0),
        }
        decided = sum(one in ("A", "B") for one in pair)
        if decided:
            scores["first_place"] = (float(pair.count("A")), float(decided))
        log = {"prompt": item.question, "answer": ours, "against": theirs, "verdicts": list(pair)}
        outcomes.append(Outcome(item.index, scores, log))
    half = {"chance": 0.5}
    notes: dict[str, Any] = {
        "judge": judge.name,
        "ties": sum(one.scores["win_rate"][0] == 0.5 for one in outcomes),
        "unclear_verdicts": sum(not one for one in verdicts),
    }
    if not task.candidate:
        notes["cut_answers"] = cut
    return Measured(outcomes, {"win_rate": half, "first_place": half}, notes)


def judged(judge: Backend, asked: Sequence[tuple[str, str, str]], name: str) -> list[str]:
    """For each (question, answer A, answer B): A, B, C for neither, or nothing where the judge
    said none of them."""
    can = judge.capabilities()
    constraint = Constraint(choice=("A", "B", "C")) if can.constraint else None
    requests = []
    for question, first, second in asked:
        text = QUESTION.format(question=question, first=first, second=second)
        requests.append(
            Request(
                text=None if can.chat else text + "\n\nVerdict:",
                messages=[{"role": "user", "content": text}] if can.chat else None,
                max_tokens=16,
                sampling=Sampling(temperature=0.0),
                constraint=constraint,
            )
        )
    said = {request.id: "" for request in requests}
    with progress(f"{judge.name} judging {name}", len(requests)) as bar:
        for event in judge.generate(requests):
            said[event.request_id] += event.text
            bar.advance(event.finish_reason is not None)
    found = (_VERDICT.match(text) for text in said.values())
    return [match[1] if match else "" for match in found]


def check(task: Task, has_judge: bool) -> None:
    """Raises `BadInput` where nobody could judge."""
    if not task.candidate and not has_judge:
        raise BadInput(
            f"The task '{task.name}' needs a judge: nobody may judge answers of their own.",
            remedy="Name one with --judge MODEL.",
        )
