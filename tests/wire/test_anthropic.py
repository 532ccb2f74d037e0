"""Anthropic's messages, by the judgement of Anthropic's own client."""

from __future__ import annotations

import json
from typing import Any

import anthropic
import pytest
from anthropic.types import Message, MessageTokensCount, ModelInfo
from hypothesis import given, settings
from hypothesis import strategies as st

from langwright.backend import Event, Usage
from langwright.errors import LangwrightError, NotFound, Unsupported
from langwright.wire.anthropic.errors import error_json, error_read
from langwright.wire.anthropic.messages import count_json, read, read_count, write
from langwright.wire.anthropic.models import model_json, models_json
from langwright.wire.anthropic.reading import MessagesReading
from langwright.wire.anthropic.reply import MessagesReply
from langwright.wire.ask import Ask
from langwright.wire.body import BadBody
from langwright.wire.failure import STATUS, Failure, error_of

from . import given as g

CACHE = {"cache_control": {"type": "ephemeral"}}
FULL: dict[str, Any] = {
    "model": "tiny",
    "max_tokens": 99,
    "system": [{"type": "text", "text": "Be brief.", **CACHE}],
    "messages": [
        {"role": "user", "content": "Look"},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "hm", "signature": "s"},
            {"type": "text", "text": "I look."},
            {"type": "tool_use", "id": "c1", "name": "look", "input": {"at": "ö"}},
            {"type": "tool_use", "id": "c2", "name": "count", "input": {}},
        ]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "c1", "content": "sky", **CACHE},
            {"type": "tool_result", "tool_use_id": "c2", "is_error": True,
             "content": [{"type": "text", "text": "no"}]},
            {"type": "text", "text": "Go on."},
        ]},
    ],
    "tools": [{"name": one["function"]["name"], "description": "It does.", **CACHE,
               "input_schema": one["function"]["parameters"]} for one in g.TOOLS],
    "tool_choice": {"type": "tool", "name": "count", "disable_parallel_tool_use": True},
    "stop_sequences": ["END"],
    "temperature": 0.5,
    "top_p": 0.9,
    "top_k": 7,
    "thinking": {"type": "disabled"},
    "metadata": {"user_id": "me"},
    "output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}},
    "stream": True,
}  # fmt: skip


def body(**more: Any) -> bytes:
    said = [{"role": "user", "content": "Hi"}]
    return json.dumps({"model": "tiny", "max_tokens": 9, "messages": said, **more}).encode()


@pytest.fixture(scope="module")
def client(served: g.Served) -> anthropic.Anthropic:
    return anthropic.Anthropic(api_key="k", base_url=served.url, max_retries=0)


def test_a_call_with_everything() -> None:
    ask = read(json.dumps(FULL).encode())
    request = ask.request
    assert (ask.unheeded, ask.stream, ask.think) == ((), True, False)
    assert g.plain(ask)[1][0].messages == [  # type: ignore[index]
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Look"},
        {"role": "assistant", "content": "I look.", "reasoning_content": "hm", "tool_calls": [
            {"id": "c1", "type": "function",
             "function": {"name": "look", "arguments": {"at": "ö"}}},
            {"id": "c2", "type": "function", "function": {"name": "count", "arguments": {}}},
        ]},
        {"role": "tool", "content": "sky", "tool_call_id": "c1"},
        {"role": "tool", "content": "no", "tool_call_id": "c2", "is_error": True},
        {"role": "user", "content": "Go on."},
    ]  # fmt: skip
    assert request.tools == g.TOOLS
    assert (request.tool_choice, request.max_tokens, request.stop) == ("count", 99, ("END",))
    how = request.sampling
    assert (how.temperature, how.top_p, how.top_k) == (0.5, 0.9, 7)
    assert request.constraint is not None


def test_blocks_keep_their_order() -> None:
    result = {"type": "tool_result", "tool_use_id": "c", "content": "sky"}
    blocks = [{"type": "text", "text": "a"}, result, {"type": "text", "text": "b"}]
    told = read(body(messages=[{"role": "user", "content": blocks}])).request.messages or []
    assert [(one["role"], one["content"]) for one in told] == [
        ("user", "a"), ("tool", "sky"), ("user", "b"),
    ]  # fmt: skip


def test_a_call_is_heard_at_once() -> None:
    reply, reading = MessagesReply(read(body()), g.envelope()), MessagesReading()
    raw = reply.begin() + reply.feed(g.TALK[4])
    assert [one.calls for one in reading.feed(raw)] == [g.TALK[4].calls]


