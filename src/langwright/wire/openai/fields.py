"""What OpenAI's calls have in common: sampling, in and out.

https://platform.openai.com/docs/api-reference, and the names that vLLM and llama.cpp add.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, field_validator

from langwright.backend import Request, Sampling
from langwright.wire.body import ANY, Body

ACCEPTED: Mapping[str, object] = {
    "user": ANY,
    "metadata": ANY,
    "safety_identifier": ANY,
    "prompt_cache_key": ANY,
    "store": False,
    "service_tier": ("auto", "default"),
}


class StreamOptions(Body):
    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class SamplingBody(Body):
    """Of chat and completions. As with llama.cpp's and vLLM's servers, `model` may be left out."""

    model: str | None = None
    temperature: Annotated[float, Field(ge=0, le=100)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    n: Annotated[int, Field(ge=1, le=128)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: str | list[str] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    logit_bias: dict[str, float] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    top_k: Annotated[int, Field(ge=-1)] | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    repetition_penalty: Annotated[float, Field(ge=0.01, le=100)] | None = None
    min_tokens: Annotated[int, Field(ge=0)] | None = None

    @field_validator("logit_bias")
    @classmethod
    def _names_tokens(cls, given: dict[str, float] | None) -> dict[str, float] | None:
        for token, bias in (given or {}).items():
            if not token.isascii() or not token.isdigit() or len(token) > 10:
                raise ValueError(f"it names tokens by their ids, and not as '{token}'")
            if not -100 <= bias <= 100:
                raise ValueError(f"a bias of {bias:g} does not lie between -100 and 100")
        return given

    def sampling(self) -> Sampling:
        """The defaults are OpenAI's."""
        given = {
            "temperature": 1.0 if self.temperature is None else self.temperature,
            "top_p": self.top_p,
            "top_k": None if self.top_k in (None, -1) else self.top_k,
            "min_p": self.min_p,
            "seed": self.seed,
            "repetition_penalty": self.repetition_penalty,
            "presence_penalty": self.presence_penalty,
            "frequency_penalty": self.frequency_penalty,
            "logit_bias": {int(token): bias for token, bias in (self.logit_bias or {}).items()},
        }
        return Sampling(**{name: one for name, one in given.items() if one is not None})  # type: ignore[arg-type]

    def stops(self) -> tuple[str, ...]:
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())

    def wants_usage(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)


def sampling_fields(request: Request) -> dict[str, Any]:
    """What the call says of how a request is drawn; what is as it is by default is left out."""
    how = request.sampling
    given = {
        "temperature": how.temperature,
        "top_p": None if how.top_p == 1 else how.top_p,
        "top_k": how.top_k or None,
        "min_p": how.min_p or None,
        "n": None if request.n == 1 else request.n,
        "seed": how.seed,
        "stop": list(request.stop) or None,
        "presence_penalty": how.presence_penalty or None,
        "frequency_penalty": how.frequency_penalty or None,
        "repetition_penalty": None if how.repetition_penalty == 1 else how.repetition_penalty,
        "logit_bias": {str(token): bias for token, bias in how.logit_bias.items()} or None,
        "min_tokens": request.min_tokens or None,
    }
    return {name: one for name, one in given.items() if one is not None}
