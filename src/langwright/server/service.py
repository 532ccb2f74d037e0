"""What all dialects' routes share: a call in, an answer out."""

from __future__ import annotations

import logging
import secrets
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, replace
from typing import Any, TypeVar
from urllib.parse import quote

from starlette.requests import Request as Call
from starlette.responses import JSONResponse, Response

from langwright.backend import Event, Request
from langwright.errors import NotFound, Unsupported, suggest
from langwright.providers import Model
from langwright.providers.open import is_address
from langwright.server.catalogue import Catalogue, Offer
from langwright.server.metrics import Metrics, Watch
from langwright.server.settings import ServeSettings
from langwright.server.shelf import Loaded, Shelf, between_servers
from langwright.server.stream import EventStream, until_gone
from langwright.wire.ask import Ask, EmbedAsk
from langwright.wire.failure import Failure, Refused, failure_of
from langwright.wire.reply import Envelope, Reply

Found = TypeVar("Found")

log = logging.getLogger("langwright.server")

UNHEEDED = "x-langwright-unheeded"
"""The header that names what a lenient server did not honour."""


@dataclass(frozen=True)
class Dialect:
    """How errors are told; `keep_alive` is sent where nothing comes for long."""

    error_json: Callable[[Failure], dict[str, Any]]
    keep_alive: bytes = b""

    def failed(self, error: Exception, call: Call) -> Response:
        """The answer to a call that failed; what is no error of ours is logged."""
        failure = failure_of(error)
        if failure.kind == "internal":
            log.exception("The call failed.", exc_info=error)
        headers = {}
        if failure.retry_after is not None:
            headers["retry-after"] = str(failure.retry_after)
        told = self.error_json(failure)
        if "request_id" in told:  # Anthropic's says it in the body too
            told["request_id"] = call.state.request_id
        return JSONResponse(told, failure.status, headers)


