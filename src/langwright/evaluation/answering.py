"""Generation as the answer: drawn, graded, and where there are several put to the vote."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from langwright.backend import Backend, Request, Sampling
from langwright.errors import BadSettings, Unsupported
from langwright.evaluation.item import Item
from langwright.evaluation.outcome import Measured, Outcome, Scores
from langwright.evaluation.task import Task
from langwright.progress import progress
from langwright.sandbox import available

REASONED = r"(?im)\banswer(?:\s+is)?\s*:?\s*((?:(?!\banswer\b).)+?)[.\s]*$"
"""Where the answer stands behind a chain of thought, unless the task says it."""


@dataclass(frozen=True)
class Answer:
    """`cut`: it did not end by itself (max_tokens, a deadline, a provider's filter)."""

    text: str
    cut: bool


def answer(backend: Backend, task: Task, items: Sequence[Item], seed: int, where: str) -> Measured:
    """Each item answered `samples` times and graded.

    With several samples of a grader that votes, the commonest answer counts (`maj@k`, self-
    consistency; of equally many the first drawn), beside the mean over single answers (`mean@k`);
    of code, `pass@1` and `pass@k` by the unbiased estimate (Chen et al. 2021), here with k drawn.
    The baseline is the grader's verdict on the commonest right answer for all items; where there
    is no right answer to compare with, on an empty one.
    """
    if task.grader.kind == "code" and (reason := available()) is not None:
        raise Unsupported(
            f"The task '{task.name}' runs programs that the model writes. {reason}",
            remedy="They are never run outside of the sandbox.",
        )
    drawn = ask(backend, task, items, seed, task.samples)
    outcomes = []
    with progress(f"Grading {task.name}", len(items)) as bar:
        for item, answers in zip(items, drawn, strict=True):
            said = [extracted(task, one.text) for one in answers]
            scores, verdicts = _grade(task, item, said, f"{where}, row {item.index + 1}")
            log = {
                "prompt": item.context(task) if not task.chat else item.messages(),
                "answers": list(item.answers),
                "responses": [one.text for one in answers],
                "cut": [one.cut for one in answers],
                "extracted": said,
                "verdicts": verdicts,
            }
            outcomes.append(Outcome(item.index, scores, log))
            bar.advance()
    everything = [one for answers in drawn for one in answers]
    notes: dict[str, Any] = {
        "cut_answers": sum(one.cut for one in everything),
        "empty_answers": sum(not one.text.strip() for one in everything),
    }
    if task.extract or task.chain_of_thought:
        notes["not_extracted"] = sum(not extracted(task, one.text) for one in everything)
    if task.samples > 1:
        notes["samples"] = task.samples
    return Measured(outcomes, _baselines(task, items, outcomes, where), notes)


def ask(
    backend: Backend, task: Task, items: Sequence[Item], seed: int, samples: int = 1
) -> list[list[Answer]]:
    """`samples` answers to each item; the seed of each is a pure function of seed, row and turn."""
    can = backend.capabilities()
    if not can.generate or (task.chat and not can.chat):
        raise Unsupported(
            f"'{backend.name}' does not {'chat' if can.generate else 'generate text'}, which the "
            f"task '{task.name}' asks for.",
            remedy="Use a model with a chat template, or chat = false."
            if task.chat
            else "Use another model.",
        )
    requests, places = [], dict[str, tuple[int, int]]()
    for place, item in enumerate(items):
        for turn in range(samples):
            request = Request(
                text=None if task.chat else item.context(task),
                messages=item.messages() if task.chat else None,
                max_tokens=task.max_tokens,
                sampling=Sampling(
                    task.temperature, task.top_k, task.top_p, _seed(seed, item.index, turn)
                ),
                stop=task.stop,
            )
            requests.append(request)
            places[request.id] = place, turn
    texts = [[""] * samples for _ in items]
    cut = [[False] * samples for _ in items]
    with progress(f"{backend.name} on {task.name}", len(requests)) as bar:
        for event in backend.generate(requests):
            place, turn = places[event.request_id]
            texts[place][turn] += event.text
            if event.finish_reason is not None:
                cut[place][turn] = event.finish_reason != "stop"
                bar.advance()
    return [
        [Answer(*one) for one in zip(texts[place], cut[place], strict=True)]
        for place in range(len(items))
    ]


def extracted(task: Task, text: str) -> str:
    """What of an answer is graded; empty where the pattern finds nothing."""
    # The grader of numbers finds its own behind a chain of thought.
    reasoned = REASONED if task.chain_of_thought and task.grader.kind == "exact" else ""
    source = task.extract or reasoned
    if not source:
        return text
    try:
        matches = list(re.finditer(source, text))
    except re.error as error:
        raise BadSettings(
            f"extract: {source!r} is no regular expression: {error}.", remedy="Correct the task."
        ) from None
    if not matches:
        return ""
    groups = [group for group in matches[-1].groups() if group is not None]
    return groups[0] if groups else matches[-1][0]


def _grade(
    task: Task, item: Item, said: Sequence[str], where: str
) -> tuple[Scores, list[dict[str, float]]]:
    grader, count = task.grader, len(said)
    single = [grader.grade(one, item.answers, item.row, where) for one in said]
    verdicts = [{name: top / bottom for name, (top, bottom) in one.items()} for one in single]
    if count == 1:
        return single[0], verdicts
    scores: Scores = {}
    for name in single[0]:
        mean = sum(one[name][0] for one in single) / sum(one[name][1] for one in single)
        if grader.kind == "code":
            scores[name] = mean, 1.0
            scores[f"pass@{count}"] = float(mean > 0), 1.0
        else:
            scores[f"{name},maj@{count}"] = single[winner([grader.vote(one) for one in said])][name]
            scores[f"{name},mean@{count}"] = mean, 1.0
    return scores, verdicts


def winner(votes: Sequence[str]) -> int:
    """The place of the first of the commonest votes; empty ones count only where all are."""
    counts = Counter(vote for vote in votes if vote)
    if not counts:
        return 0
    most = max(counts.values())
    return next(place for place, vote in enumerate(votes) if counts.get(vote) == most)


def _baselines(
    task: Task, items: Sequence[Item], outcomes: Sequence[Outcome], where: str
) -> dict[str, dict[str, float]]:
    commonest, name = "", "empty answer"
    if task.grader.needs_answer:
        commonest = Counter(one for item in items for one in set(item.answers)).most_common(1)[0][0]
        name = "commonest answer"
    sums: dict[str, list[float]] = {}
    for item in items:
        place = f"{where}, row {item.index + 1}"
        for metric, pair in task.grader.grade(commonest, item.answers, item.row, place).items():
            total = sums.setdefault(metric, [0.0, 0.0])
            total[0] += pair[0]
            total[1] += pair[1]
    found = {metric: {name: top / bottom} for metric, (top, bottom) in sums.items()}
    metrics = outcomes[0].scores if outcomes else {}
    return {
        metric: found.get(metric.partition(",")[0]) or found.get("pass@1", {}) for metric in metrics
    }


def _seed(seed: int, index: int, turn: int) -> int:
    told = hashlib.sha256(f"{seed}/{index}/{turn}".encode()).digest()
    return int.from_bytes(told[:4], "big")
