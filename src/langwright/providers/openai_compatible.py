"""Any address that speaks OpenAI's format, as a Backend: llama-server, vLLM, Ollama's /v1."""

from __future__ import annotations

import ipaddress
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import httpx

from langwright.backend import Capabilities, Event, PartialBackend, Request, Usage
from langwright.errors import (
    BadInput,
    LangwrightError,
    NetworkMissing,
    NotFound,
    Unsupported,
    suggest,
)
from langwright.progress import say
from langwright.providers.interleave import Emit, Job, interleave
from langwright.wire.ask import Ask, EmbedAsk
from langwright.wire.failure import error_of
from langwright.wire.openai import chat, completions, embeddings
from langwright.wire.openai.errors import error_read
from langwright.wire.openai.reading import OpenAIReading, models_read

AT_ONCE = 64
"""Requests that are under way together; the server has its own queue behind them."""
HONOURED = frozenset(
    {
        "stop",
        "n",
        "temperature",
        "top_p",
        "seed",
        "frequency_penalty",
        "presence_penalty",
        "logit_bias",
        "deadline_s",
        "tools",
        "tool_choice",
    }
)
"""The options of a request that OpenAI's format has by the same meaning."""
MOST_STOPS, MOST_BIAS = 4, 100.0
_OPENAI = "api.openai.com"
_TIMEOUT = httpx.Timeout(600, connect=10)


class OpenAICompatible(PartialBackend):
    """A model at `http://HOST:PORT/v1#MODEL`; `#MODEL` may be left out where there is one only.

    The key is that of `LANGWRIGHT_API_KEY`; at OpenAI's own address `OPENAI_API_KEY` does too, and
    is sent nowhere else. Options that the format does not have are refused; what the server makes
    of the others is its own affair. Events have no token ids. Of an answer that is broken off the
    usage counts the pieces that came.

    Raises `NetworkMissing` where nothing answers, and as the server says.
    """

    kind = "OpenAI's format has no such thing"

    def __init__(self, name: str, *, key: str | None = None) -> None:
        super().__init__(name)
        self.base, _, model = name.partition("#")
        self.base = self.base.rstrip("/")
        parts = urlsplit(self.base)
        if parts.username or parts.query or not parts.hostname:
            raise BadInput(
                f"'{parts.scheme}://{parts.hostname}' is not an address to ask.",
                remedy="Write http://HOST:PORT/v1#MODEL, and the key into LANGWRIGHT_API_KEY.",
            )
        key = key or os.environ.get("LANGWRIGHT_API_KEY")
        if key is None and parts.hostname == _OPENAI:
            key = os.environ.get("OPENAI_API_KEY")
        near = _is_loopback(parts.hostname)
        if key and parts.scheme == "http" and not near:
            say(f"The key goes to {parts.hostname} in clear text.")
        self._client = httpx.Client(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=_TIMEOUT,
            limits=httpx.Limits(max_connections=AT_ONCE),
            trust_env=not near,  # a proxy leads away from this machine
        )
        self._aborted: set[str] = set()
        self._said: set[str] = set()
        self._lock = threading.Lock()
        self.model, self._context = self._choose(model)
        self._tokenizes = self._asks_tokens()

    def capabilities(self) -> Capabilities:
        return Capabilities(
            embed=True,
            chat=True,
            penalties=True,
            tokenize=self._tokenizes,
            context_length=self._context,
            at_once=AT_ONCE,
        )

    def close(self) -> None:
        """End all connections."""
        self._client.close()

    def abort(self, request_id: str) -> None:
        self._aborted.add(request_id)

    def generate(self, requests: Sequence[Request]) -> Iterator[Event]:
        """Answer all requests, each over a connection of its own. All are checked first."""
        self.check(requests, HONOURED)
        jobs = [
            self._job(request, index, _body(request, self.model, index))
            for request in requests
            for index in range(request.n)
        ]
        return self._events(jobs, {request.id for request in requests})

    def _events(self, jobs: list[Job], ids: set[str]) -> Iterator[Event]:
        try:
            yield from interleave(jobs, AT_ONCE)
        finally:
            self._aborted -= ids

    def _job(self, request: Request, index: int, body: dict[str, Any]) -> Job:
        begun = time.monotonic()

        def job(emit: Emit) -> None:
            last, count = Event(request.id, finish_reason="deadline"), 0
            try:
                for event in self._stream(body, request, begun):
                    if event.finish_reason is not None:
                        last = event
                        continue
                    if event.thought:
                        self._once("It thinks before it answers.")
                    count += 1
                    if not emit(replace(event, index=index)):
                        return
                    if request.id in self._aborted:
                        last = replace(last, finish_reason="abort")
                        break
                    if _late(request, begun):
                        break
            except httpx.TimeoutException as late:
                if not _late(request, begun):
                    raise self._unreachable(late) from None
            if last.usage is None:
                if last.finish_reason in ("stop", "length"):
                    self._once("It tells no usage: tokens are counted by the pieces that came.")
                last = replace(last, usage=Usage(0, count))
            emit(replace(last, index=index))

        return job

    def _stream(self, body: Mapping[str, Any], request: Request, begun: float) -> Iterator[Event]:
        """What one answer says, and how it ends."""
        timeout = _TIMEOUT
        if request.deadline_s is not None:
            left = max(1e-3, request.deadline_s - (time.monotonic() - begun))
            timeout = httpx.Timeout(left, connect=min(10, left))
        endpoint = "completions" if request.messages is None else "chat/completions"
        url, reading = f"{self.base}/{endpoint}", OpenAIReading(request.id)
        try:
            with self._client.stream("POST", url, json=body, timeout=timeout) as answer:
                if answer.status_code != 200:
                    answer.read()
                    raise self._failure(answer)
                for raw in answer.iter_bytes():
                    yield from reading.feed(raw)
                yield from reading.end()
        except httpx.TimeoutException:
            raise
        except httpx.HTTPError as error:
            raise self._unreachable(error) from None

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """A vector for each text, by the server's own model; whether it cuts long texts is its
        affair."""
        if not texts:
            return []
        asked = embeddings.write(EmbedAsk(self.model, tuple(texts)))
        found = embeddings.vectors(self._post("embeddings", asked))
        if len(found) != len(texts):
            raise LangwrightError(
                f"The server gives {len(found)} vectors for {len(texts)} texts.",
                remedy="Ask it for fewer.",
            )
        return found

    def tokenize(self, text: str) -> list[int]:
        """By `/tokenize` beside the format, which llama.cpp's server has."""
        if not self._tokenizes:
            raise self.cannot("tells no tokens")
        return list(self._tokens(text)["tokens"])

    def _tokens(self, text: str) -> dict[str, Any]:
        root = self.base.removesuffix("/v1")
        asked = {"content": text, "add_special": False, "parse_special": False}
        return self._ask("POST", f"{root}/tokenize", json=asked)

    def _asks_tokens(self) -> bool:
        try:
            found = self._tokens("a").get("tokens")
        except LangwrightError:
            return False
        return isinstance(found, list) and all(type(token) is int for token in found)

    def _choose(self, model: str) -> tuple[str, int | None]:
        """The model that is meant, and how many tokens it reads where the server says so."""
        try:
            found = models_read(self._ask("GET", f"{self.base}/models"))
        except NotFound:
            if model:  # a server need not list its models
                return model, None
            raise
        if not model and len(found) == 1:
            (model,) = found
        if model not in found:
            what = f"no model '{model}'" if model else f"{len(found)} models, and none is named"
            raise NotFound(
                f"{self.base} has {what}.",
                remedy=f"Write {self.base}#MODEL. {suggest(model, found)}",
            )
        return model, found[model]

    def _post(self, endpoint: str, asked: Mapping[str, Any]) -> dict[str, Any]:
        return self._ask("POST", f"{self.base}/{endpoint}", json=asked)

    def _ask(self, method: str, url: str, **options: Any) -> dict[str, Any]:
        try:
            answer = self._client.request(method, url, **options)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from None
        if answer.status_code != 200:
            raise self._failure(answer)
        told = _json(answer)
        if told is None:
            raise LangwrightError(
                f"{url} answers with what is no JSON.",
                remedy="Check the address: with most servers it ends in /v1.",
            )
        return told

    def _failure(self, answer: httpx.Response) -> LangwrightError:
        wait = answer.headers.get("retry-after")
        return error_of(error_read(answer.status_code, _json(answer), retry_after=wait))

    def _unreachable(self, error: httpx.HTTPError) -> NetworkMissing:
        said = str(error) or type(error).__name__
        return NetworkMissing(
            f"{self.base} does not answer: {said}.",
            remedy="Start the server there, or check the address.",
        )

    def _once(self, text: str) -> None:
        with self._lock:
            if text not in self._said:
                self._said.add(text)
                say(f"{self.base}: {text}")