class Service:
    """The models and what is known of the server; routes speak to it alone."""

    def __init__(self, catalogue: Catalogue, settings: ServeSettings) -> None:
        self.catalogue, self.settings = catalogue, settings
        self.metrics = Metrics()
        self.shelf = Shelf(catalogue.open, catalogue.bytes_of, settings, self.metrics)
        self.draining = False

    def offer(self, name: str | None, unheeded: Iterable[str] = ()) -> tuple[Offer, dict[str, str]]:
        """The model that a call means (None: the first), and the headers that tell what is not
        honoured. Raises what is refused."""
        named = list(unheeded)
        if named and not self.settings.lenient:
            message = f"'{named[0]}' is not supported here: this server ignores nothing in silence."
            raise Refused(Failure("invalid", message, named[0], "unsupported_parameter"))
        name = self._first() if name is None else name
        try:
            offer = self.named(name)
        except NotFound:
            known = self.catalogue.names()
            found = self.catalogue.find(known[0]) if self.settings.lenient and known else None
            if found is None:
                raise
            offer = found
            named.append("model")
        return offer, _unheeded(named)

    def named(self, name: str) -> Offer:
        """The model of that very name, also where the server is lenient."""
        offer = self.catalogue.find(name.removesuffix(":latest"))
        if offer is None:
            remedy = suggest(name[:120], self.catalogue.names())
            raise NotFound(f"There is no model '{name[:120]}'.", remedy=remedy)
        return offer

    async def answer(
        self,
        call: Call,
        ask: Ask,
        reply: Callable[[Ask, Envelope], Reply],
        dialect: Dialect,
        *,
        feeds: bool = False,
    ) -> Response:
        """Answer `ask`, at once or as a stream. `feeds`: an answer that is told at once is fed to
        the reply too as it comes, for the times. Raises what fails before the first byte."""
        offer, headers = self.offer(ask.model, ask.unheeded)
        watch = Watch(self.metrics, offer.name)
        async with AsyncExitStack() as stack:
            loaded = await stack.enter_async_context(self.shelf.use(offer.base))
            ask, headers = self._fitting(ask, offer, loaded, headers)
            made = reply(ask, self.envelope(offer, loaded))
            events = self._events(loaded, ask.requests, watch)
            await stack.enter_async_context(aclosing(events))
            if not ask.stream:
                found = await until_gone(call.receive, _all(events, made if feeds else None))
                if found is None:
                    return Response(status_code=499)
                return JSONResponse(made.whole(found), headers=headers)
            stream = EventStream(made, events, dialect.keep_alive, headers, self._failed)
            if await until_gone(call.receive, stream.start()) is None:
                return Response(status_code=499)
            stream.own(stack.pop_all())
            return stream

    def _failed(self, failure: Failure, error: Exception) -> None:
        """A stream broke off, whose status told of no failure."""
        self.metrics.failed.labels(str(failure.status)).inc()
        if failure.kind == "internal":
            log.exception("The answer failed.", exc_info=error)

    async def embed(self, ask: EmbedAsk) -> tuple[list[list[float]], int, str, dict[str, str]]:
        """Vectors, how many tokens were read, the model's exact name, and headers."""
        offer, headers = self.offer(ask.model, ask.unheeded)
        async with self.shelf.use(offer.base) as loaded:
            if not ask.texts:  # it is only to be loaded
                return [], 0, loaded.name, headers
            backend = loaded.model.backend

            def work() -> tuple[list[list[float]], int]:
                texts = [_text(one, loaded) for one in ask.texts]
                vectors = loaded.model.embed(texts, truncate=ask.truncate)
                can = backend.capabilities()
                longest = can.context_length or sys.maxsize
                if not can.tokenize:
                    return vectors, 0
                return vectors, sum(min(len(backend.tokenize(one)), longest) for one in texts)

            vectors, tokens = await loaded.bridge.call(work)
            return vectors, tokens, loaded.name, headers

    async def count(self, ask: Ask) -> tuple[int, dict[str, str]]:
        """How many tokens the prompt of a call has, and headers."""
        offer, headers = self.offer(ask.model, ask.unheeded)
        async with self.shelf.use(offer.base) as loaded:
            template = loaded.model.template
            if template is None:
                raise Unsupported(
                    f"'{loaded.name}' has no chat template.", remedy="Use a model for chat."
                )
            ask, headers = self._fitting(ask, offer, loaded, headers)
            said = ask.request
            assert said.messages is not None
            tools = None if said.tool_choice == "none" else said.tools
            how = {"tools": tools, "add_generation_prompt": True, "think": said.think}
            ids = await loaded.bridge.call(lambda: template.encode(said.messages, **how))  # type: ignore[arg-type]
            return len(ids), headers

    async def compute(
        self, name: str | None, work: Callable[[Model], Found], unheeded: Iterable[str] = ()
    ) -> tuple[Found, Callable[[int], bytes], dict[str, str]]:
        """What `work` gives of the model (None: the first), its tokens' bytes, and headers."""
        offer, headers = self.offer(name, unheeded)
        async with self.shelf.use(offer.base) as loaded:
            found = await loaded.bridge.call(lambda: work(loaded.model))
            return found, _pieces(loaded), headers

    def _first(self) -> str:
        names = self.catalogue.names()
        if len(names) != 1 and self.catalogue.is_whole_store:
            raise Refused(Failure("invalid", "The call names no model.", "model"))
        return names[0]

    def window(self, base: str) -> int | None:
        """How many tokens a loaded model reads."""
        for one in self.shelf.loaded():
            if one.key == base:
                return one.model.backend.capabilities().context_length
        return None

    def window_of(self, name: str | None) -> int | None:
        offer, _ = self.offer(name)
        return self.window(offer.base)

    def figures(self) -> bytes:
        """The metrics, in Prometheus' text."""
        self.metrics.running.clear()
        self.metrics.waiting.clear()
        for one in self.shelf.loaded():
            self.metrics.running.labels(one.key).set(one.bridge.running)
            self.metrics.waiting.labels(one.key).set(one.bridge.waiting)
        return self.metrics.text()

    async def _events(
        self, loaded: Loaded, requests: tuple[Request, ...], watch: Watch
    ) -> AsyncGenerator[Event]:
        try:
            with between_servers(loaded.key):
                async with aclosing(loaded.bridge.events(requests, watch.turn)) as events:
                    async for event in events:
                        watch.saw(event)
                        if event.error is not None and is_address(loaded.key):
                            raise Refused(Failure("unavailable", event.error))
                        if event.error is not None:
                            raise Unsupported(event.error, remedy="Ask for something simpler.")
                        yield event
        finally:
            watch.over()

    def _fitting(
        self, ask: Ask, offer: Offer, loaded: Loaded, headers: dict[str, str]
    ) -> tuple[Ask, dict[str, str]]:
        """The call as the model can be asked: by its adapter, within the server's deadline; and in
        lenient mode without tools that it has no words for."""
        can, dropped = loaded.model.backend.capabilities(), dict[str, Any]()
        if self.settings.lenient:
            if not can.tools and any(one.tools for one in ask.requests):
                dropped |= {"tools": None, "tool_choice": "auto"}
            if ask.think is not None and not can.think:
                dropped["think"] = None
            if dropped:
                headers = _unheeded([*headers.get(UNHEEDED, "").split(", "), *dropped])
        # A dialect's own default is no wish of the caller's: another program may do without.
        without_top_k = ask.assumes_top_k and is_address(loaded.key)
        requests = tuple(
            replace(
                one,
                **{"think": ask.think, **dropped},
                sampling=replace(one.sampling, top_k=0) if without_top_k else one.sampling,
                adapter=offer.adapter,
                deadline_s=min(
                    one.deadline_s or self.settings.deadline_s, self.settings.deadline_s
                ),
            )
            for one in ask.requests
        )
        return replace(ask, requests=requests), headers

    def envelope(self, offer: Offer, loaded: Loaded) -> Envelope:
        model = loaded.name if offer.adapter is None else f"{loaded.name}+{offer.adapter}"
        return Envelope(
            secrets.token_hex(12), int(time.time()), model, _pieces(loaded), loaded.fingerprint
        )


