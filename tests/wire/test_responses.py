"""OpenAI's responses, by the judgement of OpenAI's own client."""

from __future__ import annotations

import json
from typing import Any

import httpx
import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.responses import Response

from langwright.backend import Event, Usage
from langwright.errors import LangwrightError
from langwright.wire.ask import Ask
from langwright.wire.failure import Failure
from langwright.wire.openai.responses import read, write
from langwright.wire.openai.responses_reading import ResponsesReading
from langwright.wire.openai.responses_reply import ResponsesReply

from . import given as g

FULL: dict[str, Any] = {
    "model": "tiny",
    "instructions": "Be brief.",
    "input": [
        {"role": "user", "content": [{"type": "input_text", "text": "Look"}]},
        {"type": "reasoning", "id": "rs_1", "summary": [], "content": [
            {"type": "reasoning_text", "text": "hm"}]},
        {"type": "message", "role": "assistant", "id": "msg_1", "status": "completed",
         "content": [{"type": "output_text", "text": "I look.", "annotations": []}]},
        {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"},
        {"type": "function_call", "call_id": "c2", "name": "count", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "sky"},
        {"type": "function_call_output", "call_id": "c2", "output": [
            {"type": "input_text", "text": "3"}]},
        {"role": "developer", "content": "Go on."},
    ],
    "tools": [{"type": "function", **one["function"], "strict": True} for one in g.TOOLS],
    "tool_choice": {"type": "function", "name": "count"},
    "text": {"format": {"type": "json_schema", "name": "a", "schema": {"type": "object"}}},
    "max_output_tokens": 99,
    "temperature": 0.5,
    "top_p": 0.9,
    "top_logprobs": 2,
    "include": ["message.output_text.logprobs"],
    "metadata": {"who": "me"},
    "stream": True,
}  # fmt: skip


def body(**more: Any) -> bytes:
    return json.dumps({"model": "tiny", "input": "Hi", **more}).encode()


def client(answer: bytes, status: int = 200, seen: list[Any] | None = None) -> openai.OpenAI:
    def handle(asked: httpx.Request) -> httpx.Response:
        if seen is not None:
            seen.append(json.loads(asked.content))
        kind = "text/event-stream" if answer.startswith(b"event:") else "application/json"
        return httpx.Response(status, content=answer, headers={"content-type": kind})

    http = httpx.Client(transport=httpx.MockTransport(handle))
    return openai.OpenAI(api_key="k", base_url="http://x/v1", http_client=http, max_retries=0)


def test_a_call_with_everything() -> None:
    ask = read(json.dumps(FULL).encode())
    request = ask.request
    assert ask.unheeded == ()
    assert request.messages == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Look"},
        {"role": "assistant", "content": "I look.", "reasoning_content": "hm", "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}},
            {"id": "c2", "type": "function", "function": {"name": "count", "arguments": "{}"}},
        ]},
        {"role": "tool", "content": "sky", "tool_call_id": "c1"},
        {"role": "tool", "content": "3", "tool_call_id": "c2"},
        {"role": "system", "content": "Go on."},
    ]  # fmt: skip
    assert request.tools == g.TOOLS
    assert (request.tool_choice, request.max_tokens, request.logprobs) == ("count", 99, 2)
    assert (request.sampling.temperature, request.sampling.top_p) == (0.5, 0.9)
    assert request.constraint is not None
    assert request.constraint.json_schema == {"type": "object"}


@pytest.mark.parametrize(
    ("more", "names"),
    [
        ({"store": True, "background": False, "truncation": "disabled", "user": "me"}, ()),
        ({"previous_response_id": "resp_1"}, ("previous_response_id",)),
        ({"conversation": "c", "background": True}, ("conversation", "background")),
        ({"tools": [{"type": "web_search"}]}, ("tools.0.web_search",)),
        ({"include": ["reasoning.encrypted_content"]}, ("include.reasoning.encrypted_content",)),
        ({"top_logprobs": 2}, ("top_logprobs",)),
        ({"text": {"verbosity": "low"}}, ("text.verbosity",)),
        ({"truncation": "auto"}, ("truncation",)),
        ({"input": [{"type": "reasoning", "summary": [], "encrypted_content": "x"},
                    {"role": "user", "content": "a"}]}, ("input.0.encrypted_content",)),
        ({"parallel_tool_calls": False}, ("parallel_tool_calls",)),
    ],
)  # fmt: skip
def test_what_is_not_honoured_is_named(more: dict[str, Any], names: tuple[str, ...]) -> None:
    assert read(body(**more)).unheeded == names


