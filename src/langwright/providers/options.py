"""The options of an answer, as people give them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict, Unpack

from langwright.backend import Constraint, Filter, Request, Sampling

Messages = Sequence[Mapping[str, str]]


class Options(TypedDict, total=False):
    """How an answer is drawn.

    `max_tokens` (default 256; None: to the end of the window), `min_tokens` (0), `temperature`
    (0.7), `top_k` (0: off), `top_p` (1.0: off), `min_p` (0.0: off), `repetition_penalty` (1.0:
    off), `frequency_penalty` and `presence_penalty` (0.0: off), `logit_bias` (by token id), `order`
    of the filters, `seed` (None: each answer differs), `stop` (strings that end it), `logprobs`
    (None: not told; else how many alternatives are), `deadline_s`, `adapter` (the name of one that
    the model was loaded with), and one of `json_schema`, `regex` and `choice`, which the answer
    must keep to. See `Sampling`, `Request` and `Constraint` for what they mean.
    """

    max_tokens: int | None
    min_tokens: int
    temperature: float
    top_k: int
    top_p: float
    min_p: float
    repetition_penalty: float
    frequency_penalty: float
    presence_penalty: float
    logit_bias: Mapping[int, float]
    order: tuple[Filter, ...]
    seed: int | None
    stop: Sequence[str]
    logprobs: int | None
    deadline_s: float | None
    adapter: str | None
    json_schema: Mapping[str, Any] | bool | None
    regex: str | None
    choice: Sequence[str] | None


_SAMPLING = frozenset(Sampling.__dataclass_fields__)
_CONSTRAINT = frozenset(Constraint.__dataclass_fields__)


def request_of(prompt: str | Messages, **options: Unpack[Options]) -> Request:
    """The request for one answer: text is continued raw, messages are answered."""
    given: dict[str, Any] = {"max_tokens": 256} | dict(options)
    stop = given.pop("stop", ())
    sampling = {name: given.pop(name) for name in _SAMPLING & given.keys()}
    bounds = {name: given.pop(name) for name in _CONSTRAINT & given.keys()}
    bounds = {name: value for name, value in bounds.items() if value is not None}
    if "choice" in bounds:
        bounds["choice"] = tuple(bounds["choice"])
    text, messages = (prompt, None) if isinstance(prompt, str) else (None, prompt)
    return Request(
        text,
        messages,
        sampling=Sampling(**sampling),
        stop=(stop,) if isinstance(stop, str) else tuple(stop),
        constraint=Constraint(**bounds) if bounds else None,
        **given,
    )
