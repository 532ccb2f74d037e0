"""OpenAI's dialect over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from starlette.requests import Request as Call
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from langwright.server import anthropic_routes, gemini_routes
from langwright.server.catalogue import Offer
from langwright.server.service import Dialect, Service, guarded
from langwright.wire import sse
from langwright.wire.openai import chat, completions, embeddings, responses
from langwright.wire.openai.chat_reply import ChatReply
from langwright.wire.openai.completions import CompletionReply
from langwright.wire.openai.errors import error_json
from langwright.wire.openai.responses_reply import ResponsesReply

DIALECT = Dialect(error_json, sse.KEEP_ALIVE)


def routes(service: Service) -> Iterator[Route]:
    """Each also without `/v1`, as llama.cpp's server has them."""
    lenient = service.settings.lenient

    async def chats(call: Call) -> Response:
        ask = chat.read(await call.body(), lenient=lenient)
        return await service.answer(call, ask, ChatReply, DIALECT)

    async def completes(call: Call) -> Response:
        ask = completions.read(await call.body(), lenient=lenient)
        return await service.answer(call, ask, CompletionReply, DIALECT)

    async def embeds(call: Call) -> Response:
        ask = embeddings.read(await call.body(), lenient=lenient)
        vectors, tokens, name, headers = await service.embed(ask)
        return JSONResponse(embeddings.reply(ask, name, vectors, tokens), headers=headers)

    async def responds(call: Call) -> Response:
        ask = responses.read(await call.body(), lenient=lenient)
        return await service.answer(call, ask, ResponsesReply, DIALECT)

    async def models(call: Call) -> Response:
        for other in (anthropic_routes, gemini_routes):
            if other.is_meant(call):
                return await guarded(other.DIALECT, partial(other.models, service=service))(call)
        data = [model_json(one, service) for one in service.catalogue.offers().values()]
        return JSONResponse({"object": "list", "data": data})

    async def model(call: Call) -> Response:
        for other in (anthropic_routes, gemini_routes):
            if other.is_meant(call):
                return await guarded(other.DIALECT, partial(other.model, service=service))(call)
        offer, headers = service.offer(call.path_params["name"])
        return JSONResponse(model_json(offer, service), headers=headers)

    for path, route, method in (
        ("/chat/completions", chats, "POST"),
        ("/completions", completes, "POST"),
        ("/embeddings", embeds, "POST"),
        ("/responses", responds, "POST"),
        ("/models", models, "GET"),
        ("/models/{name:path}", model, "GET"),
    ):
        for prefix in ("/v1", ""):
            yield Route(prefix + path, guarded(DIALECT, route), methods=[method])


def model_json(offer: Offer, service: Service) -> dict[str, Any]:
    """With vLLM's `max_model_len` where the model is loaded, and what it was made from."""
    return {
        "id": offer.name,
        "object": "model",
        "created": offer.created,
        "owned_by": "langwright",
        "max_model_len": service.window(offer.base),
        "lineage": offer.lineage,
    }