def _unheeded(names: Iterable[str]) -> dict[str, str]:
    """The header that names them: callers chose these names, so what no header may hold is written
    as in an address, and no more than some are named."""
    told = [quote(name[:80], safe=".-_% ") for name in dict.fromkeys(names) if name]
    more = [f"and {len(told) - 32} more"] if len(told) > 32 else []
    return {UNHEEDED: ", ".join(told[:32] + more)} if told else {}


def guarded(
    dialect: Dialect, route: Callable[[Call], Awaitable[Response]]
) -> Callable[[Call], Awaitable[Response]]:
    """The route, its errors told in the dialect."""

    async def answers(call: Call) -> Response:
        try:
            return await route(call)
        except Exception as error:
            return dialect.failed(error, call)

    return answers


def _text(text: str | tuple[int, ...], loaded: Loaded) -> str:
    if isinstance(text, str):
        return text
    decode = getattr(loaded.model.backend, "decode", None)
    if decode is None:
        raise Unsupported(f"'{loaded.name}' takes texts, and no ids.", remedy="Send the texts.")
    return str(decode(text))


def _pieces(loaded: Loaded) -> Callable[[int], bytes]:
    try:
        return loaded.model.tokenizer.token_bytes
    except Unsupported:  # another program's model: only ids can be told
        return lambda token: f"<{token}>".encode()


async def _all(events: AsyncIterator[Event], fed: Reply | None) -> list[Event]:
    """All events, or none where they were fed to the reply."""
    found = []
    async for event in events:
        if fed is None:
            found.append(event)
        else:
            fed.feed(event)
    return found
