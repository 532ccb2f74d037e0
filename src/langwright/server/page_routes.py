"""The page to chat: files that speak to this server alone."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files

from starlette.exceptions import HTTPException
from starlette.requests import Request as Call
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from langwright.server.service import Service
from langwright.wire.ollama.models import RUNNING

MEDIA_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
HEADERS = {
    "content-security-policy": "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "connect-src 'self'",
            "img-src 'self' data:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}


def routes(_: Service) -> Iterator[Route]:
    """`/` is the page to browsers, and Ollama's sign of life to its clients."""
    found = {one.name: one.read_bytes() for one in (files(__package__) / "page").iterdir()}

    async def home(call: Call) -> Response:
        if "text/html" in call.headers.get("accept", ""):
            return _answer("index.html", found["index.html"])
        return PlainTextResponse(RUNNING, headers={"vary": "accept"})

    async def part(call: Call) -> Response:
        name = call.path_params["name"]
        if name not in found:
            raise HTTPException(404)
        return _answer(name, found[name])

    yield Route("/", home)
    yield Route("/page/{name}", part)


def _answer(name: str, content: bytes) -> Response:
    kind = MEDIA_TYPES["." + name.rpartition(".")[2]]
    return Response(content, media_type=kind, headers=HEADERS | {"vary": "accept"})
