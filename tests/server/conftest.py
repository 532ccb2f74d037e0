"""A real server over a small model, in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from langwright.model import ModelBundle
from langwright.model.folder import save_folder


@dataclass
class Server:
    """`model` is the name of the one it serves, `bundle` the same in this process."""

    url: str
    model: str
    bundle: ModelBundle
    process: subprocess.Popen[str]
    client: httpx.Client

    def post(self, path: str, body: Any, **more: Any) -> httpx.Response:
        return self.client.post(path, json=body, **more)

    def chat(self, text: str = "the quick fox", **more: Any) -> httpx.Response:
        said = [{"role": "user", "content": text}]
        body = {"model": self.model, "messages": said, "max_tokens": 8, "temperature": 0, **more}
        return self.post("/v1/chat/completions", body)

    def figure(self, name: str) -> float:
        """The sum of a figure over its labels."""
        lines = self.client.get("/metrics").text.splitlines()
        found = [line.rsplit(" ", 1)[1] for line in lines if line.startswith(name)]
        return sum(map(float, found))


@contextmanager
def started(home: Path, *words: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """`langwright serve` with these words: its address and its process."""
    env = {**os.environ, "LANGWRIGHT_HOME": str(home), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "langwright", "serve", "--json", *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env)
    try:
        assert process.stdout
        line = process.stdout.readline()
        assert line, "the server did not start"
        ready = json.loads(line)
        assert "url" in ready, ready["error"]["message"]
        yield ready["url"], process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(timeout=40)
        except subprocess.TimeoutExpired:
            process.kill()


@contextmanager
def serving(bundle: ModelBundle, folder: Path, *words: str, home: Path) -> Iterator[Server]:
    """`folder`: where the model lies, or is put; or the name of a run."""
    if folder.is_absolute() and not folder.exists():
        folder.mkdir()
        save_folder(folder, bundle)
    with (
        started(home, str(folder), *words) as (url, process),
        httpx.Client(base_url=url, timeout=60) as client,
    ):
        yield Server(url, str(folder), bundle, process, client)


@pytest.fixture(scope="session")
def small(make_model: Callable[..., ModelBundle]) -> ModelBundle:
    rows = make_model().tokenizer.vocab_size
    return make_model(context_length=256, vocab_size=rows)


@pytest.fixture(scope="session")
def server(small: ModelBundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("served")
    with serving(small, folder / "model", home=folder / "home") as found:
        yield found
