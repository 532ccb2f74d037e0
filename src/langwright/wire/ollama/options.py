"""What Ollama's calls have in common: options with defaults of their own, and how long a model
stays.

https://github.com/ollama/ollama/blob/main/api/types.go (Options, DefaultOptions, Duration)
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator

from langwright.backend import Constraint, Request, Sampling
from langwright.wire.ask import Ask
from langwright.wire.body import ANY, Body

MOST_LOGPROBS = 20
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_SPAN = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|ms|s|m|h)", re.ASCII)

Schema = Literal["", "json"] | dict[str, Any]
Think = bool | Literal["low", "medium", "high", "max"]


@dataclass(frozen=True)
class OllamaAsk(Ask):
    """Without requests the model is only loaded, or unloaded where `keep_alive` is 0: so many
    seconds it stays, infinite for ever, None as long as any. `num_ctx`: the window that is asked
    for, in tokens."""

    keep_alive: float | None = None
    num_ctx: int | None = None


class Options(Body):
    """How the model was loaded changes no answer; the defaults are `DefaultOptions`."""

    ACCEPTED: ClassVar[Mapping[str, object]] = {
        "draft_num_predict": ANY,
        "low_vram": ANY,
        "main_gpu": ANY,
        "mirostat": 0,
        "num_batch": ANY,
        "num_gpu": ANY,
        "num_keep": ANY,
        "num_thread": ANY,
        "numa": ANY,
        "tfs_z": 1,
        "typical_p": 1,
        "use_mlock": ANY,
        "use_mmap": ANY,
    }

    frequency_penalty: Annotated[float, Field(ge=-100, le=100)] | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    num_ctx: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    num_predict: int | None = None
    presence_penalty: Annotated[float, Field(ge=-100, le=100)] | None = None
    repeat_last_n: int | None = None
    repeat_penalty: Annotated[float, Field(ge=0.01, le=100)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: list[str] | None = None
    temperature: Annotated[float, Field(ge=0, le=100)] | None = None
    top_k: Annotated[int, Field(ge=0)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None

    def unheeded(self) -> tuple[str, ...]:
        """Penalties look at all that was said (-1), and not at its last tokens."""
        off = self.repeat_penalty in (None, 1)
        off = off and not self.presence_penalty and not self.frequency_penalty
        odd = not off and self.repeat_last_n not in (None, -1)
        return (*super().unheeded(), *(("repeat_last_n",) if odd else ()))

    def sampling(self) -> Sampling:
        return Sampling(
            temperature=0.8 if self.temperature is None else self.temperature,
            top_k=40 if self.top_k is None else self.top_k,
            top_p=0.9 if self.top_p is None else self.top_p,
            min_p=self.min_p or 0.0,
            seed=None if self.seed == -1 else self.seed,
            repetition_penalty=self.repeat_penalty or 1.0,
            presence_penalty=self.presence_penalty or 0.0,
            frequency_penalty=self.frequency_penalty or 0.0,
        )

    def max_tokens(self) -> int | None:
        """-1 is without end, and -2 until the window is full; here both are the same."""
        return self.num_predict if self.num_predict and self.num_predict > 0 else None


class CallBody(Body):
    """Of generate and chat."""

    ACCEPTED: ClassVar[Mapping[str, object]] = {
        "_debug_render_only": False,
        "shift": False,
        "truncate": False,
    }

    model: str = Field(min_length=1)
    format: Schema | None = None
    keep_alive: float | str | None = None
    logprobs: bool | None = None
    options: Options | None = None
    stream: bool | None = None
    think: Think | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=MOST_LOGPROBS)] | None = None

    @field_validator("keep_alive")
    @classmethod
    def _spans(cls, given: float | str | None) -> float | None:
        return seconds(given)

    def unheeded(self) -> tuple[str, ...]:
        """How much is to be thought is not honoured."""
        return (*super().unheeded(), *(("think",) if isinstance(self.think, str) else ()))

    def ask(self, unheeded: tuple[str, ...], **prompt: Any) -> OllamaAsk:
        """The call with this prompt, and without one where there is none."""
        options = self.options or Options()
        kept = self.keep_alive
        assert not isinstance(kept, str), "it was read"
        request = prompt and Request(
            max_tokens=options.max_tokens(),
            sampling=options.sampling(),
            stop=tuple(options.stop or ()),
            logprobs=(self.top_logprobs or 0) if self.logprobs else None,
            constraint=self.constraint(),
            **prompt,
        )
        return OllamaAsk(
            self.model,
            (request,) if isinstance(request, Request) else (),
            self.stream is not False,
            unheeded=unheeded,
            assumes_top_k=options.top_k is None,
            think=None if self.think is None else bool(self.think),
            keep_alive=kept,
            num_ctx=options.num_ctx or None,
        )

    def constraint(self) -> Constraint | None:
        if self.format in (None, ""):
            return None
        schema = {"type": "object"} if self.format == "json" else self.format
        assert isinstance(schema, dict)
        return Constraint(json_schema=schema)


def seconds(given: float | str | None) -> float | None:
    """A span of time: seconds, or a text as Go writes it (1h30m); below 0 it is without end."""
    if given is None:
        return None
    if isinstance(given, str):
        sign = -1 if given.startswith("-") else 1
        text = given.lstrip("+-") if given[:2] not in ("--", "+-", "-+", "++") else "?"
        found = _SPAN.findall(text)
        if (text != "0" and "".join(number + unit for number, unit in found) != text) or not text:
            raise ValueError(f"'{given[:20]}' is no span of time like 5m or 1h30m")
        given = sign * sum(float(number) * _SECONDS[unit] for number, unit in found)
    return math.inf if given < 0 else float(given)


def call_fields(ask: Ask) -> dict[str, Any]:
    """What a call says beside its prompt. Every option is said, since a model may bring defaults of
    its own."""
    request, how = ask.request, ask.request.sampling
    options = {
        "temperature": how.temperature,
        "top_k": how.top_k,
        "top_p": how.top_p,
        "min_p": how.min_p,
        "seed": -1 if how.seed is None else how.seed,
        "num_predict": -1 if request.max_tokens is None else request.max_tokens,
        "repeat_penalty": how.repetition_penalty,
        "repeat_last_n": -1,
        "presence_penalty": how.presence_penalty,
        "frequency_penalty": how.frequency_penalty,
        "stop": list(request.stop),
    }
    said: dict[str, Any] = {"model": ask.model, "options": options, "stream": ask.stream}
    said |= {"truncate": False, "shift": False}
    if request.logprobs is not None:
        said |= {"logprobs": True, "top_logprobs": min(request.logprobs, MOST_LOGPROBS)}
    if request.constraint is not None and request.constraint.json_schema is not None:
        schema = request.constraint.json_schema
        said["format"] = {} if schema is True else schema
    if ask.think is not None:
        said["think"] = ask.think
    if isinstance(ask, OllamaAsk):
        if ask.keep_alive is not None:
            said["keep_alive"] = -1 if math.isinf(ask.keep_alive) else ask.keep_alive
        if ask.num_ctx is not None:
            options["num_ctx"] = ask.num_ctx
    return said
