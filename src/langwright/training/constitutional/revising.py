"""The supervised stage: an answer, a critique of it by a principle, a revision, and so on."""

from __future__ import annotations

import random
from collections.abc import Sequence

from langwright.evaluation.looping import looped
from langwright.training.constitutional.author import Author, Written, seed_of
from langwright.training.constitutional.forms import Forms
from langwright.training.constitutional.principles import Constitution, Principle
from langwright.training.constitutional.transcript import Fault, Round, Transcript

RUN = 4
"""Words that two texts have in common by copying, hardly by chance."""


def revise(
    author: Author, constitution: Constitution, prompts: Sequence[str], rounds: int, forms: Forms
) -> list[Transcript]:
    """Answers to the prompts, each criticised and revised `rounds` times by principles that are
    drawn anew for each (Bai et al. 2022, section 3.1).

    A revision with a fault is kept in its transcript and not used: the next round works on what
    stood before it. An empty answer is not revised.
    """
    asked = {f"answer/{n}": [_said(prompt)] for n, prompt in enumerate(prompts)}
    answers = author.write("answers", asked)
    found = [Transcript(n, one, answers[f"answer/{n}"]) for n, one in enumerate(prompts)]
    drawn = [draw(constitution, author.seed, f"{n}", rounds) for n in range(len(prompts))]
    going = [one for one in found if one.answer.text]
    for turn in range(rounds):
        by = {one.number: drawn[one.number][turn] for one in going}
        critiques = author.write(
            f"critiques, round {turn + 1}",
            {
                f"critique/{one.number}/{turn}": forms.critique(
                    by[one.number], one.prompt, one.standing
                )
                for one in going
            },
        )
        said = {one.number: critiques[f"critique/{one.number}/{turn}"] for one in going}
        revisions = author.write(
            f"revisions, round {turn + 1}",
            {
                f"revision/{one.number}/{turn}": forms.revision(
                    by[one.number], one.prompt, one.standing, said[one.number].text
                )
                for one in going
                if said[one.number].text
            },
        )
        for one in going:
            critique, revision = said[one.number], revisions.get(f"revision/{one.number}/{turn}")
            fault = fault_of(one.standing, critique, revision, forms)
            one.rounds.append(Round(by[one.number].id, critique, revision, fault))
    return found


def draw(constitution: Constitution, seed: int, what: str, count: int) -> list[Principle]:
    """`count` principles, always the same for one `what`; none comes twice before all came once."""
    chance = random.Random(seed_of(seed, f"principles/{what}"))  # noqa: S311 - no secret
    found: list[Principle] = []
    while len(found) < count:
        found += chance.sample(constitution.principles, len(constitution.principles))
    return found[:count]


def fault_of(
    before: str, critique: Written, revision: Written | None, forms: Forms
) -> Fault | None:
    """Why a revision of `before` cannot be used; None where it can."""
    if revision is None:
        return "empty critique"
    text = _plain(revision.text)
    if not text:
        return "empty"
    if text == _plain(before):
        return "unchanged"
    if revision.cut or looped(revision.text):
        return "run-away"
    examples = [part for one in forms.examples for part in (one.answer, one.critique, one.revision)]
    if any(_taken_from(text, _plain(one)) for one in [*examples, critique.text]):
        return "copied"
    return None


def _taken_from(text: str, source: str) -> bool:
    """Whether half of the runs of four words are of the source; of shorter texts, all of it."""
    words, there = text.split(), source.split()
    runs = [words[at : at + RUN] for at in range(max(1, len(words) - RUN + 1))]
    known = [there[at : at + RUN] for at in range(max(1, len(there) - RUN + 1))]
    return 2 * sum(run in known for run in runs) >= len(runs)


def _plain(text: str) -> str:
    """Letters and digits alone: quotation marks and line ends make no other answer."""
    return " ".join("".join(c if c.isalnum() else " " for c in text.casefold()).split())


def _said(prompt: str) -> dict[str, str]:
    return {"role": "user", "content": prompt}
