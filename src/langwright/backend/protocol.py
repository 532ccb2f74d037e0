"""The protocol that every source of tokens answers to: own engine, other engines, providers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from langwright.backend.event import Event
from langwright.backend.request import Request


@dataclass(frozen=True)
class Capabilities:
    """What a back end can do. Asking for more raises `Unsupported`; nothing is ignored."""

    generate: bool = True
    score: bool = False
    embed: bool = False
    tokenize: bool = False
    chat: bool = False
    context_length: int | None = None
    logprobs: bool = False
    constraint: bool = False
    penalties: bool = False
    likelihood: bool = False
    adapters: tuple[str, ...] = ()
    tools: bool = False
    think: bool = False
    at_once: int = 1
    """So many calls are answered together, each from a thread of its own."""


@dataclass(frozen=True)
class Scored:
    """The log-probability (nats) of each token given those before it in the same window.

    `logprobs[i]` is None where nothing came before. `bytes` counts the UTF-8 bytes of the tokens
    that were scored, so that bits per byte has its honest denominator.
    """

    token_ids: tuple[int, ...]
    logprobs: tuple[float | None, ...]
    bytes: int


@dataclass(frozen=True)
class Likelihood:
    """How likely a continuation is after its context: the sum over its `tokens`, in nats.

    `greedy` says whether each token was the likeliest in its place; `bytes` counts the UTF-8 bytes
    of the continuation.
    """

    logprob: float
    greedy: bool
    tokens: int
    bytes: int


@dataclass(frozen=True)
class NextToken:
    """One candidate for the next token. `text` shows invalid UTF-8 as U+FFFD."""

    id: int
    text: str
    probability: float
    logprob: float


@runtime_checkable
class Backend(Protocol):
    """A source of tokens. Synchronous; as many threads at a time as its capabilities say, but for
    `abort`, which every thread may call."""

    @property
    def name(self) -> str: ...

    def capabilities(self) -> Capabilities: ...

    def generate(self, requests: Sequence[Request]) -> Iterator[Event]:
        """Answer all requests; events of different requests interleave."""
        ...

    def score(
        self, texts: Sequence[str], *, window: int | None = None, stride: int | None = None
    ) -> list[Scored]: ...

    def likelihoods(self, pairs: Sequence[tuple[str, str]]) -> list[Likelihood]:
        """Of each (context, continuation), cut into tokens as one text: blanks at the end of the
        context count as the continuation's. An empty context stands for the start token, or else
        the end token. Raises `BadInput` for a pair that the window does not hold."""
        ...

    def next_tokens(self, text: str, k: int) -> list[NextToken]: ...

    def embed(self, texts: Sequence[str]) -> list[list[float]]: ...

    def tokenize(self, text: str) -> list[int]: ...

    def abort(self, request_id: str) -> None:
        """End a request at the next step; its last event says `abort`."""
        ...