@pytest.mark.parametrize(
    ("more", "names"),
    [
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, ("thinking.budget_tokens",)),
        ({"tools": [{"type": "bash_20250124", "name": "bash"}]}, ("tools.0.bash_20250124",)),
        ({"output_config": {"effort": "low"}}, ("output_config.effort",)),
        ({"container": "c"}, ("container",)),
        ({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]},
         ("messages.1.prefill",)),
        ({"messages": [{"role": "assistant", "content": [
            {"type": "redacted_thinking", "data": "x"}]}, {"role": "user", "content": "b"}]},
         ("messages.0.content.0.data",)),
        ({"tools": FULL["tools"],
          "tool_choice": {"type": "any", "disable_parallel_tool_use": True}},
         ("tool_choice.disable_parallel_tool_use",)),
    ],
)  # fmt: skip
def test_what_is_not_honoured_is_named(more: dict[str, Any], names: tuple[str, ...]) -> None:
    assert read(body(**more)).unheeded == names


@pytest.mark.parametrize(
    "more",
    [
        {"max_tokens": None},
        {"messages": []},
        {"messages": [{"role": "user", "content": [{"type": "image", "source": {}}]}]},
        {"messages": [{"role": "user", "content": [
            {"type": "tool_use", "id": "a", "name": "b", "input": {}}]}]},
        {"tools": [{"name": "a"}]},
        {"tool_choice": {"type": "tool"}},
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused(more: dict[str, Any]) -> None:
    with pytest.raises(BadBody):
        read(body(**more))


def test_anthropics_client_gathers_the_stream_to_the_whole(
    served: g.Served, client: anthropic.Anthropic
) -> None:
    ask = read(body())
    served.answer(g.streamed(MessagesReply(ask, g.envelope()), g.TALK), "text/event-stream")
    said: Any = [{"role": "user", "content": "Hi"}]
    with client.messages.stream(model="tiny", max_tokens=9, messages=said) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_message().to_dict()
    whole = json.loads(json.dumps(MessagesReply(ask, g.envelope()).whole(g.TALK)))
    for block in final["content"]:  # type: ignore[attr-defined]
        block.pop("parsed_output", None)
    final.pop("stop_details")  # the client's own
    assert final == Message.model_validate(whole, strict=True).to_dict() == whole
    assert whole["stop_reason"] == "tool_use"
    assert whole["usage"]["input_tokens"] + whole["usage"]["cache_read_input_tokens"] == 11
    assert kinds[0] == "message_start"
    assert kinds[-2:] == ["message_delta", "message_stop"]
    assert kinds.count("content_block_stop") == len(whole["content"]) == 4


def test_each_way_to_end(served: g.Served, client: anthropic.Anthropic) -> None:
    ask = read(body())

    def ended(**how: Any) -> Message:
        events = [Event("r", "a"), Event("r", usage=Usage(1, 1), **how)]
        whole = MessagesReply(ask, g.envelope()).whole(events)
        return Message.model_validate(whole, strict=True)

    stopped = ended(finish_reason="stop", stop="END")
    assert (stopped.stop_reason, stopped.stop_sequence) == ("stop_sequence", "END")
    assert ended(finish_reason="stop").stop_reason == "end_turn"
    assert ended(finish_reason="length").stop_reason == "max_tokens"
    reply = MessagesReply(ask, g.envelope())
    broken = reply.begin() + reply.fail(Failure("unavailable", "Too much at once."))
    served.answer(broken, "text/event-stream")
    said: Any = [{"role": "user", "content": "Hi"}]
    with (
        pytest.raises(anthropic.APIStatusError, match="Too much at once"),
        client.messages.stream(model="tiny", max_tokens=9, messages=said) as stream,
    ):
        stream.until_done()


@pytest.mark.parametrize("kind", STATUS)
def test_errors(served: g.Served, client: anthropic.Anthropic, kind: Any) -> None:
    failure = Failure(kind, "So it is.")
    told = error_json(failure, "req_1")
    served.answer(json.dumps(told).encode(), status=failure.status)
    with pytest.raises(anthropic.APIStatusError, match="So it is") as caught:
        client.models.retrieve("tiny")
    assert caught.value.body == told
    assert caught.value.type == told["error"]["type"]
    assert error_read(failure.status, told).kind == kind == error_read(None, told).kind


def test_models_and_counts(served: g.Served, client: anthropic.Anthropic) -> None:
    models = [model_json(f"m{number}", created=1_700_000_000, window=512) for number in range(5)]
    ModelInfo.model_validate_json(json.dumps(models[0]), strict=True)
    served.answer(json.dumps(models_json(models, limit=2)).encode())
    page = client.models.list(limit=2)
    assert ([one.id for one in page.data], page.has_more) == (["m0", "m1"], True)
    served.answer(json.dumps(models_json(models, limit=5, after_id=page.last_id)).encode())
    assert [one.id for one in page.get_next_page().data] == ["m2", "m3", "m4"]
    before = models_json(models, limit=2, before_id="m3")
    assert ([one["id"] for one in before["data"]], before["has_more"]) == (["m1", "m2"], True)
    for wrong in ({"limit": 0}, {"after_id": "x"}):
        with pytest.raises(BadBody):
            models_json(models, **wrong)  # type: ignore[arg-type]
    MessageTokensCount.model_validate(count_json(7), strict=True)
    counted = {name: FULL[name] for name in ("model", "messages", "system", "tools", "tool_choice")}
    ask = read_count(json.dumps(counted).encode())
    assert g.plain(ask)[1][0].messages == g.plain(read(json.dumps(FULL).encode()))[1][0].messages  # type: ignore[index]


ROOM = g.Room(frozenset({"temperature", "top_p", "top_k"}), logprobs=False)


@settings(max_examples=40)
@given(g.asks(ROOM))
def test_what_is_written_is_read(ask: Ask) -> None:
    assert g.plain(read(json.dumps(write(ask)).encode())) == g.plain(ask)


def test_max_tokens_must_be_said() -> None:
    with pytest.raises(Unsupported):
        write(read_count(body()))


@given(g.answers(), st.lists(st.integers(0, 9999), max_size=9))
def test_what_is_said_is_heard(events: list[Event], cuts: list[int]) -> None:
    ask = read(body())
    raw = g.streamed(MessagesReply(ask, g.envelope()), events)
    assert g.said(g.heard(MessagesReading("r"), raw, cuts)) == g.said(events)
    whole = json.loads(json.dumps(MessagesReply(ask, g.envelope()).whole(events)))
    Message.model_validate(whole, strict=True)
    assert g.said(MessagesReading("r").whole(whole)) == g.said(events)


def test_stops_and_errors_are_heard() -> None:
    ask = read(body())
    events = [Event("r", "a"), Event("r", finish_reason="stop", usage=Usage(1, 1), stop="END")]
    raw = g.streamed(MessagesReply(ask, g.envelope()), events)
    assert g.said(g.heard(MessagesReading("r"), raw)) == g.said(events)
    raw = MessagesReply(ask, g.envelope()).fail(Failure("not_found", "No such model."))
    with pytest.raises(NotFound, match="No such model"):
        list(MessagesReading().feed(raw))
    assert isinstance(error_of(error_read(404, None)), NotFound)
    assert g.spoken(*g.heard(MessagesReading(), b"")).finish_reason == "error"
    for wrong in (b"data: {oops\n\n", b'data: {"type":"content_block_delta"}\n\n'):
        with pytest.raises(LangwrightError, match="cannot be read"):
            list(MessagesReading().feed(wrong))


ANSWERS = g.messages_of(
    g.streamed(MessagesReply(read(body()), g.envelope()), g.TALK),
    MessagesReply(read(body()), g.envelope()).whole(g.TALK),
)


@given(g.spoilt(ANSWERS))
def test_spoilt_answers(raw: bytes) -> None:
    g.hears_or_refuses(MessagesReading, raw)


@given(g.spoilt(FULL))
def test_spoilt_bodies(raw: bytes) -> None:
    g.reads_or_refuses(read, raw)


def test_hostile_bodies() -> None:
    g.refuses_hostile_bodies(read, body())


def test_a_property_without_a_schema() -> None:
    """Refused by its name; a lenient server leaves the tools out."""
    schema = {"type": "object", "properties": {"place": "anywhere"}}
    body: dict[str, Any] = {
        "model": "m",
        "max_tokens": 5,
        "messages": [{"role": "user", "content": "Hi"}],
    }
    body["tools"] = [{"name": "look", "input_schema": schema}]
    raw = json.dumps(body).encode()
    with pytest.raises(BadBody, match=r"place.*anywhere") as error:
        read(raw)
    assert error.value.param == "tools.0.input_schema"
    ask = read(raw, lenient=True)
    assert ask.unheeded == ("tools",)
    assert not ask.request.tools
