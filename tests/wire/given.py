"""Conversations, calls and answers that any dialect can be asked to carry, and how it is used."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from hypothesis import strategies as st

from langwright.backend import Constraint, Event, Request, Sampling, TokenLogprob, ToolCall, Usage
from langwright.errors import BadInput, LangwrightError
from langwright.wire.ask import Ask
from langwright.wire.body import BadBody
from langwright.wire.reading import Reading
from langwright.wire.reply import Envelope, Reply
from langwright.wire.whole import Whole, wholes

PIECES = [b"Hel", b"lo", b" ", b"w", "ö".encode(), "ö".encode()[:1], b"\n"]


def envelope() -> Envelope:
    return Envelope("abc", 1_700_000_000, "tiny", lambda token: PIECES[token], "print")


texts = st.text(max_size=20)
words = st.text(st.characters(codec="utf-8", categories=["L", "N"]), min_size=1, max_size=8)
names = st.from_regex(r"[a-z][a-z0-9_]{0,9}", fullmatch=True)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=5,
)
tables = st.dictionaries(words, values, max_size=3)
calls = st.builds(
    ToolCall,
    st.from_regex(r"call_[0-9a-f]{6}", fullmatch=True),
    names,
    tables.map(lambda one: json.dumps(one, ensure_ascii=False)),
)
usages = st.builds(
    lambda cached, fresh, drawn: Usage(cached + fresh, drawn, cached),
    st.integers(0, 50),
    st.integers(0, 50),
    st.integers(0, 99),
)
steps = st.one_of(
    texts.filter(bool).map(lambda one: Event("r", text=one)),
    texts.filter(bool).map(lambda one: Event("r", thought=one)),
    calls.map(lambda one: Event("r", calls=(one,))),
)


@st.composite
def answers(draw: st.DrawFn, reasons: Sequence[str] = ("stop", "length")) -> list[Event]:
    """What a model says, to its end."""
    found = draw(st.lists(steps, max_size=6))
    numbered = []
    for number, event in enumerate(found):
        renamed = tuple(replace(one, id=f"{one.id}{number}") for one in event.calls)
        numbered.append(replace(event, calls=renamed))
    reason: Any = draw(st.sampled_from(reasons))
    return [*numbered, Event("r", finish_reason=reason, usage=draw(usages))]


@st.composite
def tools(draw: st.DrawFn) -> list[dict[str, Any]]:
    found = []
    for name in draw(st.lists(names, min_size=1, max_size=2, unique=True)):
        schema = {"type": "object", "properties": {"x": {"type": "string"}}}
        function = {"name": name, "description": draw(words), "parameters": schema}
        found.append({"type": "function", "function": function})
    return found


@st.composite
def conversations(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Turns of every kind: thoughts, calls alone and with text, and what tools gave back."""
    told: list[dict[str, Any]] = []
    if draw(st.booleans()):
        told.append({"role": "system", "content": draw(words)})
    for turn in range(draw(st.integers(1, 3))):
        told.append({"role": "user", "content": draw(words)})
        if not draw(st.booleans()):
            break
        said: dict[str, Any] = {"role": "assistant", "content": draw(words)}
        if draw(st.booleans()):
            said["reasoning_content"] = draw(words)
        made = draw(st.lists(calls, max_size=2))
        if made:
            said["tool_calls"] = [
                {
                    "id": f"{one.id}{turn}{number}",
                    "type": "function",
                    "function": {"name": one.name, "arguments": one.arguments},
                }
                for number, one in enumerate(made)
            ]
            if draw(st.booleans()):
                del said["content"]
        told.append(said)
        for call in said.get("tool_calls", []):
            told.append({"role": "tool", "content": draw(words), "tool_call_id": call["id"]})
    if told[-1]["role"] == "assistant":
        told.append({"role": "user", "content": draw(words)})
    return told


@dataclass(frozen=True)
class Room:
    """What a dialect has room for."""

    sampling: frozenset[str] = frozenset()
    stop: bool = True
    logprobs: bool = True
    schema: bool = True
    choice: bool = True
    """Whether a tool is called can be asked for."""


