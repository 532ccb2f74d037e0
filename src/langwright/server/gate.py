"""Who may come in: hosts, pages of other sites, keys, and how much they may bring."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request as Call
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from langwright.server.keys import Keys, scopes_in
from langwright.server.service import Dialect
from langwright.server.settings import ServeSettings
from langwright.wire.failure import Failure, Refused

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_HOST = re.compile(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?")
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_PUBLIC = ("/", "/health", "/ready", "/openapi.json", "/page/")
"""What needs no key: it tells nothing of models."""
_ADMIN = frozenset({"/api/pull", "/api/delete", "/api/copy", "/api/create", "/api/push"})


def scope_of(path: str) -> str | None:
    """The scope that a path asks for; None: none."""
    if path in _PUBLIC or path.startswith(_PUBLIC[-1]):
        return None
    if path in _ADMIN:
        return "admin"
    if path == "/metrics":
        return "metrics"
    return "inspect" if path == "/inspect" else "use"


class Gate:
    """Around the whole application. `dialects` says by the beginning of a path how errors are
    told."""

    def __init__(
        self,
        app: ASGIApp,
        settings: ServeSettings,
        keys: Keys,
        dialects: Mapping[str, Dialect],
        failed: Callable[[int], None],
    ) -> None:
        self._app, self._settings, self._keys = app, settings, keys
        self._dialects, self._failed = dialects, failed
        self._local = settings.host in LOOPBACK

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        call = Call(scope, receive)
        given = call.headers.get("x-request-id", "")
        number = given if _ID.fullmatch(given) else secrets.token_hex(8)
        origin = call.headers.get("origin")
        allowed = origin if origin is not None and self._knows(origin, call.headers) else None
        scope.setdefault("state", {})["request_id"] = number

        async def tells(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = number
                headers["request-id"] = number  # Anthropic's name for it
                if allowed is not None:
                    headers["access-control-allow-origin"] = allowed
                    headers["vary"] = "origin"
                if message["status"] >= 400:
                    self._failed(message["status"])
            await send(message)

        try:
            self._check_place(call, origin, allowed)
            if call.method == "OPTIONS" and allowed is not None:
                await _preflight(scope, receive, tells)
                return
            self._check_key(call)
            limited = self._limited(call, receive)
        except Refused as error:
            await self._dialect(scope["path"]).failed(error, call)(scope, receive, tells)
            return
        await self._app(scope, limited, tells)

    def _dialect(self, path: str) -> Dialect:
        return next(one for start, one in self._dialects.items() if path.startswith(start))

    def _knows(self, origin: str, headers: Headers) -> bool:
        host = headers.get("host", "")
        return origin in self._settings.origins or origin in (f"http://{host}", f"https://{host}")

    def _check_place(self, call: Call, origin: str | None, allowed: str | None) -> None:
        """A page of another site must not speak to this server, neither as itself nor (by a name
        that it has pointed here) as a page of this one."""
        said = call.headers.get("host", "")
        found = _HOST.fullmatch(said)
        if said and found is None:  # some would read a path out of it
            raise _refused("invalid", "The header Host is no host with a port.")
        host = found[1].strip("[]").lower() if found else ""  # HTTP/1.0 knows none
        if self._local and host not in LOOPBACK:
            raise _refused("forbidden", f"This server is not called '{host[:100]}'.")
        if origin is not None and allowed is None:
            raise _refused("forbidden", f"Pages of {origin[:100]} may not call this server.")

    def _check_key(self, call: Call) -> None:
        needed = scope_of(call.scope["path"])
        if needed is None:
            return
        kept = self._keys.all()
        if not kept and self._local:
            return
        secret = _secret(call)
        scopes = None if secret is None else scopes_in(kept, secret)
        if scopes is None:
            what = "This key is not known." if secret else "A key is needed."
            raise _refused("unauthorized", what)
        if needed not in scopes and "admin" not in scopes:
            raise _refused("forbidden", f"This key is not for '{needed}'.")

    def _limited(self, call: Call, receive: Receive) -> Receive:
        """`receive` that takes no more than a body may have."""
        most = int(self._settings.max_body_mb * 2**20)
        said = call.headers.get("content-length")
        if said is not None and said.isdigit() and int(said) > most:
            raise _too_large(most)
        taken = 0

        async def receives() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > most:
                raise _too_large(most)
            return message

        return receives


def _secret(call: Call) -> str | None:
    """From wherever a dialect puts it."""
    kind, _, token = call.headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer" and token:
        return token.strip()
    for name in ("x-api-key", "x-goog-api-key"):
        if call.headers.get(name):
            return call.headers[name]
    return call.query_params.get("key") if call.scope["path"].startswith("/v1beta") else None


async def _preflight(scope: Scope, receive: Receive, send: Send) -> None:
    headers = {
        "access-control-allow-methods": "GET, POST, DELETE, OPTIONS",
        "access-control-allow-headers": "*, authorization",
        "access-control-max-age": "600",
    }
    await Response(status_code=204, headers=headers)(scope, receive, send)


def _refused(kind: Any, message: str) -> Refused:
    code = "invalid_api_key" if kind == "unauthorized" else None
    return Refused(Failure(kind, message, code=code))


def _too_large(most: int) -> Refused:
    return Refused(Failure("too_large", f"A body may have {most:,} bytes.", code="body_too_large"))
