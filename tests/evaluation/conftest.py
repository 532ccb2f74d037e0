"""A back end that says what a test tells it to: evaluation sees the protocol and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from langwright.backend import (
    Capabilities,
    Event,
    Likelihood,
    NextToken,
    Request,
    Scored,
    Usage,
)


class Scripted:
    """Answers each request with `say(request, turn)`, and tells nothing else."""

    def __init__(self, say: Callable[[Request, int], str], chat: bool = True) -> None:
        self.say, self.chat = say, chat
        self.requests: list[Request] = []

    @property
    def name(self) -> str:
        return "scripted"

    def capabilities(self) -> Capabilities:
        return Capabilities(chat=self.chat)

    def generate(self, requests: Sequence[Request]) -> Iterator[Event]:
        self.requests += requests
        for turn, request in enumerate(requests):
            text = self.say(request, turn)
            yield Event(request.id, text, finish_reason="stop", usage=Usage(1, 1))

    def score(
        self, texts: Sequence[str], *, window: int | None = None, stride: int | None = None
    ) -> list[Scored]:
        raise AssertionError("not among its capabilities")

    def likelihoods(self, pairs: Sequence[tuple[str, str]]) -> list[Likelihood]:
        raise AssertionError("not among its capabilities")

    def next_tokens(self, text: str, k: int) -> list[NextToken]:
        raise AssertionError("not among its capabilities")

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        raise AssertionError("not among its capabilities")

    def tokenize(self, text: str) -> list[int]:
        raise AssertionError("not among its capabilities")

    def abort(self, request_id: str) -> None: ...


@pytest.fixture
def scripted() -> type[Scripted]:
    return Scripted


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    """Write rows as JSON lines, or a text as it is; the path."""
    import json

    def write(name: str, content: Any) -> str:
        if not isinstance(content, str):
            content = "".join(json.dumps(row) + "\n" for row in content)
        (tmp_path / name).write_text(content)
        return str(tmp_path / name)

    return write