@st.composite
def asks(draw: st.DrawFn, room: Room) -> Ask:
    numbers = {
        "temperature": st.floats(0, 2),
        "top_p": st.floats(0.1, 1),
        "top_k": st.integers(1, 99),
        "min_p": st.floats(0.1, 1),
        "seed": st.integers(0, 2**31),
        "presence_penalty": st.floats(-2, 2),
        "frequency_penalty": st.floats(-2, 2),
        "repetition_penalty": st.floats(0.5, 2),
    }
    how = {name: draw(numbers[name]) for name in sorted(room.sampling)}
    given = draw(st.none() | tools())
    choices = ["auto"]
    if given and room.choice:
        choices += ["none", "required", given[0]["function"]["name"]]
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    with_schema = room.schema and draw(st.booleans())
    request = Request(
        messages=draw(conversations()),
        max_tokens=draw(st.integers(1, 1000)),
        sampling=Sampling(**how),
        stop=tuple(draw(st.lists(words, max_size=2))) if room.stop else (),
        logprobs=draw(st.none() | st.integers(0, 5)) if room.logprobs else None,
        constraint=Constraint(json_schema=schema) if with_schema else None,
        tools=given,
        tool_choice=draw(st.sampled_from(choices)) if given else "auto",
    )
    return Ask("tiny", (request,), stream=draw(st.booleans()))


def plain(ask: Ask) -> tuple[object, ...]:
    """What counts of a call: all but the names of its requests, and what a dialect keeps beside."""
    requests = [replace(one, id="r", messages=_turns(one.messages)) for one in ask.requests]
    return ask.model, requests, ask.stream, ask.unheeded, ask.think


def _turns(messages: Sequence[Any] | None) -> list[dict[str, Any]] | None:
    """With the arguments of calls as tables: their spelling is free."""
    if messages is None:
        return None
    told = json.loads(json.dumps(messages))
    for turn in told:
        for call in turn.get("tool_calls", []):
            arguments = call["function"]["arguments"]
            if isinstance(arguments, str):
                call["function"]["arguments"] = json.loads(arguments)
    return list(told)


def streamed(reply: Reply, events: Iterable[Event]) -> bytes:
    return reply.begin() + b"".join(reply.feed(event) for event in events) + reply.end()


def heard(reading: Reading, raw: bytes, cuts: Sequence[int] = ()) -> list[Event]:
    """The events, of bytes that come in pieces."""
    found, last = list[Event](), 0
    for cut in [*sorted(cut % (len(raw) + 1) for cut in cuts), len(raw)]:
        found += reading.feed(raw[last:cut])
        last = cut
    return [*found, *reading.end()]


def said(events: Iterable[Event], *, cached: bool = True, ids: bool = True) -> tuple[object, ...]:
    """What counts of one answer; of calls not how their arguments are spelt. Where a dialect does
    not tell it: without the `cached` tokens, without the `ids` of calls."""
    (one,) = wholes(events).values()
    made = [(call.id if ids else "", call.name, json.loads(call.arguments)) for call in one.calls]
    usage = one.usage if cached else replace(one.usage, cached_tokens=0)
    return one.text, one.thought, made, one.finish_reason, usage, one.stop


def spoken(*events: Event) -> Whole:
    (one,) = wholes(events).values()
    return one


TALK = [
    Event("r", thought="Let me "),
    Event("r", thought="see."),
    Event("r", "Hel", (0,), logprobs=(TokenLogprob(0, -0.5, -0.5, ((0, -0.5), (3, -1.5))),)),
    Event("r", "lo wö", (1, 2), logprobs=(TokenLogprob(1, -0.25, -0.25, ((1, -0.25),)),)),
    Event("r", calls=(ToolCall("call_1", "look", '{"at": "sky", "far": 3}'),)),
    Event("r", calls=(ToolCall("call_2", "count", "{}"),)),
    Event("r", finish_reason="stop", usage=Usage(11, 7, 4)),
]
"""A thought, a text, and two calls."""

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": "It does.",
            "parameters": {"type": "object", "properties": {"at": {"type": "string"}}},
        },
    }
    for name in ("look", "count")
]

