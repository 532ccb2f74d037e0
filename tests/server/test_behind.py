"""A server before another one: here two of ours, the first with a key."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.server.conftest import Server, serving, started

from langwright.model import ModelBundle
from langwright.server.keys import Keys

SAID = [{"role": "user", "content": "the quick fox"}]


@pytest.fixture(scope="module")
def behind(
    small: ModelBundle, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Server, str]]:
    """The server behind, and its key."""
    folder: Path = tmp_path_factory.mktemp("behind")
    (folder / "home").mkdir()
    key = Keys(folder / "home").add("front", ["use"])
    with serving(small, folder / "model", home=folder / "home") as server:
        yield server, key


@pytest.fixture
def front(
    behind: tuple[Server, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: object
) -> Iterator[tuple[httpx.Client, str]]:
    server, key = behind
    known = getattr(request, "param", True)
    monkeypatch.setenv("LANGWRIGHT_API_KEY", key if known else "lw-of-somewhere-else")
    model = f"{server.url}/v1#{server.model}"
    with started(tmp_path / "home", model) as (url, _), httpx.Client(base_url=url) as client:
        client.timeout = httpx.Timeout(60)
        yield client, model


def test_every_dialect_goes_through(front: tuple[httpx.Client, str]) -> None:
    """Ollama's own default of top_k too, which OpenAI's form has no room for."""
    client, model = front
    ollama = client.post("/api/chat", json={"model": model, "messages": SAID, "stream": False})
    assert ollama.status_code == 200, ollama.text
    asked = {"model": model, "messages": SAID, "max_tokens": 5}
    assert client.post("/v1/messages", json=asked).status_code == 200
    assert client.post("/v1/chat/completions", json=asked).status_code == 200
    chosen = {"model": model, "messages": SAID, "options": {"top_k": 3}}
    refused = client.post("/api/chat", json=chosen)
    assert refused.status_code == 400
    assert "top_k" in refused.json()["error"]


@pytest.mark.parametrize("front", [False], indirect=True)
def test_a_key_that_is_refused_behind_is_not_the_callers_fault(
    front: tuple[httpx.Client, str],
) -> None:
    client, model = front
    asked = {"model": model, "messages": SAID, "max_tokens": 5}
    answer = client.post("/v1/chat/completions", json=asked)
    assert answer.status_code == 503, answer.text
    assert "LANGWRIGHT_API_KEY" not in answer.text
