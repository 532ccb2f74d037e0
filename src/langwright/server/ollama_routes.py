"""Ollama's dialect over HTTP."""

from __future__ import annotations

import asyncio
import math
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Any

from starlette.requests import Request as Call
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

import langwright
from langwright.errors import LangwrightError, Unsupported
from langwright.progress import watched
from langwright.server.catalogue import Offer
from langwright.server.service import Dialect, Service, guarded
from langwright.server.shelf import Loaded
from langwright.store import pull
from langwright.wire.failure import Failure, Refused, failure_of
from langwright.wire.ollama import chat, embed, generate, models
from langwright.wire.ollama.errors import error_json
from langwright.wire.ollama.options import OllamaAsk
from langwright.wire.ollama.reply import MEDIA_TYPE, ChatReply, GenerateReply, OllamaReply
from langwright.wire.reply import Envelope
from langwright.wire.sse import dumps

DIALECT = Dialect(error_json)
PULLED_EVERY_S = 0.25
"""So often a line says how much of a model has come."""


def routes(service: Service) -> Iterator[Route]:
    lenient = service.settings.lenient

    async def answers(call: Call, ask: OllamaAsk, reply: type[OllamaReply]) -> Response:
        offer, headers = service.offer(ask.model, ask.unheeded)
        if not ask.requests:
            return await _load(service, ask, offer, reply, headers)
        begun = time.monotonic_ns()
        async with service.shelf.use(offer.base) as loaded:
            took = time.monotonic_ns() - begun
            _check_window(ask, loaded)
            if ask.keep_alive is not None:
                service.shelf.keep(offer.base, _span(ask.keep_alive))
        made = partial(reply, load_ns=took)
        return await service.answer(call, ask, made, DIALECT, feeds=True)

    async def generates(call: Call) -> Response:
        ask = generate.read(await call.body(), lenient=lenient)
        return await answers(call, ask, GenerateReply)

    async def chats(call: Call) -> Response:
        return await answers(call, chat.read(await call.body(), lenient=lenient), ChatReply)

    async def embedded(ask: embed.OllamaEmbedAsk) -> tuple[Any, int, str, dict[str, str]]:
        """Without texts the model is loaded, or let go."""
        found = await service.embed(ask)
        if ask.keep_alive is not None:
            service.shelf.keep(service.offer(ask.model)[0].base, _span(ask.keep_alive))
        return found

    async def embeds(call: Call) -> Response:
        ask = embed.read(await call.body(), lenient=lenient)
        begun = time.monotonic_ns()
        vectors, tokens, name, headers = await embedded(ask)
        took = time.monotonic_ns() - begun
        told = embed.embed_json(name, vectors, prompt_tokens=tokens, total_ns=took)
        return JSONResponse(told, headers=headers)

    async def embeds_one(call: Call) -> Response:
        ask = embed.read_older(await call.body(), lenient=lenient)
        vectors, _, _, headers = await embedded(ask)
        told = embed.embeddings_json(vectors[0] if vectors else [])
        return JSONResponse(told, headers=headers)

    async def tags(call: Call) -> Response:
        offers = service.catalogue.offers().values()
        return JSONResponse(models.tags_json([_described(one, service) for one in offers]))

    async def ps(call: Call) -> Response:
        offers = service.catalogue.offers()
        shown = []
        for one in service.shelf.loaded():
            if one.key in offers:
                left = None if one.keep_s is None else one.keep_s - time.monotonic() + one.used
                expires = None if left is None else time.time() + left
                shown.append((_described(offers[one.key], service), expires, one.gpu_bytes))
        return JSONResponse(models.ps_json(shown))

    async def show(call: Call) -> Response:
        named = models.read_named(await call.body(), lenient=lenient)
        offer, headers = service.offer(named.model, named.unheeded)
        async with service.shelf.use(offer.base) as loaded:
            described = _described(offer, service)
            try:
                template = loaded.model.template
            except Unsupported:  # an encoder's, or another program's
                template = None
            told = models.show_json(
                described,
                info=_info(loaded),
                template=template.source if template else "",
                licence=offer.lineage.get("licence") or "",
            )
        return JSONResponse(told, headers=headers)

    async def pulls(call: Call) -> Response:
        named = models.read_named(await call.body(), lenient=lenient)
        _refuse(named.unheeded, lenient)

        async def lines() -> AsyncIterator[bytes]:
            status = f"pulling {named.model}"
            yield models.progress(status)
            so_far: list[tuple[float, float | None]] = []
            with watched(lambda *done: so_far.append(done)):
                # A thread of its own, which goes on where the caller leaves.
                work = asyncio.to_thread(pull, named.model, store=service.catalogue.store)
                pulling = asyncio.ensure_future(work)
            ended = False
            try:
                while not ended:
                    ended = bool((await asyncio.wait({pulling}, timeout=PULLED_EVERY_S))[0])
                    if so_far:
                        done, total = so_far[-1]
                        so_far.clear()
                        yield models.progress(
                            status, completed=int(done), total=None if total is None else int(total)
                        )
                found = pulling.result()
            except LangwrightError as error:
                yield dumps(error_json(failure_of(error))) + b"\n"
                return
            yield models.progress("verifying sha256 digest", digest=found.digest, total=found.bytes)
            yield models.progress("success")

        if named.stream:
            return StreamingResponse(lines(), media_type=MEDIA_TYPE)
        await asyncio.to_thread(pull, named.model, store=service.catalogue.store)
        return JSONResponse({"status": "success"})

    async def delete(call: Call) -> Response:
        named = models.read_named(await call.body(), lenient=lenient)
        _refuse(named.unheeded, lenient)
        offer = service.named(named.model)
        service.shelf.unload(offer.base)
        await asyncio.to_thread(service.catalogue.store.remove, offer.name)
        return Response(status_code=200)

    async def copy(call: Call) -> Response:
        asked = models.read_copy(await call.body(), lenient=lenient)
        _refuse(asked.unheeded, lenient)
        _point(service, asked.source, asked.destination)
        return Response(status_code=200)

    async def create(call: Call) -> Response:
        asked = models.read_create(await call.body(), lenient=lenient)
        given = asked.body.model_dump(exclude_none=True, by_alias=True)
        beyond = sorted(set(given) - {"model", "name", "from", "stream"})
        _refuse((*asked.unheeded, *beyond), lenient)
        if not asked.body.origin:
            raise Unsupported(
                "A model is made here of another (`from`) alone.",
                remedy="`langwright pull file:PATH` brings a file.",
            )
        _point(service, asked.body.origin, asked.model)
        return JSONResponse({"status": "success"})

    async def version(call: Call) -> Response:
        return JSONResponse(models.version_json(langwright.__version__))

    for path, route, method in (
        ("/api/generate", generates, "POST"),
        ("/api/chat", chats, "POST"),
        ("/api/embed", embeds, "POST"),
        ("/api/embeddings", embeds_one, "POST"),
        ("/api/tags", tags, "GET"),
        ("/api/ps", ps, "GET"),
        ("/api/show", show, "POST"),
        ("/api/pull", pulls, "POST"),
        ("/api/delete", delete, "DELETE"),
        ("/api/copy", copy, "POST"),
        ("/api/create", create, "POST"),
        ("/api/version", version, "GET"),
    ):
        yield Route(path, guarded(DIALECT, route), methods=[method])


