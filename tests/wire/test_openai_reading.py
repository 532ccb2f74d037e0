"""OpenAI's chat and completions, there and back, by the judgement of OpenAI's own client."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion

from langwright.backend import Constraint, Event, Request, Sampling, ToolCall, Usage
from langwright.errors import BadInput, BadSettings, Busy, LangwrightError, NotFound
from langwright.wire.ask import Ask
from langwright.wire.failure import STATUS, Failure, error_of, failure_of
from langwright.wire.openai import chat, completions
from langwright.wire.openai.chat_reply import ChatReply
from langwright.wire.openai.completions import CompletionReply
from langwright.wire.openai.errors import error_json, error_read
from langwright.wire.openai.reading import OpenAIReading, models_read
from langwright.wire.whole import total_usage, wholes

from . import given as g

HI = [{"role": "user", "content": "Hi"}]
FULL: dict[str, Any] = {
    "model": "tiny",
    "messages": [
        {"role": "developer", "content": [{"type": "text", "text": "Be brief."}]},
        {"role": "user", "content": "Look", "name": "me"},
        {"role": "assistant", "content": None, "reasoning_content": "hm", "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}]},
        {"role": "tool", "content": "sky", "tool_call_id": "c1"},
    ],
    "tools": g.TOOLS,
    "tool_choice": {"type": "function", "function": {"name": "count"}},
    "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {}}},
    "max_tokens": 9, "temperature": 0.5, "top_p": 0.5, "seed": 3, "stop": ["END"], "n": 2,
    "logprobs": True, "top_logprobs": 2, "logit_bias": {"7": 1.5}, "presence_penalty": 0.5,
    "frequency_penalty": 0.5, "stream": True, "stream_options": {"include_usage": True},
}  # fmt: skip


def asked(**more: Any) -> Ask:
    wanted = {"stream": True, "stream_options": {"include_usage": True}}
    raw = json.dumps({"model": "tiny", "messages": HI, **wanted, **more})
    return chat.read(raw.encode())


def client(served: g.Served) -> openai.OpenAI:
    return openai.OpenAI(api_key="k", base_url=f"{served.url}/v1", max_retries=0)


def test_openais_client_gathers_the_stream_to_the_whole(served: g.Served) -> None:
    ask = asked(logprobs=True, top_logprobs=2)
    served.answer(g.streamed(ChatReply(ask, g.envelope()), g.TALK), "text/event-stream")
    messages: Any = HI
    with client(served).chat.completions.stream(model="tiny", messages=messages) as stream:
        final = stream.get_final_completion().to_dict()
    whole = json.loads(json.dumps(ChatReply(ask, g.envelope()).whole(g.TALK)))
    told = ChatCompletion.model_validate(whole, strict=True)
    (choice,) = final["choices"]  # type: ignore[misc]
    choice["message"].pop("parsed", None)  # type: ignore[index]
    for call in choice["message"]["tool_calls"]:  # type: ignore[index]
        call.pop("index")
        call["function"].pop("parsed_arguments", None)
    assert choice["message"]["content"] == told.choices[0].message.content == "Hello wö"  # type: ignore[index]
    for name in ("tool_calls", "reasoning_content"):
        assert choice["message"][name] == whole["choices"][0]["message"][name]  # type: ignore[index]
    assert choice["finish_reason"] == whole["choices"][0]["finish_reason"] == "tool_calls"  # type: ignore[index]
    assert choice["logprobs"]["content"] == whole["choices"][0]["logprobs"]["content"]  # type: ignore[index]
    assert final["usage"] == whole["usage"]
    assert {final[name] for name in ("id", "model")} == {"chatcmpl-abc", "tiny"}


NUMBERS = frozenset(
    {"temperature", "top_p", "top_k", "min_p", "seed", "presence_penalty", "frequency_penalty",
     "repetition_penalty"}
)  # fmt: skip


@settings(max_examples=40)
@given(g.asks(g.Room(NUMBERS)), st.booleans())
def test_what_is_written_is_read(ask: Ask, usage: bool) -> None:
    ask = replace(ask, usage=usage and ask.stream)
    told = chat.read(json.dumps(chat.write(ask)).encode())
    assert (g.plain(told), told.usage) == (g.plain(ask), ask.usage)


@given(
    st.lists(g.texts.filter(bool) | st.lists(st.integers(0, 99), min_size=1), min_size=1).filter(
        lambda given: len({type(one) for one in given}) == 1
    ),
    st.integers(1, 3),
    st.none() | st.integers(0, 20),
    st.booleans(),
)
@settings(max_examples=40)
def test_prompts_that_are_written_are_read(
    prompts: list[Any], n: int, logprobs: int | None, echo: bool
) -> None:
    requests = tuple(
        Request(
            text=one if isinstance(one, str) else None,
            token_ids=one if isinstance(one, list) else None,
            max_tokens=7,
            n=n,
            logprobs=logprobs,
            prompt_logprobs=(logprobs or 0) if echo else None,
            sampling=Sampling(temperature=0.5, logit_bias={7: 2.5}),
        )
        for one in prompts
    )
    ask = Ask("tiny", requests, usage=False, echo=echo)
    told = completions.read(json.dumps(completions.write(ask)).encode())
    assert (g.plain(told), told.echo) == (g.plain(ask), echo)


@given(g.answers(), st.lists(st.integers(0, 9999), max_size=9))
def test_what_is_said_is_heard(events: list[Event], cuts: list[int]) -> None:
    ask = asked()
    raw = g.streamed(ChatReply(ask, g.envelope()), events)
    assert g.said(g.heard(OpenAIReading("r"), raw, cuts)) == g.said(events)
    whole = json.loads(json.dumps(ChatReply(ask, g.envelope()).whole(events)))
    assert g.said(OpenAIReading("r").whole(whole)) == g.said(events)
    texts = [replace(one, thought="", calls=()) for one in events]
    older = Ask("tiny", (Request(text="Hi", max_tokens=9, id="r"),), stream=True)
    raw = g.streamed(CompletionReply(older, g.envelope()), texts)
    assert g.said(g.heard(OpenAIReading("r"), raw, cuts)) == g.said(texts)
    told = CompletionReply(older, g.envelope()).whole(texts)
    assert g.said(OpenAIReading("r").whole(told)) == g.said(texts)


def test_several_answers_are_kept_apart() -> None:
    call = ToolCall("c", "look", "{}")
    events = [
        Event("r", "a"),
        Event("r", calls=(call,), index=1),
        Event("r", index=1, finish_reason="stop", usage=Usage(5, 2)),
        Event("r", "b"),
        Event("r", finish_reason="length", usage=Usage(5, 3)),
    ]
    raw = g.streamed(ChatReply(asked(n=2), g.envelope()), events)
    whole = ChatReply(asked(n=2), g.envelope()).whole(events)
    for heard in (g.heard(OpenAIReading("r"), raw), OpenAIReading("r").whole(whole)):
        answers = wholes(heard)
        assert (answers["r", 0].text, answers["r", 0].finish_reason) == ("ab", "length")
        assert (answers["r", 1].calls, answers["r", 1].finish_reason) == ([call], "stop")
        assert total_usage(answers.values()) == Usage(5, 5)


def _data(*chunks: Any) -> bytes:
    return b"".join(b"data: " + json.dumps(one).encode() + b"\n\n" for one in chunks)


def test_pieces_of_calls() -> None:
    """Bit by bit as OpenAI sends them; at once and without an index, as others do."""

    def chunk(*calls: Any, reason: str | None = None) -> Any:
        return {"choices": [{"delta": {"tool_calls": list(calls)}, "finish_reason": reason}]}

    def piece(index: int, arguments: str, **more: Any) -> Any:
        return {"index": index, "function": {"arguments": arguments, **more.pop("f", {})}, **more}

    raw = _data(
        chunk(piece(0, "", id="c1", f={"name": "look"})),
        chunk(piece(0, '{"at":')),
        chunk(piece(1, "{", id="c2", f={"name": "count"}), piece(0, ' "sky"}')),
        chunk(piece(1, "}")),
        chunk(reason="tool_calls"),
    )
    one = g.spoken(*g.heard(OpenAIReading(), raw))
    look, count = ToolCall("c1", "look", '{"at": "sky"}'), ToolCall("c2", "count", "{}")
    assert one.calls == [look, count]
    at_once = [
        {"id": call.id, "function": {"name": call.name, "arguments": call.arguments}}
        for call in (look, count)
    ]
    for chunks in (
        [chunk(*at_once, reason="stop")],
        [chunk(at_once[0]), chunk(at_once[1], reason="stop")],
    ):
        assert g.spoken(*g.heard(OpenAIReading(), _data(*chunks))).calls == [look, count]


def test_what_other_servers_add() -> None:
    for name in ("reasoning_content", "reasoning"):
        raw = _data({"choices": [{"delta": {name: "hm"}}]})
        assert g.spoken(*g.heard(OpenAIReading(), raw)).thought == "hm"
    ended = {"choices": [{"text": "a", "finish_reason": "stop", "stop_reason": "END"}]}
    assert g.spoken(*OpenAIReading().whole(ended)).stop == "END"
    usage = {
        "prompt_tokens": 3,
        "completion_tokens": 4,
        "prompt_tokens_details": {"cached_tokens": 2},
    }
    (*_, last) = OpenAIReading().whole({**ended, "usage": usage})
    assert last.usage == Usage(3, 4, 2)
    assert g.heard(OpenAIReading(), _data(ended))[-1].usage is None
    listed = {
        "data": [{"id": "a"}, {"id": "b", "max_model_len": 9}, {"id": "c", "meta": {"n_ctx": 7}}]
    }
    assert models_read(listed) == {"a": None, "b": 9, "c": 7}


def test_ends_that_are_none() -> None:
    assert g.spoken(*g.heard(OpenAIReading(), b": alive\n\n")).finish_reason == "error"
    cut = _data({"choices": [{"text": "a"}]})
    assert g.spoken(*g.heard(OpenAIReading(), cut)).error is not None
    filtered = {"choices": [{"delta": {"content": "a"}, "finish_reason": "content_filter"}]}
    assert g.spoken(*OpenAIReading().whole(filtered)).finish_reason == "error"
    raw = ChatReply(asked(), g.envelope()).fail(Failure("internal", "It broke."))
    with pytest.raises(LangwrightError, match="It broke"):
        list(OpenAIReading().feed(raw))
    odd = [{"choices": [7]}, {"choices": [{"text": 7}]}, {"usage": {"prompt_tokens": []}}]
    for wrong in (b"data: {oops\n\n", b"data: []\n\n", *(_data(one) for one in odd)):
        with pytest.raises(LangwrightError, match="cannot be read"):
            g.said(g.heard(OpenAIReading(), wrong))


@pytest.mark.parametrize("kind", STATUS)
def test_errors_there_and_back(kind: Any) -> None:
    failure = Failure(kind, "So it is", "model", "that_one", retry_after=7)
    heard = error_read(failure.status, error_json(failure), retry_after="7")
    assert heard == failure
    error = error_of(heard, known=["tiny"])
    assert "So it is" in str(error)
    assert error.remedy
    classes = {
        "unauthorized": BadSettings, "forbidden": BadSettings, "not_found": NotFound,
        "too_many": Busy, "invalid": BadInput, "too_large": BadInput,
    }  # fmt: skip
    assert type(error) is classes.get(kind, LangwrightError)
    if kind in ("invalid", "not_found", "too_many", "internal"):
        assert failure_of(error).kind == kind


def test_a_prompt_too_long_is_told_so() -> None:
    """In OpenAI's words, and in llama.cpp's."""
    for told in (
        {"message": "Too long", "code": "context_length_exceeded"},
        {"message": "Too long", "code": 400, "type": "exceed_context_size_error"},
    ):
        error = error_of(error_read(400, {"error": told}))
        assert isinstance(error, BadInput)
        assert "Shorten" in error.remedy
    assert str(error_read(500, {"error": "ill"}).message) == "ill"
    assert error_read(502, None).message == "status 502"


def test_an_object_may_have_a_schema() -> None:
    """As llama.cpp's server takes it."""
    shape = {"type": "object", "required": ["a"]}
    for more, expected in (({}, {"type": "object"}), ({"schema": shape}, shape)):
        (request,) = asked(response_format={"type": "json_object", **more}).requests
        assert request.constraint == Constraint(json_schema=expected)
    with pytest.raises(BadInput, match="json_object"):
        asked(response_format={"type": "text", "schema": shape})


def test_what_stands_further_in_is_named_too() -> None:
    part = {"type": "text", "text": "Hi", "cache_control": {}}
    assert asked(messages=[{"role": "user", "content": [part]}]).unheeded == (
        "messages.0.content.0.cache_control",
    )


ANSWERS = g.messages_of(
    g.streamed(ChatReply(asked(), g.envelope()), g.TALK),
    ChatReply(asked(), g.envelope()).whole(g.TALK),
)


@given(g.spoilt(ANSWERS))
def test_spoilt_answers(raw: bytes) -> None:
    g.hears_or_refuses(OpenAIReading, raw)


@given(g.spoilt(FULL))
def test_spoilt_bodies(raw: bytes) -> None:
    g.reads_or_refuses(chat.read, raw)


def test_hostile_bodies() -> None:
    assert chat.read(json.dumps(FULL).encode()).unheeded == ()
    g.refuses_hostile_bodies(chat.read, json.dumps({"model": "tiny", "messages": HI}).encode())
    g.refuses_hostile_bodies(completions.read, b'{"model": "tiny", "prompt": "Hi"}')
