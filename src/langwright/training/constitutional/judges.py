"""Judges: which of two replies is better by a principle, as a probability."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from langwright.backend import Backend, Constraint, Request, Sampling
from langwright.errors import Unsupported
from langwright.progress import progress
from langwright.training.constitutional.forms import comparison
from langwright.training.constitutional.ledger import Ledger
from langwright.training.constitutional.principles import Principle

How = Literal["log-probabilities", "likelihoods", "said", "rules"]
"""Whence a verdict: the log-probabilities of its letter after the chat's prompt; those of both
letters after raw text; the letter that was said, where a back end tells no probabilities; rules."""

LETTERS = ("A", "B")
AT_ONCE = 64
_LETTER = re.compile(r"\W*(?:(?i:the |final |answer|reply|verdict|is|better)\W*)*([AB])\b")


@dataclass(frozen=True)
class Matchup:
    """Two replies to a prompt in the order in which they are shown."""

    principle: Principle
    prompt: str
    first: str
    second: str


@dataclass(frozen=True)
class Verdict:
    """`first`: how probable it is that the reply shown first is the better one. `mass`: how much of
    its probability the judge gave to the two letters at all; None where that is not known."""

    first: float
    mass: float | None = None


class Judge(Protocol):
    """Whoever chooses between two replies."""

    @property
    def name(self) -> str: ...

    @property
    def how(self) -> How: ...

    def verdicts(self, asked: Mapping[str, Matchup]) -> dict[str, Verdict]:
        """The verdict on each, by its key."""
        ...


class ModelJudge:
    """A back end as judge. It answers with a letter, whose log-probabilities are the soft label
    (Bai et al. 2022, section 4.1): drawn at temperature 1 among the two letters alone, p of the one
    that came is exp of its processed log-probability. What the ledger holds is not asked again."""

    def __init__(self, backend: Backend, ledger: Ledger) -> None:
        self.backend, self._ledger = backend, ledger
        can = backend.capabilities()
        self.how: How
        if can.chat and can.constraint and can.logprobs:
            self.how, self._ask = "log-probabilities", self._by_letter
        elif can.likelihood:
            self.how, self._ask = "likelihoods", self._by_likelihood
        elif can.chat:
            self.how, self._ask = "said", self._as_said
        else:
            raise Unsupported(
                f"'{backend.name}' cannot judge: it neither chats nor tells likelihoods.",
                remedy="Name another judge, or judge=rules.",
            )

    @property
    def name(self) -> str:
        return self.backend.name

    def verdicts(self, asked: Mapping[str, Matchup]) -> dict[str, Verdict]:
        known = self._ledger.known
        missing = {key: one for key, one in asked.items() if key not in known}
        done = len(asked) - len(missing)
        with progress(f"{self.name} judging by {self.how}", len(asked), done) as bar:
            for key, verdict in self._ask(missing):
                self._ledger.add(key, {"first": verdict.first, "mass": verdict.mass})
                bar.advance()
        return {key: Verdict(**known[key]) for key in asked}

    def _by_letter(self, asked: Mapping[str, Matchup]) -> Iterator[tuple[str, Verdict]]:
        requests = [
            Request(
                messages=[{"role": "user", "content": _question(one)}],
                max_tokens=1,
                sampling=Sampling(temperature=1.0, seed=0),
                constraint=Constraint(choice=LETTERS),
                logprobs=0,
                id=key,
            )
            for key, one in asked.items()
        ]
        said: dict[str, str] = dict.fromkeys(asked, "")
        told: dict[str, tuple[float, float]] = {}
        for event in self.backend.generate(requests):
            key = event.request_id
            said[key] += event.text
            if event.logprobs:
                told[key] = event.logprobs[0].processed, event.logprobs[0].logprob
            if event.error is not None:
                raise Unsupported(event.error, remedy="Name another judge.")
            if event.finish_reason is not None:
                assert said[key] in LETTERS, "the constraint leaves nothing else"
                processed, logprob = told[key]
                came = math.exp(processed)
                first = came if said[key] == "A" else 1 - came
                yield key, Verdict(first, math.exp(logprob - processed))

    def _by_likelihood(self, asked: Mapping[str, Matchup]) -> Iterator[tuple[str, Verdict]]:
        keys = list(asked)
        for start in range(0, len(keys), AT_ONCE):
            members = keys[start : start + AT_ONCE]
            texts = [_question(asked[key]) + "\n\nAnswer:" for key in members]
            pairs = [(text, f" {letter}") for text in texts for letter in LETTERS]
            found = [one.logprob for one in self.backend.likelihoods(pairs)]
            for key, a, b in zip(members, found[::2], found[1::2], strict=True):
                yield key, Verdict(1 / (1 + math.exp(b - a)), math.exp(a) + math.exp(b))

    def _as_said(self, asked: Mapping[str, Matchup]) -> Iterator[tuple[str, Verdict]]:
        requests = [
            Request(
                messages=[{"role": "user", "content": _question(one)}],
                max_tokens=16,
                sampling=Sampling(temperature=0.0),
                id=key,
            )
            for key, one in asked.items()
        ]
        said = dict.fromkeys(asked, "")
        for event in self.backend.generate(requests):
            key = event.request_id
            said[key] += event.text
            if event.error is not None:
                raise Unsupported(event.error, remedy="Name another judge.")
            if event.finish_reason is not None:
                match = _LETTER.match(said[key])
                clear = {"A": 1.0, "B": 0.0}
                # Nothing clear was said: mass 0 has it counted.
                yield key, Verdict(clear[match[1]], 1.0) if match else Verdict(0.5, 0.0)


def _question(one: Matchup) -> str:
    return comparison(one.principle, one.prompt, one.first, one.second)
