"""Likelihood as the answer: which choice the model holds likeliest, or how likely the given one."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence

from langwright.backend import Backend, Likelihood
from langwright.errors import Unsupported
from langwright.evaluation.item import Item
from langwright.evaluation.outcome import Measured, Outcome
from langwright.evaluation.task import Task
from langwright.progress import progress

ITEMS_AT_ONCE = 64
"""Enough to fill the passes of a back end, few enough for a bar that moves."""


def choose(backend: Backend, task: Task, items: Sequence[Item]) -> Measured:
    """Multiple choice (Brown et al. 2020): `acc` takes the choice with the largest log-probability,
    `acc_norm` that with the largest by character of the choice, as lm-eval does.

    Baselines: chance, the commonest place of the right choice, and always the longest choice.
    """
    contexts = [item.context(task) for item in items]
    found = _likelihoods(
        backend,
        task,
        [
            [(context, task.delimiter + choice) for choice in item.choices]
            for item, context in zip(items, contexts, strict=True)
        ],
    )
    outcomes = []
    for item, context, likelihoods in zip(items, contexts, found, strict=True):
        sums = [one.logprob for one in likelihoods]
        normed = [value / len(choice) for value, choice in zip(sums, item.choices, strict=True)]
        said, said_normed = sums.index(max(sums)), normed.index(max(normed))
        scores = {
            "acc": (float(said == item.gold), 1.0),
            "acc_norm": (float(said_normed == item.gold), 1.0),
        }
        log = {
            "prompt": context,
            "choices": list(item.choices),
            "gold": item.gold,
            "logprobs": sums,
            "tokens": [one.tokens for one in likelihoods],
            "answer": said,
            "answer_norm": said_normed,
        }
        outcomes.append(Outcome(item.index, scores, log))
    places = Counter(item.gold for item in items)
    longest = [item.choices.index(max(item.choices, key=len)) for item in items]
    baselines = {
        "chance": statistics.fmean(1 / len(item.choices) for item in items),
        "commonest place": max(places.values()) / len(items),
        "longest choice": statistics.fmean(
            place == item.gold for place, item in zip(longest, items, strict=True)
        ),
    }
    return Measured(outcomes, {"acc": baselines, "acc_norm": baselines})


def continue_(backend: Backend, task: Task, items: Sequence[Item]) -> Measured:
    """How likely the right continuation is (LAMBADA, Paperno et al. 2016): `acc` counts those whose
    every token is the likeliest, `perplexity` is exp of the mean negative log-probability.

    Baseline of `acc`: always the commonest continuation.
    """
    contexts = [item.context(task) for item in items]
    found = _likelihoods(
        backend,
        task,
        [
            [(context, task.delimiter + answer) for answer in item.answers]
            for item, context in zip(items, contexts, strict=True)
        ],
    )
    outcomes = []
    for item, context, likelihoods in zip(items, contexts, found, strict=True):
        best = max(likelihoods, key=lambda one: one.logprob)
        scores = {
            "acc": (float(any(one.greedy for one in likelihoods)), 1.0),
            "perplexity": (-best.logprob, 1.0),
        }
        log = {
            "prompt": context,
            "answers": list(item.answers),
            "logprobs": [one.logprob for one in likelihoods],
            "greedy": [one.greedy for one in likelihoods],
        }
        outcomes.append(Outcome(item.index, scores, log))
    answers = Counter(answer for item in items for answer in set(item.answers))
    commonest = max(answers.values()) / len(items)
    return Measured(outcomes, {"acc": {"commonest answer": commonest}})


def _likelihoods(
    backend: Backend, task: Task, asked: Sequence[Sequence[tuple[str, str]]]
) -> list[list[Likelihood]]:
    """For each item those of its pairs. Items of like length go together, the longest first, so
    that a pass holds little padding and a window that is too small shows at once."""
    if not backend.capabilities().likelihood:
        raise Unsupported(
            f"'{backend.name}' does not tell how likely given text is, which the task "
            f"'{task.name}' asks for.",
            remedy="Use a model of this machine, or a task of the kind generation.",
        )
    order = sorted(
        range(len(asked)), key=lambda i: -sum(len(part) for pair in asked[i] for part in pair)
    )
    results: list[list[Likelihood]] = [[] for _ in asked]
    with progress(f"{backend.name} on {task.name}", len(asked)) as bar:
        for start in range(0, len(order), ITEMS_AT_ONCE):
            members = order[start : start + ITEMS_AT_ONCE]
            found = iter(backend.likelihoods([pair for i in members for pair in asked[i]]))
            for i in members:
                results[i] = [next(found) for _ in asked[i]]
            bar.advance(len(members))
    return results