def test_openais_client_gathers_the_stream_to_the_whole() -> None:
    ask = read(json.dumps(FULL).encode())
    raw = g.streamed(ResponsesReply(ask, g.envelope()), g.TALK)
    kinds = []
    tools: Any = FULL["tools"]
    with client(raw).responses.stream(model="tiny", input="x", tools=tools) as stream:
        for event in stream:
            assert event.sequence_number == len(kinds)
            kinds.append(event.type)
        final = stream.get_final_response().to_dict()
    whole = ResponsesReply(ask, g.envelope()).whole(g.TALK)
    for item in final["output"]:  # type: ignore[attr-defined]
        item.pop("parsed_arguments", None)
        for part in item.get("content") or []:
            part.pop("parsed", None)
    assert final == Response.model_validate(whole, strict=True).to_dict()
    told = Response.model_validate(whole, strict=True)
    assert told.output_text == "Hello wö"
    assert whole["store"] is False
    assert told.instructions == "Be brief."
    assert told.metadata == {"who": "me"}
    text = ["response.output_item.added", "response.content_part.added"]
    ended = ["response.content_part.done", "response.output_item.done"]
    call = ["response.function_call_arguments.delta", "response.function_call_arguments.done"]
    assert kinds == [
        "response.created", "response.in_progress",
        *text, *["response.reasoning_text.delta"] * 2, "response.reasoning_text.done", *ended,
        *text, *["response.output_text.delta"] * 2, "response.output_text.done", *ended,
        *[text[0], *call, ended[1]] * 2,
        "response.completed",
    ]  # fmt: skip


def test_log_probabilities_have_the_bytes_of_their_tokens() -> None:
    ask = read(json.dumps(FULL).encode())
    whole = Response.model_validate(ResponsesReply(ask, g.envelope()).whole(g.TALK))
    (part,) = whole.output[1].content  # type: ignore[union-attr]
    first, second = part.logprobs  # type: ignore[union-attr]
    assert (first.token, first.bytes, first.logprob) == ("Hel", list(b"Hel"), -0.5)
    assert [one.token for one in first.top_logprobs] == ["Hel", "w"]
    assert second.token == "lo"


def test_each_way_to_end() -> None:
    ask = read(body())
    cut = [Event("r", "a"), Event("r", finish_reason="length", usage=Usage(1, 1))]
    whole = Response.model_validate(ResponsesReply(ask, g.envelope()).whole(cut), strict=True)
    assert whole.status == "incomplete"
    assert whole.output[-1].status == "incomplete"  # type: ignore[union-attr]
    assert whole.incomplete_details is not None
    assert whole.incomplete_details.reason == "max_output_tokens"
    raw = g.streamed(ResponsesReply(ask, g.envelope()), cut)
    *_, last = client(raw).responses.create(model="tiny", input="x", stream=True)
    assert last.type == "response.incomplete"
    reply = ResponsesReply(ask, g.envelope())
    raw = reply.begin() + reply.feed(cut[0]) + reply.fail(Failure("internal", "It broke."))
    *_, last = client(raw).responses.create(model="tiny", input="x", stream=True)
    assert last.type == "response.failed"
    assert last.response.error is not None
    assert last.response.error.message == "It broke."
    nothing = [Event("r", finish_reason="stop", usage=Usage(1, 0))]
    assert len(ResponsesReply(ask, g.envelope()).whole(nothing)["output"]) == 1


ROOM = g.Room(frozenset({"temperature", "top_p"}), stop=False)


@settings(max_examples=40)
@given(g.asks(ROOM))
def test_what_is_written_is_read(ask: Ask) -> None:
    assert g.plain(read(json.dumps(write(ask)).encode())) == g.plain(ask)


@given(g.answers(("stop", "length", "abort", "error")), st.lists(st.integers(0, 9999), max_size=9))
def test_what_is_said_is_heard(events: list[Event], cuts: list[int]) -> None:
    ask = read(body())
    raw = g.streamed(ResponsesReply(ask, g.envelope()), events)
    assert g.said(g.heard(ResponsesReading("r"), raw, cuts)) == g.said(events)
    whole = json.loads(json.dumps(ResponsesReply(ask, g.envelope()).whole(events)))
    Response.model_validate(whole, strict=True)
    assert g.said(ResponsesReading("r").whole(whole)) == g.said(events)


def test_errors_are_heard() -> None:
    reply = ResponsesReply(read(body()), g.envelope())
    raw = reply.begin() + reply.fail(Failure("internal", "It broke."))
    assert g.spoken(*g.heard(ResponsesReading(), raw)).error == "It broke."
    raw = b'event: error\ndata: {"type": "error", "message": "Gone", "sequence_number": 3}\n\n'
    with pytest.raises(LangwrightError, match="Gone"):
        list(ResponsesReading().feed(raw))
    assert g.spoken(*g.heard(ResponsesReading(), b"")).finish_reason == "error"
    for wrong in (b"data: {oops\n\n", b"data: []\n\n", b'data: {"type":"response.completed"}\n\n'):
        with pytest.raises(LangwrightError, match="cannot be read"):
            list(ResponsesReading().feed(wrong))


ANSWERS = g.messages_of(
    g.streamed(ResponsesReply(read(body()), g.envelope()), g.TALK),
    ResponsesReply(read(body()), g.envelope()).whole(g.TALK),
)


@given(g.spoilt(ANSWERS))
def test_spoilt_answers(raw: bytes) -> None:
    g.hears_or_refuses(ResponsesReading, raw)


@given(g.spoilt(FULL))
def test_spoilt_bodies(raw: bytes) -> None:
    g.reads_or_refuses(read, raw)


def test_hostile_bodies() -> None:
    g.refuses_hostile_bodies(read, body())
