"""What is asked of a back end."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from langwright.backend.sampling import Sampling
from langwright.backend.tools import ToolChoice
from langwright.errors import BadInput

_numbers = itertools.count(1)

MAX_LOGPROBS = 100
"""Most alternatives of one token that are told."""


@dataclass(frozen=True)
class Constraint:
    """What an answer must look like: exactly one of a JSON schema (an object, or true for any
    JSON), a regular expression that the whole answer matches, or a list of choices.

    An answer that ends by itself keeps to it; one that max_tokens cuts is its beginning.
    """

    json_schema: Mapping[str, Any] | bool | None = None
    regex: str | None = None
    choice: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        given = [one for one in (self.json_schema, self.regex, self.choice) if one is not None]
        if len(given) != 1:
            raise BadInput(
                "A constraint needs exactly one of json_schema, regex and choice.",
                remedy="Give one of them.",
            )
        if self.choice is not None and (not self.choice or not all(self.choice)):
            raise BadInput(
                "The choices are empty, or one of them is.", remedy="Give at least one text."
            )


@dataclass(frozen=True)
class Request:
    """One text to continue: exactly one of `text` (raw), `messages` (chat) or `token_ids`.

    `max_tokens` None means as far as the context window goes. Generation ends at a stop string
    (not part of the answer), at the model's own end token, or at the limit; until there are
    `min_tokens`, the end token is ruled out. `n` answers are drawn, each event telling which it
    belongs to; with a seed, answer i is that of seed + i alone. `logprobs` asks for those of each
    token and so many of its likeliest alternatives (0: of the token alone). `adapter` is the name
    of one that the back end holds. After `deadline_s` seconds the answer ends as it stands.

    `tools` (OpenAI's form) are told to the model by its chat template; `tool_choice` says whether
    it may, must or must not call one. `think` says whether it thinks before it answers (None: as
    its template has it). `prompt_logprobs` asks for the log-probabilities of the prompt's own
    tokens and so many of the likeliest; then `max_tokens` may be 0: the prompt is only read.
    """

    text: str | None = None
    messages: Sequence[Mapping[str, Any]] | None = None
    token_ids: Sequence[int] | None = None
    max_tokens: int | None = None
    sampling: Sampling = field(default_factory=Sampling)
    stop: tuple[str, ...] = ()
    id: str = field(default_factory=lambda: f"request-{next(_numbers)}")
    min_tokens: int = 0
    n: int = 1
    logprobs: int | None = None
    adapter: str | None = None
    constraint: Constraint | None = None
    deadline_s: float | None = None
    tools: Sequence[Mapping[str, Any]] | None = None
    tool_choice: ToolChoice = "auto"
    prompt_logprobs: int | None = None
    think: bool | None = None

    def __post_init__(self) -> None:
        given = [part for part in (self.text, self.messages, self.token_ids) if part is not None]
        if len(given) != 1:
            raise BadInput(
                "A request needs exactly one of text, messages and token_ids.",
                remedy="Give one of them.",
            )
        least = 1 if self.prompt_logprobs is None else 0
        if self.max_tokens is not None and self.max_tokens < least:
            raise BadInput(
                f"max_tokens is {self.max_tokens}.",
                remedy=f"Give at least {least}, or leave it out.",
            )
        if any(not stop for stop in self.stop):
            raise BadInput("A stop string is empty.", remedy="Leave it out.")
        wrong = None
        if self.min_tokens < 0 or self.min_tokens > (self.max_tokens or self.min_tokens):
            wrong = f"min_tokens is {self.min_tokens}; it must lie between 0 and max_tokens"
        elif not 1 <= self.n <= 1024:
            wrong = f"n is {self.n}; it must lie between 1 and 1024"
        elif self.logprobs is not None and not 0 <= self.logprobs <= MAX_LOGPROBS:
            wrong = f"logprobs is {self.logprobs}; it must lie between 0 and {MAX_LOGPROBS}"
        elif self.prompt_logprobs is not None and not 0 <= self.prompt_logprobs <= MAX_LOGPROBS:
            wrong = f"prompt_logprobs is {self.prompt_logprobs}; it must lie between 0 and "
            wrong += f"{MAX_LOGPROBS}"
        elif self.tools and self.messages is None:
            wrong = "tools are told within a conversation, and the prompt is none"
        elif self.tool_choice not in ("auto", "none") and not self.tools:
            wrong = f"tool_choice is '{self.tool_choice}', and there are no tools"
        elif self.deadline_s is not None and not self.deadline_s > 0:
            wrong = f"deadline_s is {self.deadline_s}; it must be above 0"
        if wrong:
            raise BadInput(wrong[0].upper() + wrong[1:] + ".", remedy="Correct the value.")
