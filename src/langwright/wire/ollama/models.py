"""Ollama's calls about models themselves: https://docs.ollama.com/api/tags and its neighbours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar

from pydantic import Field, model_validator

from langwright.wire import sse
from langwright.wire.body import ANY, Body, parse
from langwright.wire.ollama.reply import time_json

RUNNING = b"Ollama is running"
"""What GET / answers; clients look for it."""
NEVER = "9999-12-31T23:59:59.000000Z"
"""When goes what stays for ever."""


@dataclass(frozen=True)
class Described:
    """A model in a list: `size` in bytes, `modified` in seconds since 1970; `parameters` is a text
    as 135M, `quantization` one as F32. `window` is in tokens."""

    name: str
    digest: str
    size: int
    modified: float
    format: str = "safetensors"
    family: str = ""
    parameters: str = ""
    quantization: str = ""
    parent: str = ""
    window: int | None = None
    capabilities: tuple[str, ...] = ("completion",)

    def details(self) -> dict[str, Any]:
        told = {
            "parent_model": self.parent,
            "format": self.format,
            "family": self.family,
            "families": [self.family] if self.family else [],
            "parameter_size": self.parameters,
            "quantization_level": self.quantization,
        }
        return told if self.window is None else {**told, "context_length": self.window}

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "model": self.name,
            "size": self.size,
            "digest": self.digest,
            "details": self.details(),
        }


def tags_json(models: Sequence[Described]) -> dict[str, Any]:
    return {
        "models": [
            {
                **one.to_json(),
                "modified_at": _time(one.modified),
                "capabilities": list(one.capabilities),
            }
            for one in models
        ]
    }


def ps_json(loaded: Sequence[tuple[Described, float | None, int]]) -> dict[str, Any]:
    """Of each model that is loaded when it goes (seconds since 1970, None: never) and its bytes on
    a GPU."""
    return {
        "models": [
            {
                **one.to_json(),
                "expires_at": _time(expires),
                "size_vram": on_gpu,
                "context_length": one.window or 0,
            }
            for one, expires, on_gpu in loaded
        ]
    }


def show_json(
    model: Described,
    *,
    info: Mapping[str, Any],
    template: str = "",
    parameters: str = "",
    licence: str = "",
    system: str = "",
    modelfile: str = "",
) -> dict[str, Any]:
    """`info` are the settings under GGUF's names."""
    texts = {
        "license": licence,
        "modelfile": modelfile,
        "parameters": parameters,
        "template": template,
        "system": system,
    }
    return {
        **{name: text for name, text in texts.items() if text},
        "details": model.details(),
        "model_info": dict(info),
        "capabilities": list(model.capabilities),
        "modified_at": _time(model.modified),
    }


def version_json(version: str) -> dict[str, str]:
    return {"version": version}


def progress(
    status: str, *, digest: str = "", total: int | None = None, completed: int | None = None
) -> bytes:
    """A line of what goes on, as `pulling manifest` or `success`; in bytes."""
    told: dict[str, Any] = {"status": status}
    if digest:
        told["digest"] = digest
    if total is not None:
        told["total"] = total
    if completed is not None:
        told["completed"] = completed
    return sse.dumps(told) + b"\n"


class NameBody(Body):
    """`name` is the older word for `model`."""

    ACCEPTED: ClassVar[Mapping[str, object]] = {
        "insecure": ANY,
        "options": ANY,
        "password": ANY,
        "system": ANY,
        "template": ANY,
        "username": ANY,
        "verbose": False,
    }

    model: str | None = None
    name: str | None = None
    stream: bool | None = None

    @model_validator(mode="after")
    def _named(self) -> NameBody:
        if not (self.model or self.name):
            raise ValueError("model is missing")
        return self


class CreateBody(NameBody):
    ACCEPTED: ClassVar[Mapping[str, object]] = {}

    origin: str | None = Field(alias="from", default=None)
    adapters: dict[str, str] | None = None
    files: dict[str, str] | None = None
    license: str | list[str] | None = None
    messages: list[dict[str, Any]] | None = None
    parameters: dict[str, Any] | None = None
    quantize: str | None = None
    system: str | None = None
    template: str | None = None


class CopyBody(Body):
    source: str = Field(min_length=1)
    destination: str = Field(min_length=1)


@dataclass(frozen=True)
class Named:
    """A call about one model; `stream`: its course is told line by line."""

    model: str
    stream: bool
    unheeded: tuple[str, ...]


@dataclass(frozen=True)
class Copy:
    source: str
    destination: str
    unheeded: tuple[str, ...]


@dataclass(frozen=True)
class Create(Named):
    """A model that is made of another (`origin`), or of files and adapters by their digests."""

    body: CreateBody


def read_named(raw: bytes, *, lenient: bool = False) -> Named:
    """Of pull, show and delete. Raises `BadBody`."""
    body, unheeded = parse(raw, NameBody, lenient=lenient)
    return Named(body.model or body.name or "", body.stream is not False, unheeded)


def read_copy(raw: bytes, *, lenient: bool = False) -> Copy:
    """Raises `BadBody`."""
    body, unheeded = parse(raw, CopyBody, lenient=lenient)
    return Copy(body.source, body.destination, unheeded)


def read_create(raw: bytes, *, lenient: bool = False) -> Create:
    """Raises `BadBody`."""
    body, unheeded = parse(raw, CreateBody, lenient=lenient)
    return Create(body.model or body.name or "", body.stream is not False, unheeded, body)


def _time(at: float | None) -> str:
    return NEVER if at is None else time_json(datetime.fromtimestamp(at, UTC))
