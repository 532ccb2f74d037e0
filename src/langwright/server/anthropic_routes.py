"""Anthropic's dialect over HTTP."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from starlette.requests import Request as Call
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from langwright.server.service import UNHEEDED, Dialect, Service, guarded
from langwright.wire.anthropic import messages
from langwright.wire.anthropic.errors import error_json
from langwright.wire.anthropic.models import model_json, models_json
from langwright.wire.anthropic.reply import PING, MessagesReply
from langwright.wire.body import BadBody

DIALECT = Dialect(error_json, PING)


def routes(service: Service) -> Iterator[Route]:
    lenient = service.settings.lenient

    async def create(call: Call) -> Response:
        ask = messages.read(await call.body(), lenient=lenient)
        return await service.answer(call, ask, MessagesReply, DIALECT)

    async def count(call: Call) -> Response:
        ask = messages.read_count(await call.body(), lenient=lenient)
        tokens, headers = await service.count(ask)
        return JSONResponse(messages.count_json(tokens), headers=headers)

    for path, route in (("/v1/messages", create), ("/v1/messages/count_tokens", count)):
        yield Route(path, guarded(DIALECT, route), methods=["POST"])


def is_meant(call: Call) -> bool:
    """Whether a call of `/v1/models`, which OpenAI has too, is Anthropic's."""
    return "anthropic-version" in call.headers


async def models(call: Call, service: Service) -> Response:
    """The list, a page of it at a time."""
    offers = service.catalogue.offers().values()
    told = [
        model_json(one.name, created=one.created, window=service.window(one.base)) for one in offers
    ]
    given, dropped = dict(call.query_params), list[str]()
    while True:
        try:
            page = _page(told, given)
        except BadBody as error:
            if not service.settings.lenient or error.param is None:
                raise
            dropped.append(error.param)
            del given[error.param]
        else:
            return JSONResponse(page, headers={UNHEEDED: ", ".join(dropped)} if dropped else {})


def _page(told: Sequence[dict[str, Any]], given: Mapping[str, str]) -> dict[str, Any]:
    limit = given.get("limit", "20")
    if not limit.isascii() or not limit.isdigit():
        raise BadBody("limit: it must be a number.", "limit")
    return models_json(
        told, limit=int(limit[:9]), after_id=given.get("after_id"), before_id=given.get("before_id")
    )


async def model(call: Call, service: Service) -> Response:
    offer, headers = service.offer(call.path_params["name"])
    told = model_json(offer.name, created=offer.created, window=service.window(offer.base))
    return JSONResponse(told, headers=headers)
