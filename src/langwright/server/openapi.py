"""The server's description in OpenAPI 3.1, made from what its codecs read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic.json_schema import models_json_schema
from starlette.requests import Request as Call
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

import langwright
from langwright.server import own_routes
from langwright.server.service import Service
from langwright.wire.anthropic.messages import CountBody, MessagesBody
from langwright.wire.body import Body
from langwright.wire.gemini.generate import GenerateBody as GeminiBody
from langwright.wire.ollama.chat import ChatBody as OllamaChatBody
from langwright.wire.ollama.embed import EmbedBody
from langwright.wire.ollama.generate import GenerateBody
from langwright.wire.ollama.models import NameBody
from langwright.wire.openai.chat import ChatBody
from langwright.wire.openai.completions import CompletionBody
from langwright.wire.openai.embeddings import EmbeddingBody
from langwright.wire.openai.responses import ResponsesBody

POSTS: dict[str, tuple[type[Body], str]] = {
    "/v1/chat/completions": (ChatBody, "Answer a conversation (OpenAI)."),
    "/v1/completions": (CompletionBody, "Continue raw text (OpenAI)."),
    "/v1/embeddings": (EmbeddingBody, "Vectors of texts (OpenAI)."),
    "/v1/responses": (ResponsesBody, "Answer a conversation (OpenAI's responses)."),
    "/v1/messages": (MessagesBody, "Answer a conversation (Anthropic)."),
    "/v1/messages/count_tokens": (CountBody, "How long a prompt is (Anthropic)."),
    "/v1beta/models/{name}": (GeminiBody, "Answer a conversation (Gemini; NAME:METHOD)."),
    "/api/chat": (OllamaChatBody, "Answer a conversation (Ollama)."),
    "/api/generate": (GenerateBody, "Answer a prompt (Ollama)."),
    "/api/embed": (EmbedBody, "Vectors of texts (Ollama)."),
    "/api/show": (NameBody, "About a model (Ollama)."),
    "/tokenize": (own_routes.TokenizeBody, "The tokens of a text."),
    "/detokenize": (own_routes.DetokenizeBody, "The text of tokens."),
    "/apply-template": (own_routes.TemplateBody, "What a model reads of a conversation."),
    "/inspect": (own_routes.InspectBody, "Look into a model while it reads a text."),
}
GETS = {
    "/v1/models": "All models, with what they were made from.",
    "/v1beta/models": "All models (Gemini).",
    "/api/tags": "All models (Ollama).",
    "/api/ps": "Models in memory (Ollama).",
    "/api/version": "The version (Ollama).",
    "/health": "Whether the server lives.",
    "/ready": "Whether it takes calls.",
    "/metrics": "Figures for Prometheus.",
}
_FAILURES = {
    "400": "The call is wrong.",
    "401": "A key is needed.",
    "403": "Not for this key, or not from there.",
    "404": "There is no such model.",
    "413": "The body is too large.",
    "429": "Too many calls wait.",
}
_KEYS: dict[str, Any] = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "header": {"type": "apiKey", "in": "header", "name": "x-api-key"},
}


def description() -> dict[str, Any]:
    """The whole of it."""
    where = "#/components/schemas/{model}"
    kinds = dict.fromkeys(body for body, _ in POSTS.values())
    names, shared = models_json_schema([(one, "validation") for one in kinds], ref_template=where)
    failures = {code: {"description": text} for code, text in _FAILURES.items()}
    done = {"200": {"description": "The answer; a stream where one was asked for."}}
    paths: dict[str, Any] = {}
    for path, (body, text) in POSTS.items():
        schema = names[body, "validation"]
        told = {"required": True, "content": {"application/json": {"schema": schema}}}
        paths[path] = {
            "post": {"summary": text, "requestBody": told, "responses": {**done, **failures}}
        }
        if "{name}" in path:
            name = {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}
            paths[path]["parameters"] = [name]
    for path, text in GETS.items():
        codes = {one: failures[one] for one in ("401", "403")}
        paths[path] = {"get": {"summary": text, "responses": {**done, **codes}}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Langwright", "version": langwright.__version__},
        "paths": paths,
        "components": {"schemas": shared.get("$defs", {}), "securitySchemes": _KEYS},
        "security": [{}, *({name: []} for name in _KEYS)],
    }


def routes(service: Service) -> Iterator[Route]:
    async def openapi(call: Call) -> Response:
        return JSONResponse(description())

    yield Route("/openapi.json", openapi, methods=["GET"])
