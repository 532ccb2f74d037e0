"""What the model and the judge are asked, in words: the request's text comes from a principle."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from langwright.config import Settings, read_toml
from langwright.training.constitutional.author import Messages
from langwright.training.constitutional.principles import Principle, Said, read_constitution

_REPLY = """Here is a message and the reply that it got.

Message: {prompt}

Reply: {answer}

"""
CRITIQUE = _REPLY + "{critique_request} Answer in one or two sentences."
REVISION = (
    _REPLY
    + """Criticism of the reply: {critique}

{revision_request} Write the new reply alone, in a few sentences."""
)
COMPARISON = """Here is a message and two replies to it.

Message: {prompt}

Reply A: {first}

Reply B: {second}

{question} Answer with one letter alone, A or B."""


class Example(Settings):
    """A good critique and a good revision of an answer, by a principle of the house."""

    principle: str
    prompt: Said
    answer: Said
    critique: Said
    revision: Said


class _Examples(Settings):
    examples: tuple[Example, ...]


class Forms:
    """The conversations in which a model is asked for a critique and for a revision, after the
    first `shots` examples, which show it how that is done."""

    def __init__(self, shots: int) -> None:
        folder = resources.files("langwright.training.constitutional")
        found = _Examples.build(read_toml(Path(str(folder / "examples.toml"))))
        self.examples: Sequence[Example] = found.examples[:shots]
        self._house = read_constitution("house")

    def critique(self, principle: Principle, prompt: str, answer: str) -> Messages:
        said = []
        for one in self.examples:
            by = self._house.principle(one.principle)
            said += _turn(_critique(by, one.prompt, one.answer), one.critique)
        return [*said, _asked(_critique(principle, prompt, answer))]

    def revision(self, principle: Principle, prompt: str, answer: str, critique: str) -> Messages:
        said = []
        for one in self.examples:
            by = self._house.principle(one.principle)
            asked = _revision(by, one.prompt, one.answer, one.critique)
            said += _turn(asked, one.revision)
        return [*said, _asked(_revision(principle, prompt, answer, critique))]


def comparison(principle: Principle, prompt: str, first: str, second: str) -> str:
    """What the judge is asked; its verdict is the letter A or B."""
    return COMPARISON.format(
        prompt=prompt, first=first, second=second, question=principle.comparison
    )


def _critique(principle: Principle, prompt: str, answer: str) -> str:
    return CRITIQUE.format(prompt=prompt, answer=answer, critique_request=principle.critique)


def _revision(principle: Principle, prompt: str, answer: str, critique: str) -> str:
    return REVISION.format(
        prompt=prompt, answer=answer, critique=critique, revision_request=principle.revision
    )


def _asked(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def _turn(asked: str, answered: str) -> list[dict[str, str]]:
    return [_asked(asked), {"role": "assistant", "content": answered}]
