"""A page's own program with the page's weights, run by node."""

from __future__ import annotations

import base64
import json
import subprocess
import tempfile
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, Self

import numpy as np

from langwright.lifecycle.export.probes import Probe

Rows = np.ndarray[Any, np.dtype[np.float32]]


class NodeFailed(Exception):
    """What node said last."""


class Node:
    """The page at `path` in node; ends with the block. Raises `NodeFailed` where it cannot run."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> Self:
        self._said = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")
        with as_file(files("langwright.lifecycle.export").joinpath("web", "prove.js")) as script:
            self._process = subprocess.Popen(
                ["node", str(script), str(self._path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._said,
                encoding="utf-8",
            )
            self.version: str = self._ask("version")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()  # which ends its input, and so the program
        self._said.close()

    def ids(self, probe: Probe) -> list[int]:
        """The ids that it reads for a text or a conversation."""
        if probe.messages is not None:
            return list(self._ask("chat", turns=[one["content"] for one in probe.messages]))
        return list(self._ask("text", text=probe.text))

    def logprobs(self, ids: list[int], places: list[int]) -> Rows:
        """Of all tokens behind some places of the ids, [P, V], in nats."""
        raw = base64.b64decode(self._ask("logits", ids=ids, places=places))
        logits = np.frombuffer(raw, "<f4").reshape(len(places), -1).astype(np.float64)
        logits -= logits.max(-1, keepdims=True)
        found = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        return np.asarray(found, dtype=np.float32)

    def _ask(self, kind: str, **asked: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"kind": kind, **asked}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:  # it has ended; what it said is below
            pass
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            self._said.seek(0)
            lines = [one for one in self._said.read().splitlines() if "rror" in one]
            raise NodeFailed("; ".join(lines[-3:])[:600] or "it died")
        return json.loads(line)
