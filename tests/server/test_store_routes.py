"""Ollama's calls that change the store, over a server of the whole store."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.server.conftest import started
from tests.store.hub_stand_in import stand_in

from langwright.model import ModelBundle
from langwright.model.folder import save_folder
from langwright.store import Store, pull

SAID = [{"role": "user", "content": "the quick fox"}]


@pytest.fixture(scope="module")
def client(
    make_model: Callable[..., ModelBundle], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[httpx.Client]:
    """A lenient server with two models, `one` and `two`, that answer differently."""
    folder: Path = tmp_path_factory.mktemp("whole")
    store = Store(folder / "home")
    rows = make_model().tokenizer.vocab_size
    for seed, name in enumerate(("one", "two")):
        (folder / name).mkdir()
        save_folder(folder / name, make_model(seed, context_length=256, vocab_size=rows))
        store.point(name, pull(f"file:{folder / name}", store=store))
    with started(folder / "home", "--lenient") as (url, _), httpx.Client(base_url=url) as client:
        client.timeout = httpx.Timeout(60)
        yield client


def names(client: httpx.Client) -> set[str]:
    return {one["name"].removesuffix(":latest") for one in client.get("/api/tags").json()["models"]}


def said(client: httpx.Client, model: str) -> Any:
    body = {"model": model, "messages": SAID, "stream": False, "options": {"temperature": 0}}
    answer = client.post("/api/chat", json=body | {"options": {"temperature": 0, "num_predict": 9}})
    assert answer.status_code == 200, answer.text
    return answer.json()["message"]["content"]


def test_a_name_means_what_it_was_last_pointed_at(client: httpx.Client) -> None:
    first, second = said(client, "one"), said(client, "two")
    assert first != second
    for source, expected in (("one", first), ("two", second)):
        body = {"source": source, "destination": "now"}
        assert client.post("/api/copy", json=body).status_code == 200
        assert said(client, "now") == expected
    made = client.post("/api/create", json={"model": "now", "from": "one", "stream": False})
    assert made.json() == {"status": "success"}
    assert said(client, "now") == first
    assert client.request("DELETE", "/api/delete", json={"model": "now"}).status_code == 200
    assert "now" not in names(client)
    assert said(client, "one") == first  # the bytes stay, another name holds them


def test_what_is_not_there_deletes_nothing_else(client: httpx.Client) -> None:
    """Also where another model would answer for it."""
    before = names(client)
    assert client.post("/api/show", json={"model": "none"}).status_code == 200
    assert client.request("DELETE", "/api/delete", json={"model": "none"}).status_code == 404
    assert names(client) == before


def test_a_model_is_not_loaded_to_be_let_go(client: httpx.Client) -> None:
    client.post("/api/generate", json={"model": "two", "keep_alive": 0})
    loaded = {one["name"] for one in client.get("/api/ps").json()["models"]}
    answer = client.post("/api/generate", json={"model": "two", "keep_alive": 0, "stream": False})
    assert answer.json()["done_reason"] == "unload"
    assert not any(one.startswith("two") for one in loaded)
    assert {one["name"] for one in client.get("/api/ps").json()["models"]} == loaded


def test_what_a_model_can_is_told(client: httpx.Client) -> None:
    shown = client.post("/api/show", json={"model": "one"})
    assert shown.json()["capabilities"] == ["completion"]


def test_a_pull_tells_how_far_it_is(
    make_model: Callable[..., ModelBundle], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a hub on this machine."""
    (tmp_path / "model").mkdir()
    save_folder(tmp_path / "model", make_model(2, context_length=256))
    files = {one.name: one.read_bytes() for one in (tmp_path / "model").iterdir()}
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    with stand_in() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        hub.add("model", "lab/small", files)
        with started(tmp_path / "home") as (url, _):
            call = httpx.stream("POST", f"{url}/api/pull", json={"model": "hf:lab/small"})
            with call as answer:
                lines = [json.loads(one) for one in answer.iter_lines()]
    assert lines[0] == {"status": "pulling hf:lab/small"}
    assert lines[-1] == {"status": "success"}
    assert lines[-2]["digest"]
    counted = [one["completed"] for one in lines if "completed" in one]
    assert counted == sorted(counted)
    assert counted[-1] == sum(map(len, files.values()))
    assert {one["total"] for one in lines if "completed" in one} == {counted[-1]}
