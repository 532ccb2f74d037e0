"""What another model thinks of an answer: a number that it says, or how probable its Yes is."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from langwright.backend import MAX_LOGPROBS, Backend, Constraint, Request, Sampling
from langwright.errors import BadInput, Unsupported
from langwright.evaluation.rewards.reward import Asked, Messages
from langwright.progress import progress

CRITERION = "helpful, correct and fitting"

RATING = """Rate the assistant's answer to a user: how {criterion} is it? 1 is not at all, 10 is \
as much as an answer can be.

{conversation}

Reply with one number from 1 to 10 alone."""

VERDICT = """Judge the assistant's answer to a user: is it {criterion}?

{conversation}

Reply with one word alone: Yes or No."""

_NUMBER = re.compile(r"\d+(?:\.\d+)?")


class Rating:
    """The number from 1 to 10 that `judge` says, as 0 to 1; nan where it says none, for the caller
    to leave out and to count.

    The judge is told what the answer should be by `criterion`, an adjective or several.
    """

    def __init__(self, judge: Backend, criterion: str = CRITERION) -> None:
        self.judge, self.criterion = judge, criterion

    def __call__(self, messages: Messages, answer: str, row: Mapping[str, Any]) -> float:
        return self.each([Asked(messages, answer, row)])[0]

    def each(self, asked: Sequence[Asked]) -> list[float]:
        can = self.judge.capabilities()
        numbers = tuple(str(number) for number in range(1, 11))
        requests = [
            Request(
                text=None if can.chat else question + "\n\nNumber:",
                messages=[{"role": "user", "content": question}] if can.chat else None,
                max_tokens=16,
                sampling=Sampling(temperature=0.0),
                constraint=Constraint(choice=numbers) if can.constraint else None,
            )
            for question in _questions(RATING, self.criterion, asked)
        ]
        said = {request.id: "" for request in requests}
        with progress(f"{self.judge.name} rating", len(requests)) as bar:
            for event in self.judge.generate(requests):
                said[event.request_id] += event.text
                bar.advance(event.finish_reason is not None)
        return [_rated(text) for text in said.values()]


class Verdict:
    """How probable it is, from 0 to 1, that `judge` says Yes rather than No when asked whether the
    answer is what `criterion` says: finer than a verdict, and the same each time."""

    def __init__(self, judge: Backend, criterion: str = CRITERION) -> None:
        self.judge, self.criterion = judge, criterion

    def __call__(self, messages: Messages, answer: str, row: Mapping[str, Any]) -> float:
        return self.each([Asked(messages, answer, row)])[0]

    def each(self, asked: Sequence[Asked]) -> list[float]:
        questions = _questions(VERDICT, self.criterion, asked)
        return probability_of_first(self.judge, questions, ("Yes", "No"))


def probability_of_first(
    judge: Backend, questions: Sequence[str], words: tuple[str, str]
) -> list[float]:
    """Of each question, how probable the first of two words is as the reply, of the two alone.

    A judge that chats tells the log-probabilities of its first token, and each word counts by its
    own first one; another is asked which word it holds likelier behind "Verdict:". A word beyond
    the likeliest hundred tokens counts as the hundredth, an upper bound; where both are, the reply
    is none of them and the result nan. Raises `Unsupported` for a judge that does neither.
    """
    can = judge.capabilities()
    if can.chat and can.logprobs and can.tokenize:
        return _by_first_token(judge, questions, words)
    if can.likelihood:
        pairs = [(text + "\n\nVerdict:", " " + word) for text in questions for word in words]
        found = [one.logprob for one in judge.likelihoods(pairs)]
        return [
            _share(first, second) for first, second in zip(found[::2], found[1::2], strict=True)
        ]
    raise Unsupported(
        f"'{judge.name}' tells no probabilities of its verdicts.",
        remedy="Take a judge of this machine, or let it say a number.",
    )


def _by_first_token(
    judge: Backend, questions: Sequence[str], words: tuple[str, str]
) -> list[float]:
    first, second = (judge.tokenize(word)[0] for word in words)
    if first == second:
        raise BadInput(
            f"'{words[0]}' and '{words[1]}' begin with the same token.", remedy="Take other words."
        )
    requests = [
        Request(
            messages=[{"role": "user", "content": question}],
            max_tokens=1,
            sampling=Sampling(temperature=0.0),
            logprobs=MAX_LOGPROBS,
        )
        for question in questions
    ]
    top: dict[str, dict[int, float]] = {}
    with progress(f"{judge.name} judging", len(requests)) as bar:
        for event in judge.generate(requests):
            for token in event.logprobs[:1]:
                top.setdefault(event.request_id, dict(token.top))
            bar.advance(event.finish_reason is not None)
    shares = []
    for request in requests:
        told = top.get(request.id, {})
        if first not in told and second not in told:
            shares.append(math.nan)
            continue
        least = min(told.values())
        shares.append(_share(told.get(first, least), told.get(second, least)))
    return shares


def _share(first: float, second: float) -> float:
    """exp(first) / (exp(first) + exp(second)), whatever their size."""
    return 1 / (1 + math.exp(min(second - first, 700.0)))


def _rated(text: str) -> float:
    found = _NUMBER.search(text)
    number = float(found[0]) if found else math.nan
    return (number - 1) / 9 if 1 <= number <= 10 else math.nan


def _questions(template: str, criterion: str, asked: Sequence[Asked]) -> list[str]:
    questions = []
    for messages, answer, _ in asked:
        told = [f"[The {one['role']}]\n{one['content']}" for one in messages]
        conversation = "\n\n".join([*told, f"[The answer]\n{answer}"])
        questions.append(template.format(criterion=criterion, conversation=conversation))
    return questions
