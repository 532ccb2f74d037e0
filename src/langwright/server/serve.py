"""`langwright serve`: models over HTTP."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import uvicorn

from langwright.errors import BadSettings
from langwright.progress import say
from langwright.server.app import application
from langwright.server.catalogue import Catalogue
from langwright.server.follow import follow
from langwright.server.gate import LOOPBACK
from langwright.server.keys import Keys
from langwright.server.service import Service
from langwright.server.settings import ServeSettings
from langwright.store import Store

DRAIN_S = 30
"""So long those who are answered are waited for at the end."""


def serve(
    models: Sequence[str] = (),
    *,
    store: Store | None = None,
    ready: Callable[[str], None] = lambda url: say(f"Serving at {url}"),
    **settings: Any,
) -> None:
    """Serve `models`, or where none is named all of the store's, until Ctrl-C; settings are those
    of `ServeSettings`. `ready` is told the address once calls are taken.

    Raises `NotFound` for an unknown model; `BadSettings` for another host than this machine's own
    without a key, and for a port that is taken.
    """
    store = store or Store()
    how = ServeSettings.build(settings)
    if how.host not in LOOPBACK and not Keys(store.home).all():
        raise BadSettings(
            f"At {how.host} others can reach the server, and it has no keys.",
            remedy="Make one first: `langwright keys --add NAME`. Or leave --host out.",
        )
    service = Service(Catalogue(models, how, store), how)
    listening = _listen(how)
    host = f"[{how.host}]" if ":" in how.host else how.host
    url = f"http://{host}:{listening.getsockname()[1]}"
    config = uvicorn.Config(
        application(service, beside=partial(follow, service) if how.follow else None),
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=DRAIN_S,
        server_header=False,
    )
    _Server(config, service, lambda: ready(url)).run(sockets=[listening])


class _Server(uvicorn.Server):
    """Says when it is ready, and that it drains."""

    def __init__(self, config: uvicorn.Config, service: Service, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._service, self._ready = service, ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started:
            self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._service.draining = True
        await super().shutdown(sockets=sockets)


def _listen(how: ServeSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in how.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((how.host, how.port))
        listening.listen(2048)
    except OSError as error:
        listening.close()
        raise BadSettings(
            f"{how.host}:{how.port} cannot be listened on: {error.strerror}.",
            remedy="Choose another --port, or leave it out for a free one.",
        ) from None
    return listening