async def _load(
    service: Service,
    ask: OllamaAsk,
    offer: Offer,
    reply: Callable[..., OllamaReply],
    headers: dict[str, str],
) -> Response:
    """A call without a prompt loads the model, or lets it go."""
    if ask.keep_alive == 0 and not any(one.key == offer.base for one in service.shelf.loaded()):
        # Not loaded to be let go.
        envelope = Envelope(secrets.token_hex(12), int(time.time()), offer.name, lambda _: b"")
        return JSONResponse(reply(ask, envelope).loaded(unload=True), headers=headers)
    async with service.shelf.use(offer.base) as loaded:
        made = reply(ask, service.envelope(offer, loaded))
    if ask.keep_alive is not None:
        service.shelf.keep(offer.base, _span(ask.keep_alive))
    return JSONResponse(made.loaded(unload=ask.keep_alive == 0), headers=headers)


def _span(keep_alive: float) -> float | None:
    """None: for ever."""
    return None if math.isinf(keep_alive) else keep_alive


def _check_window(ask: OllamaAsk, loaded: Loaded) -> None:
    window = loaded.model.backend.capabilities().context_length
    if ask.num_ctx is not None and window is not None and ask.num_ctx > window:
        raise Refused(
            Failure("invalid", f"num_ctx is {ask.num_ctx}; the model reads {window}.", "num_ctx")
        )


def _described(offer: Offer, service: Service) -> models.Described:
    lineage = offer.lineage
    loaded = next((one for one in service.shelf.loaded() if one.key == offer.base), None)
    inside = None if loaded is None else loaded.about
    return models.Described(
        offer.name,
        lineage.get("digest", ""),
        lineage.get("bytes", 0),
        offer.created,
        family=inside["family"] if inside else "",
        parameters=inside["parameters"] if inside else "",
        quantization=inside["dtype"] if inside else "",
        window=service.window(offer.base),
        capabilities=("completion",) if loaded is None else _abilities(loaded),
    )


def _abilities(loaded: Loaded) -> tuple[str, ...]:
    """By Ollama's words."""
    can = loaded.model.backend.capabilities()
    words = {"completion": can.generate, "embedding": can.embed}
    words |= {"tools": can.tools, "thinking": can.think}
    return tuple(word for word, true in words.items() if true)


def _info(loaded: Loaded) -> dict[str, Any]:
    """The settings under GGUF's names."""
    about = loaded.about
    if about is None:
        return {}
    family = about["family"]
    return {
        "general.architecture": family,
        "general.parameter_count": about["count"],
        f"{family}.context_length": about["window"],
        f"{family}.embedding_length": about["width"],
        f"{family}.block_count": about["layers"],
    }


def _point(service: Service, source: str, name: str) -> None:
    store, name = service.catalogue.store, name.removesuffix(":latest")
    store.point(name, store.get(source.removesuffix(":latest")))
    service.shelf.unload(name)  # what it meant until now


def _refuse(unheeded: tuple[str, ...], lenient: bool) -> None:
    if unheeded and not lenient:
        message = f"'{unheeded[0]}' is not supported here."
        raise Refused(Failure("invalid", message, unheeded[0], "unsupported_parameter"))
