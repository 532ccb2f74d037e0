"""A hub on this machine: the addresses that the real client asks, served from memory."""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

_API = re.compile(r"/api/(model|dataset)s/([^/]+/[^/]+)/(revision|tree)/([^/]+)")
_FILE = re.compile(r"/(datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)")
_LARGE = (".safetensors", ".gguf", ".parquet")
"""Files that lie in the large-file storage, behind a redirect."""


@dataclass
class Commit:
    files: dict[str, bytes]
    card: dict[str, object] | None = None

    @property
    def sha(self) -> str:
        return hashlib.sha1(repr(sorted(self.files.items())).encode()).hexdigest()


@dataclass
class StandIn:
    """`repositories`: (`model` or `dataset`, id) -> revision -> commit."""

    url: str
    repositories: dict[tuple[str, str], dict[str, Commit]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    """Method and path of each request, in order."""
    refuse: tuple[int, str] | None = None
    """Status and error code of every answer."""
    spoilt: set[str] = field(default_factory=set)
    """Files that are sent with other bytes than the list of files says."""
    cuts: list[int] = field(default_factory=list)
    """After how many bytes the next downloads from the large-file storage break off."""
    tears: list[int] = field(default_factory=list)
    """The same, with the connection reset instead of closed."""
    ranges: list[str] = field(default_factory=list)
    """What the downloads from there asked for, where not for all."""
    sizes: dict[str, int] = field(default_factory=dict)
    """Sizes that the list of files claims."""

    def add(
        self,
        kind: str,
        name: str,
        files: dict[str, bytes],
        card: dict[str, object] | None = None,
        revision: str = "main",
    ) -> str:
        """Let a revision point to a new commit; returns its hash, by which it stays known."""
        commit = Commit(files, card)
        self.repositories.setdefault((kind, name), {}).update(
            {revision: commit, commit.sha: commit}
        )
        return commit.sha

    def downloads(self) -> list[str]:
        return [line for line in self.requests if "/resolve/" in line or "/large/" in line]


def _entry(path: str, content: bytes) -> dict[str, object]:
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    entry: dict[str, object] = {"type": "file", "path": path, "size": len(content), "oid": blob}
    if path.endswith(_LARGE):
        sha256 = hashlib.sha256(content).hexdigest()
        entry["lfs"] = {"oid": sha256, "size": len(content), "pointerSize": 130}
    return entry


@contextmanager
def stand_in() -> Iterator[StandIn]:
    """Serve on a free port of the loopback until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self.answer()

        def do_GET(self) -> None:
            self.answer()

        def answer(self) -> None:
            path = urlsplit(self.path).path
            hub.requests.append(f"{self.command} {path}")
            if hub.refuse and (hub.refuse[1] != "GatedRepo" or "/resolve/" in path):
                self.fail(*hub.refuse)
            elif match := _API.match(path):
                self.about(match[1], match[2], match[3], unquote(match[4]))
            elif match := _FILE.match(path):
                kind = "dataset" if match[1] else "model"
                self.resolve(kind, match[2], unquote(match[3]), unquote(match[4]))
            elif path.startswith("/large/"):
                _, _, kind, owner, name, sha, file = path.split("/", 6)
                self.large(hub.repositories[kind, f"{owner}/{name}"][sha], unquote(file))
            else:
                self.fail(404, "EntryNotFound")

        def about(self, kind: str, name: str, what: str, revision: str) -> None:
            revisions = hub.repositories.get((kind, name))
            if revisions is None:
                self.fail(404, "RepoNotFound")
            elif revision not in revisions:
                self.fail(404, "RevisionNotFound")
            elif what == "revision":
                commit = revisions[revision]
                self.json({"id": name, "sha": commit.sha, "cardData": commit.card, "tags": []})
            else:
                files = revisions[revision].files
                entries = [_entry(path, content) for path, content in files.items()]
                for entry in entries:
                    entry["size"] = hub.sizes.get(str(entry["path"]), entry["size"])
                self.json(entries)

        def resolve(self, kind: str, name: str, revision: str, file: str) -> None:
            commit = hub.repositories[kind, name][revision]
            content = commit.files[file]
            entry = _entry(file, content)
            headers = {"X-Repo-Commit": commit.sha, "ETag": f'"{entry["oid"]}"'}
            if not file.endswith(_LARGE):
                self.body(200, hub_bytes(file, content), headers)
                return
            headers["X-Linked-ETag"] = f'"{hashlib.sha256(content).hexdigest()}"'
            headers["X-Linked-Size"] = str(len(content))
            # Another name of the same host, which is how the client tells a storage from the hub.
            storage = hub.url.replace("127.0.0.1", "localhost")
            headers["Location"] = f"{storage}/large/{kind}/{name}/{commit.sha}/{file}"
            self.body(302, b"", headers)

        def large(self, commit: Commit, file: str) -> None:
            content = hub_bytes(file, commit.files[file])
            asked = self.headers.get("Range")
            headers = {"ETag": '"storage"'}
            status, start = 200, 0
            if asked:
                hub.ranges.append(asked)
                start = int(asked.removeprefix("bytes=").partition("-")[0])
                status = 206
                headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            cut = hub.cuts.pop(0) if hub.cuts else None
            torn = hub.tears.pop(0) if hub.tears else None
            self.body(status, content[start:], headers, cut if torn is None else torn)
            if torn is not None:
                # To close at once, without lingering, sends a reset.
                linger = struct.pack("ii", 1, 0)
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                os.close(self.connection.detach())

        def body(
            self, status: int, content: bytes, headers: dict[str, str], cut: int | None = None
        ) -> None:
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content[:cut])
            self.close_connection = cut is not None

        def json(self, value: object) -> None:
            self.body(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

        def fail(self, status: int, code: str) -> None:
            self.body(status, b"", {"X-Error-Code": code, "X-Error-Message": code})

    def hub_bytes(file: str, content: bytes) -> bytes:
        return bytes(255 - byte for byte in content) if file in hub.spoilt else content

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub = StandIn(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
