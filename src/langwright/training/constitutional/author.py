"""Who writes: a back end whose answers are drawn by seeds of their own and kept as they come."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

from langwright.backend import Backend, Request, Sampling
from langwright.errors import Unsupported
from langwright.progress import progress
from langwright.training.constitutional.ledger import Ledger

Messages = Sequence[Mapping[str, str]]
AT_ONCE = 256
"""Requests that a back end is given together."""


@dataclass(frozen=True)
class Written:
    """`cut`: it did not end by itself. The same `seed` gives the same text again."""

    text: str
    cut: bool
    tokens: int
    seed: int


@dataclass(frozen=True)
class Author:
    """Answers conversations. What the ledger holds is taken from there, the rest is generated and
    added to it; the seed of a text is a function of `seed` and its key alone."""

    backend: Backend
    ledger: Ledger
    max_tokens: int
    temperature: float
    top_p: float
    seed: int

    def __post_init__(self) -> None:
        require_chat(self.backend)

    @property
    def sampling(self) -> dict[str, Any]:
        """How it is drawn, as JSON."""
        return {
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "seed": self.seed,
        }

    def write(self, what: str, asked: Mapping[str, Messages]) -> dict[str, Written]:
        """The answer to each, by its key; `what` is said beside the bar."""
        missing = {key: one for key, one in asked.items() if key not in self.ledger.known}
        waiting = iter(missing.items())
        with progress(f"{self.backend.name}: {what}", len(asked), len(asked) - len(missing)) as bar:
            while batch := dict(islice(waiting, AT_ONCE)):
                for key, written in self._generated(batch):
                    self.ledger.add(key, asdict(written))
                    bar.advance()
        return {key: Written(**self.ledger.known[key]) for key in asked}

    def _generated(self, asked: Mapping[str, Messages]) -> Iterator[tuple[str, Written]]:
        # What stands behind an @ says who writes: two models are given the same seed.
        seeds = {key: seed_of(self.seed, key.partition("@")[0]) for key in asked}
        requests = [
            Request(
                messages=messages,
                max_tokens=self.max_tokens,
                sampling=Sampling(self.temperature, 0, self.top_p, seeds[key]),
                id=key,
            )
            for key, messages in asked.items()
        ]
        texts = dict.fromkeys(asked, "")
        for event in self.backend.generate(requests):
            key = event.request_id
            texts[key] += event.text
            if event.error is not None:
                raise Unsupported(event.error, remedy="Ask for something simpler.")
            if event.finish_reason is not None:
                tokens = event.usage.completion_tokens if event.usage else 0
                cut = event.finish_reason != "stop"
                yield key, Written(texts[key].strip(), cut, tokens, seeds[key])


def require_chat(backend: Backend) -> None:
    """Raise `Unsupported` for a back end that answers no conversations."""
    if not backend.capabilities().chat:
        raise Unsupported(
            f"'{backend.name}' has no chat template, so it cannot be asked.",
            remedy="Use a model that chats, or fine-tune it for chat first: `langwright sft`.",
        )


def seed_of(seed: int, key: str) -> int:
    """A number of 31 bits that depends on both, and on nothing else."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{key}".encode()).digest()[:4], "big") >> 1