junk = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([10**400, -1, 0, 1e308, 2**63, -(2**63) - 1])
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "text", "role", "content", "name"]), inner)
    ),
    max_leaves=6,
)


@st.composite
def spoilt(draw: st.DrawFn, body: dict[str, Any]) -> bytes:
    """The body with something else at one place of it, deep or not."""
    told = json.loads(json.dumps(body))
    at: Any = told
    for _ in range(draw(st.integers(0, 8))):
        inner = [key for key, one in _pairs(at) if isinstance(one, dict | list) and one]
        if not inner:
            break
        at = at[draw(st.sampled_from(inner))]
    keys = [key for key, _ in _pairs(at)]
    if isinstance(at, dict) and draw(st.booleans()):
        at[draw(st.sampled_from(["type", "text", "stop", "x"]))] = draw(junk)
    else:
        at[draw(st.sampled_from(keys))] = draw(junk)
    return json.dumps(told).encode()


def _pairs(at: Any) -> list[tuple[Any, Any]]:
    return list(at.items()) if isinstance(at, dict) else list(enumerate(at))


WHOLE = [b"", b"{", b"[]", b"null", b"7", b'"text"', b"\xff\xfe", b"{} {}", b"[" * 100_000]
INSIDE = [b'"\xff"', b'"\\ud800"', b"[" * 5000 + b"]" * 5000, b"9" * 5000, b"1e999", b"NaN", b"{,}"]


def refuses_hostile_bodies(read: Callable[..., object], good: bytes) -> None:
    """What is no JSON, or JSON that no number and no stack can hold."""
    read(good, lenient=False)
    spoilt = [good[:-1] + b', "x": [{"a": ' + one + b"}]}" for one in INSIDE]
    for raw in [*WHOLE, *spoilt]:
        for lenient in (False, True):
            with pytest.raises(BadBody):
                read(raw, lenient=lenient)


def reads_or_refuses(read: Callable[..., Ask], raw: bytes) -> None:
    for lenient in (False, True):
        with contextlib.suppress(BadInput):
            for request in read(raw, lenient=lenient).requests:
                json.dumps(request.messages, allow_nan=False)


def hears_or_refuses(reading: Callable[[], Reading], raw: bytes, framed: bool = True) -> None:
    """`raw` is a list of messages, one of them spoilt, under the name `all`; the last is taken for
    a whole answer too."""
    told = json.loads(raw).get("all")
    for one in told if isinstance(told, list) else [told]:
        with contextlib.suppress(LangwrightError):
            wholes(reading().whole(one))
    lines = [json.dumps(one).encode() for one in (told if isinstance(told, list) else [told])]
    frame = b"data: %s\n\n" if framed else b"%s\n"
    with contextlib.suppress(LangwrightError):
        wholes(heard(reading(), b"".join(frame % line for line in lines)))


def messages_of(stream: bytes, whole: dict[str, Any]) -> dict[str, Any]:
    """The messages of a stream, and a whole answer, under the name `all`."""
    lines = [line.removeprefix(b"data: ") for line in stream.splitlines()]
    return {"all": [*(json.loads(line) for line in lines if line[:1] == b"{"), whole]}


class Served:
    """A server on this machine that gives the answers that were laid ready, in their order, and
    keeps what it was asked."""

    def __init__(self) -> None:
        self._ready: list[tuple[int, str, bytes]] = []
        self.asked: list[tuple[str, bytes]] = []

    def answer(self, body: bytes, kind: str = "application/json", status: int = 200) -> None:
        self._ready.append((status, kind, body))

    def __enter__(self) -> Served:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def take(self, path: str, body: bytes) -> tuple[int, str, bytes]:
        self.asked.append((path, body))
        return self._ready.pop(0)


def _handler(served: Served) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, kind, answer = served.take(self.path, raw)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_DELETE = do_HEAD = do_POST

        def log_message(self, *_: object) -> None:
            pass

    return Handler
