"""The application: all routes behind the gate."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request as Call
from starlette.responses import Response

from langwright.server import (
    anthropic_routes,
    gemini_routes,
    ollama_routes,
    openai_routes,
    openapi,
    own_routes,
    page_routes,
)
from langwright.server.gate import Gate
from langwright.server.keys import Keys
from langwright.server.service import Dialect, Service
from langwright.wire.failure import Failure, FailureKind, Refused

SWEEP_S = 1.0
ROOMS = (
    anthropic_routes,
    openai_routes,
    gemini_routes,
    ollama_routes,
    own_routes,
    openapi,
    page_routes,
)

DIALECTS = {
    "/v1/messages": anthropic_routes.DIALECT,
    "/v1beta": gemini_routes.DIALECT,
    "/api/": ollama_routes.DIALECT,
    "": openai_routes.DIALECT,
}
"""By the beginning of the path; the first that fits."""


def application(
    service: Service, *, beside: Callable[[], Awaitable[None]] | None = None
) -> Starlette:
    """`beside` runs as long as the application does."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(_sweep(service))]
        if beside is not None:
            tasks.append(asyncio.ensure_future(beside()))
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            for task in tasks:
                with suppress(asyncio.CancelledError):
                    await task
            service.shelf.close()

    async def unknown(call: Call, error: Exception) -> Response:
        """A path or a method that is not there."""
        assert isinstance(error, HTTPException)
        kind: FailureKind = "not_found" if error.status_code == 404 else "invalid"
        said = f"There is no {call.method} {call.scope['path'][:200]}."
        answer = _dialect(call).failed(Refused(Failure(kind, said)), call)
        answer.status_code = error.status_code
        answer.headers.update(error.headers or {})  # which methods there are
        return answer

    async def refused(call: Call, error: Exception) -> Response:
        return _dialect(call).failed(error, call)

    def counts(status: int) -> None:
        service.metrics.failed.labels(str(status)).inc()

    gate = Middleware(
        Gate,
        settings=service.settings,
        keys=Keys(service.catalogue.store.home),
        dialects=DIALECTS,
        failed=counts,
    )
    return Starlette(
        routes=[route for room in ROOMS for route in room.routes(service)],
        middleware=[gate],
        exception_handlers={HTTPException: unknown, Refused: refused},
        lifespan=lifespan,
    )


def _dialect(call: Call) -> Dialect:
    return next(one for start, one in DIALECTS.items() if call.scope["path"].startswith(start))


async def _sweep(service: Service) -> None:
    while True:
        await asyncio.sleep(SWEEP_S)
        service.shelf.sweep()