def _body(request: Request, model: str, index: int) -> dict[str, Any]:
    """The JSON that asks for answer `index` of a request as a stream.

    Raises `Unsupported` for what the format has no room for.
    """
    how = request.sampling
    if len(request.stop) > MOST_STOPS:
        raise Unsupported(
            f"There are {len(request.stop)} stop strings; OpenAI's format has room for "
            f"{MOST_STOPS}.",
            remedy="Give fewer.",
        )
    if any(abs(bias) > MOST_BIAS for bias in how.logit_bias.values()):
        raise Unsupported(
            f"OpenAI's format knows logit_bias up to {MOST_BIAS:g}.", remedy="Give smaller ones."
        )
    if request.messages is None and request.max_tokens is None:
        raise Unsupported(
            "Completions of this format end after 16 tokens where max_tokens is not said.",
            remedy="Give max_tokens.",
        )
    seed = None if how.seed is None else how.seed + index
    one = replace(request, n=1, sampling=replace(how, seed=seed))
    ask = Ask(model, (one,), stream=True)
    return completions.write(ask) if request.messages is None else chat.write(ask)


def _json(answer: httpx.Response) -> dict[str, Any] | None:
    try:
        told = answer.json()
    except ValueError:
        return None
    return told if isinstance(told, dict) else None


def _late(request: Request, begun: float) -> bool:
    return request.deadline_s is not None and time.monotonic() - begun >= request.deadline_s


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
