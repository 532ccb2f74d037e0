"""Gemini's dialect over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from starlette.requests import Request as Call
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from langwright.server.service import Dialect, Service, guarded
from langwright.wire.body import BadBody
from langwright.wire.failure import Failure, Refused
from langwright.wire.gemini import embed, generate
from langwright.wire.gemini.errors import error_json
from langwright.wire.gemini.models import model_json, models_json
from langwright.wire.gemini.reply import GeminiReply

DIALECT = Dialect(error_json)


def routes(service: Service) -> Iterator[Route]:
    lenient = service.settings.lenient

    async def act(call: Call) -> Response:
        """`models/NAME:METHOD`."""
        model, _, method = call.path_params["name"].rpartition(":")
        raw = await call.body()
        if method in ("generateContent", "streamGenerateContent"):
            stream = method == "streamGenerateContent"
            ask = generate.read(raw, model=model, stream=stream, lenient=lenient)
            array = stream and call.query_params.get("alt") != "sse"
            return await service.answer(call, ask, partial(GeminiReply, array=array), DIALECT)
        if method == "countTokens":
            tokens, headers = await service.count(
                generate.read_count(raw, model=model, lenient=lenient)
            )
            return JSONResponse(generate.count_json(tokens), headers=headers)
        if method == "embedContent":
            asked = embed.read(raw, model=model, lenient=lenient)
            vectors, _, _, headers = await service.embed(asked)
            return JSONResponse(embed.embed_json(vectors[0]), headers=headers)
        if method == "batchEmbedContents":
            asked = embed.read_batch(raw, model=model, lenient=lenient)
            vectors, _, _, headers = await service.embed(asked)
            return JSONResponse(embed.batch_json(vectors), headers=headers)
        raise Refused(Failure("not_found", f"There is no method '{method[:100]}'."))

    async def of_all(call: Call) -> Response:
        return await models(call, service)

    async def of_one(call: Call) -> Response:
        return await model(call, service)

    yield Route("/v1beta/models", guarded(DIALECT, of_all), methods=["GET"])
    yield Route("/v1beta/models/{name:path}", guarded(DIALECT, of_one), methods=["GET"])
    for version in ("v1beta", "v1"):
        yield Route(f"/{version}/models/{{name:path}}", guarded(DIALECT, act), methods=["POST"])


def is_meant(call: Call) -> bool:
    """Whether a call of `/v1/models`, which OpenAI has too, is Gemini's."""
    return "x-goog-api-client" in call.headers or "x-goog-api-key" in call.headers


async def models(call: Call, service: Service) -> Response:
    """The list, a page of it at a time."""
    told = [
        model_json(one.name, window=service.window(one.base))
        for one in service.catalogue.offers().values()
    ]
    size = call.query_params.get("pageSize")
    if size is not None and not size.lstrip("-").isdigit():
        raise BadBody("pageSize: it must be a number.", "pageSize")
    page = models_json(
        told,
        page_size=None if size is None else int(size[:9]),
        page_token=call.query_params.get("pageToken"),
    )
    return JSONResponse(page)


async def model(call: Call, service: Service) -> Response:
    offer, headers = service.offer(call.path_params["name"])
    told = model_json(offer.name, window=service.window(offer.base))
    return JSONResponse(told, headers=headers)
