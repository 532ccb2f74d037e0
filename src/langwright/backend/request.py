"""What is asked of a back end."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from langwright.errors import BadInput

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Sampling:
    """How the next token is drawn.

    Order of the filters: temperature, then `top_k`, then `top_p` (transformers' order).
    `temperature` 0 takes the likeliest token; `top_k` 0 and `top_p` 1 filter nothing. The same
    `seed` gives the same answer; without one each answer differs.
    """

    temperature: float = 0.7
    top_k: int = 0
    top_p: float = 1.0
    seed: int | None = None

    def __post_init__(self) -> None:
        wrong = None
        if not 0.0 <= self.temperature <= 100.0:
            wrong = f"temperature is {self.temperature}; it must lie between 0 and 100"
        elif self.top_k < 0:
            wrong = f"top_k is {self.top_k}; it must be 0 (off) or more"
        elif not 0.0 < self.top_p <= 1.0:
            wrong = f"top_p is {self.top_p}; it must be above 0 and at most 1"
        elif self.seed is not None and not -(2**63) <= self.seed < 2**63:
            wrong = f"seed is {self.seed}; it must be a number of 64 bits"
        if wrong:
            raise BadInput(wrong[0].upper() + wrong[1:] + ".", remedy="Correct the value.")


@dataclass(frozen=True)
class Request:
    """One text to continue: exactly one of `text` (raw), `messages` (chat) or `token_ids`.

    `max_tokens` None means as far as the context window goes. Generation ends at a stop string
    (not part of the answer), at the model's own end token, or at the limit.
    """

    text: str | None = None
    messages: Sequence[Mapping[str, str]] | None = None
    token_ids: Sequence[int] | None = None
    max_tokens: int | None = None
    sampling: Sampling = field(default_factory=Sampling)
    stop: tuple[str, ...] = ()
    id: str = field(default_factory=lambda: f"request-{next(_numbers)}")

    def __post_init__(self) -> None:
        given = [part for part in (self.text, self.messages, self.token_ids) if part is not None]
        if len(given) != 1:
            raise BadInput(
                "A request needs exactly one of text, messages and token_ids.",
                remedy="Give one of them.",
            )
        if self.max_tokens is not None and self.max_tokens < 1:
            raise BadInput(
                f"max_tokens is {self.max_tokens}.", remedy="Give at least 1, or leave it out."
            )
        if any(not stop for stop in self.stop):
            raise BadInput("A stop string is empty.", remedy="Leave it out.")
