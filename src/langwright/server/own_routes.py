"""What no other dialect has: tokens, templates, the glass box, and how the server is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field
from starlette.requests import Request as Call
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from langwright.errors import Unsupported
from langwright.providers import Model
from langwright.server.openai_routes import DIALECT
from langwright.server.service import Service, guarded
from langwright.wire.body import Body, parse
from langwright.wire.openai.chat import Message, Tool


class TokenizeBody(Body):
    """`content` (llama.cpp's name) or `prompt` (vLLM's)."""

    model: str | None = None
    content: str | None = None
    prompt: str | None = None
    add_special: bool | None = None
    add_special_tokens: bool | None = None
    parse_special: Literal[False] | None = None
    with_pieces: bool | None = None


class DetokenizeBody(Body):
    model: str | None = None
    tokens: list[Annotated[int, Field(ge=0, lt=2**31)]]


class TemplateBody(Body):
    model: str | None = None
    messages: list[Message] = Field(min_length=1)
    tools: list[Tool] | None = None
    add_generation_prompt: bool = True


class InspectBody(Body):
    """See `InspectOptions`."""

    model: str | None = None
    text: str
    k: Annotated[int, Field(ge=1, le=100)] = 5
    token: str | None = None
    id: int | None = None
    without: list[str] | None = None
    scan: Literal["heads", "layers"] | None = None
    query: str | int | None = None
    keys: list[str | int] | None = None
    attention: bool = False
    layer: int | None = None
    head: int | None = None


def routes(service: Service) -> Iterator[Route]:
    lenient = service.settings.lenient

    async def tokenize(call: Call) -> Response:
        body, unheeded = parse(await call.body(), TokenizeBody, lenient=lenient)
        text = body.content if body.content is not None else body.prompt or ""
        special = bool(body.add_special or body.add_special_tokens)

        def work(model: Model) -> list[int]:
            ids = model.backend.tokenize(text)
            start = model.bundle.start_id if special else None
            return ids if start is None else [start, *ids]

        ids, piece, headers = await service.compute(body.model, work, unheeded)
        tokens: list[Any] = list(ids)
        if body.with_pieces:
            tokens = [{"id": one, "piece": _piece(piece(one))} for one in ids]
        told = {"tokens": tokens, "count": len(ids), "max_model_len": service.window_of(body.model)}
        return JSONResponse(told, headers=headers)

    async def detokenize(call: Call) -> Response:
        body, unheeded = parse(await call.body(), DetokenizeBody, lenient=lenient)

        def work(model: Model) -> str:
            if any(one >= model.tokenizer.vocab_size for one in body.tokens):
                raise Unsupported(
                    f"'{model.name}' has {model.tokenizer.vocab_size} tokens.",
                    remedy="Give ids of its own.",
                )
            return model.tokenizer.decode(body.tokens)

        text, _, headers = await service.compute(body.model, work, unheeded)
        return JSONResponse({"content": text, "prompt": text}, headers=headers)

    async def template(call: Call) -> Response:
        body, unheeded = parse(await call.body(), TemplateBody, lenient=lenient)
        messages = [one.plain(turn) for turn, one in enumerate(body.messages)]
        tools = [one.plain() for one in body.tools] if body.tools else None

        def work(model: Model) -> tuple[str, list[int]]:
            if model.template is None:
                raise Unsupported(
                    f"'{model.name}' has no chat template.", remedy="Use a model for chat."
                )
            how = {"tools": tools, "add_generation_prompt": body.add_generation_prompt}
            return model.template.render(messages, **how), model.template.encode(messages, **how)  # type: ignore[arg-type]

        (text, ids), piece, headers = await service.compute(body.model, work, unheeded)
        pieces = [_piece(piece(one)) for one in ids]
        told = {"prompt": text, "token_ids": ids, "pieces": pieces}
        return JSONResponse(told, headers=headers)

    async def inspect(call: Call) -> Response:
        body, unheeded = parse(await call.body(), InspectBody, lenient=lenient)
        looked = set(InspectBody.model_fields) - {"model", "text"}
        given = body.model_dump(include=looked, exclude_none=True)

        def work(model: Model) -> dict[str, Any]:
            return {"model": model.name} | model.inspect(body.text, **given).to_json()

        found, _, headers = await service.compute(body.model, work, unheeded)
        return JSONResponse(found, headers=headers)

    async def tokenizer_info(call: Call) -> Response:
        """What lm-eval asks before it sends ids."""

        def work(model: Model) -> dict[str, Any]:
            ends = [_piece(model.tokenizer.token_bytes(one)) for one in model.bundle.end_ids]
            template = model.template.source if model.template else None
            return {"eos_token": sorted(ends)[0], "bos_token": None, "chat_template": template}

        found, _, headers = await service.compute(call.query_params.get("model"), work)
        return JSONResponse(found, headers=headers)

    async def health(call: Call) -> Response:
        return JSONResponse({"status": "ok"})

    async def ready(call: Call) -> Response:
        if service.draining:
            return JSONResponse({"status": "draining"}, 503)
        return JSONResponse({"status": "ready"})

    async def metrics(call: Call) -> Response:
        return Response(service.figures(), media_type="text/plain; version=0.0.4; charset=utf-8")

    for path, route, method in (
        ("/tokenize", tokenize, "POST"),
        ("/detokenize", detokenize, "POST"),
        ("/apply-template", template, "POST"),
        ("/inspect", inspect, "POST"),
        ("/tokenizer_info", tokenizer_info, "GET"),
        ("/health", health, "GET"),
        ("/ready", ready, "GET"),
        ("/metrics", metrics, "GET"),
    ):
        yield Route(path, guarded(DIALECT, route), methods=[method])


def _piece(raw: bytes) -> Any:
    """As llama.cpp tells it: text, or bytes where they are none."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return list(raw)
