"""The stage of AI feedback: two answers to a prompt, and a judge's choice by a principle."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from langwright.training.constitutional.author import Author, Written
from langwright.training.constitutional.judges import Judge, Matchup
from langwright.training.constitutional.principles import Constitution, Principle
from langwright.training.constitutional.revising import draw


@dataclass(frozen=True)
class Comparison:
    """`orders`: how probable it is that the first answer is better, asked with it in the first
    place and in the second; `probability` is their mean."""

    prompt: str
    principle: str
    answers: tuple[Written, Written]
    orders: tuple[float, float]
    mass: float | None

    @property
    def probability(self) -> float:
        return fmean(self.orders)

    @property
    def ranks(self) -> list[int]:
        p = self.probability
        return [0, 0] if p == 0.5 else [0, 1] if p > 0.5 else [1, 0]

    @property
    def consistent(self) -> bool:
        """Whether the judge prefers the same answer in both orders, or none in both."""
        forward, backward = (one - 0.5 for one in self.orders)
        return forward * backward > 0 or forward == backward == 0


@dataclass(frozen=True)
class Feedback:
    """`equal` pairs had twice the same answer, `empty` ones one without text: neither is judged."""

    comparisons: list[Comparison]
    equal: int
    empty: int

    def counts(self, judge: Judge) -> dict[str, Any]:
        """What the judge is like. `consistency`: how many pairs it judges alike in both orders;
        `first_place`: the mean probability that it gives to whatever is shown first (0.5 is no
        bias); `mass`: what its letters have of its probability, on average (of a judge that is
        taken at its word: how often it said one)."""
        found = self.comparisons
        masses = [one.mass for one in found if one.mass is not None]
        first = [(one.orders[0] + 1 - one.orders[1]) / 2 for one in found]
        return {
            "pairs": len(found),
            "equal": self.equal,
            "empty": self.empty,
            "judge": judge.name,
            "labels": judge.how,
            "ties": sum(one.probability == 0.5 for one in found),
            "consistency": fmean(one.consistent for one in found) if found else None,
            "first_place": fmean(first) if found else None,
            "mean_certainty": fmean(abs(2 * one.probability - 1) for one in found)
            if found
            else None,
            "mass": fmean(masses) if masses else None,
        }


def compare_answers(
    author: Author,
    judge: Judge,
    constitution: Constitution,
    prompts: Sequence[str],
    pairs_per_prompt: int,
) -> Feedback:
    """Two answers to each prompt (several times over, with other seeds), judged by a principle
    that is drawn for each pair, in both orders (Bai et al. 2022, section 4.1)."""
    places = [(n, turn) for n in range(len(prompts)) for turn in range(pairs_per_prompt)]
    answers = author.write(
        "pairs of answers",
        {
            f"pair/{n}/{turn}/{side}": [{"role": "user", "content": prompts[n]}]
            for n, turn in places
            for side in (0, 1)
        },
    )
    kept: dict[tuple[int, int], tuple[Principle, Written, Written]] = {}
    equal = empty = 0
    for n, turn in places:
        one, other = (answers[f"pair/{n}/{turn}/{side}"] for side in (0, 1))
        if not one.text or not other.text:
            empty += 1
        elif one.text == other.text:
            equal += 1
        else:
            (principle,) = draw(constitution, author.seed, f"pair/{n}/{turn}", 1)
            kept[n, turn] = principle, one, other
    asked: dict[str, Matchup] = {}
    for (n, turn), (principle, one, other) in kept.items():
        asked[f"verdict/{n}/{turn}/0"] = Matchup(principle, prompts[n], one.text, other.text)
        asked[f"verdict/{n}/{turn}/1"] = Matchup(principle, prompts[n], other.text, one.text)
    said = judge.verdicts(asked)
    found = []
    for (n, turn), (principle, one, other) in kept.items():
        forward, backward = (said[f"verdict/{n}/{turn}/{order}"] for order in (0, 1))
        masses = [v.mass for v in (forward, backward) if v.mass is not None]
        mass = fmean(masses) if masses else None
        orders = forward.first, 1 - backward.first
        found.append(Comparison(prompts[n], principle.id, (one, other), orders, mass))
    return Feedback(found, equal, empty)


def write_comparisons(
    path: Path, found: Sequence[Comparison], judge: Judge, author: Author, source: str
) -> None:
    """An artifact's comparisons.jsonl: `probability` is the soft label of the first answer."""
    lines = []
    for one in found:
        line = {
            "messages": [{"role": "user", "content": one.prompt}],
            "answers": [answer.text for answer in one.answers],
            "ranks": one.ranks,
            "probability": one.probability,
            "rater": judge.name,
            "models": [author.backend.name] * 2,
            "sampling": {**author.sampling, "seeds": [answer.seed for answer in one.answers]},
            "source": source,
            "principle": one.principle,
            "orders": list(one.orders),
        }
        lines.append(json.dumps(line, ensure_ascii=False) + "\n")
    path.write_text("".join(lines), encoding="utf-8", newline="\n")
