"""A number for an answer."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from langwright.config import Settings

Messages = Sequence[Mapping[str, str]]


class Asked(NamedTuple):
    """An answer to be rewarded: the messages of its prompt, its text, and the data of its row."""

    messages: Messages
    answer: str
    row: Mapping[str, Any]


class Reward(Protocol):
    """A number for one answer, or for many at once, which a judge is faster at."""

    def __call__(self, messages: Messages, answer: str, row: Mapping[str, Any]) -> float: ...

    def each(self, asked: Sequence[Asked]) -> list[float]: ...


class RuleReward(Settings):
    """A reward that its settings say all about."""

    @abstractmethod
    def __call__(self, messages: Messages, answer: str, row: Mapping[str, Any]) -> float: ...

    def each(self, asked: Sequence[Asked]) -> list[float]:
        return [self(*one) for one in asked]
