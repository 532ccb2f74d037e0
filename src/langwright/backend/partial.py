"""A back end that can some of the protocol: what it does not override is refused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import fields

from langwright.backend.event import Event
from langwright.backend.protocol import Capabilities, Likelihood, NextToken, Scored
from langwright.backend.request import Request
from langwright.backend.sampling import Sampling
from langwright.errors import BadInput, Unsupported

REQUIRED = frozenset({"text", "messages", "token_ids", "max_tokens", "id", "sampling"})
OPTIONS = frozenset(one.name for kind in (Request, Sampling) for one in fields(kind)) - REQUIRED
"""The options of `Request` and `Sampling`, by their names."""
_PLAIN = Sampling()


class PartialBackend:
    """Answers every question of the protocol with `Unsupported`; subclasses override what they can.

    `kind` says in words what it is ("an encoder"), `instead` what to do where it cannot help.
    """

    kind = "this back end"
    instead = "Use the own engine: leave --backend out."

    def __init__(self, name: str) -> None:
        self._name = name

    @property
    def name(self) -> str:
        return self._name

    def capabilities(self) -> Capabilities:
        return Capabilities(generate=False)

    def generate(self, requests: Sequence[Request]) -> Iterator[Event]:
        raise self.cannot("generates no text")

    def score(
        self, texts: Sequence[str], *, window: int | None = None, stride: int | None = None
    ) -> list[Scored]:
        raise self.cannot("scores no text")

    def likelihoods(self, pairs: Sequence[tuple[str, str]]) -> list[Likelihood]:
        raise self.cannot("tells no likelihoods")

    def next_tokens(self, text: str, k: int) -> list[NextToken]:
        raise self.cannot("tells no next tokens")

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        raise self.cannot("gives no embeddings", "Use an encoder, such as minilm.")

    def tokenize(self, text: str) -> list[int]:
        raise self.cannot("tells no tokens")

    def abort(self, request_id: str) -> None:
        """There is nothing to end."""

    def cannot(self, what: str, instead: str | None = None) -> Unsupported:
        return Unsupported(f"'{self._name}' {what}: {self.kind}.", remedy=instead or self.instead)

    def check(self, requests: Sequence[Request], honoured: AbstractSet[str]) -> None:
        """Refuse two requests of one id (`BadInput`), and what is asked beyond `honoured`
        (`Unsupported`), before anything is drawn."""
        if len({request.id for request in requests}) < len(requests):
            raise BadInput(
                "Two requests have the same id, so their events could not be told apart.",
                remedy="Give each its own.",
            )
        for request in requests:
            if beyond := sorted(asked(request) - honoured):
                raise self.cannot(f"does not honour {', '.join(beyond)}")


def asked(request: Request) -> set[str]:
    """The options that a request sets otherwise than a plain one, by their names in `Request` and
    `Sampling`."""
    plain = Request(text="")
    options = {one.name for one in fields(Request)} - REQUIRED
    found = {name for name in options if getattr(request, name) != getattr(plain, name)}
    for one in fields(Sampling):
        if getattr(request.sampling, one.name) != getattr(_PLAIN, one.name):
            found.add(one.name)
    return found
