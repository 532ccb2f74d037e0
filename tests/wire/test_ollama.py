"""Ollama's dialect, by the judgement of Ollama's own client."""

from __future__ import annotations

import json
import math
from typing import Any

import ollama
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langwright.backend import Event, Request, Sampling, Usage
from langwright.errors import LangwrightError, Unsupported
from langwright.wire.ask import Ask, EmbedAsk
from langwright.wire.body import BadBody
from langwright.wire.failure import STATUS, Failure
from langwright.wire.ollama import chat, embed, generate, models
from langwright.wire.ollama.errors import error_json, error_read
from langwright.wire.ollama.options import seconds
from langwright.wire.ollama.reading import OllamaReading
from langwright.wire.ollama.reply import ChatReply, GenerateReply

from . import given as g

FULL: dict[str, Any] = {
    "model": "tiny",
    "messages": [
        {"role": "System", "content": "Be brief."},
        {"role": "user", "content": "Look", "images": []},
        {"role": "assistant", "content": "I look.", "thinking": "hm", "tool_calls": [
            {"id": "c1", "function": {"index": 0, "name": "look", "arguments": {"at": "ö"}}},
            {"function": {"name": "count", "arguments": {}}},
        ]},
        {"role": "tool", "content": "sky", "tool_call_id": "c1"},
        {"role": "tool", "content": "3", "tool_name": "count"},
    ],
    "tools": g.TOOLS,
    "format": {"type": "object"},
    "options": {"temperature": 0.5, "top_k": 7, "top_p": 0.5, "min_p": 0.1, "num_predict": 99,
                "seed": 3, "stop": ["END"], "repeat_penalty": 1.25, "presence_penalty": 0.5,
                "frequency_penalty": 0.25, "num_ctx": 4096, "num_gpu": 1, "num_thread": 4},
    "keep_alive": "1h30m",
    "think": True,
    "logprobs": True,
    "top_logprobs": 2,
}  # fmt: skip


def body(**more: Any) -> bytes:
    return json.dumps({"model": "tiny", "prompt": "Hi", **more}).encode()


CHAT = json.dumps({"model": "tiny", "messages": [{"role": "user", "content": "Hi"}]}).encode()


@pytest.fixture(scope="module")
def client(served: g.Served) -> ollama.Client:
    return ollama.Client(served.url)


def test_a_call_with_everything() -> None:
    ask = chat.read(json.dumps(FULL).encode())
    request, how = ask.request, ask.request.sampling
    assert (ask.unheeded, ask.stream, ask.think) == ((), True, True)
    assert (ask.keep_alive, ask.num_ctx) == (5400.0, 4096)
    assert g.plain(ask)[1][0].messages == [  # type: ignore[index]
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Look"},
        {"role": "assistant", "content": "I look.", "reasoning_content": "hm", "tool_calls": [
            {"id": "c1", "type": "function",
             "function": {"name": "look", "arguments": {"at": "ö"}}},
            {"type": "function", "function": {"name": "count", "arguments": {}}},
        ]},
        {"role": "tool", "content": "sky", "tool_call_id": "c1"},
        {"role": "tool", "content": "3", "name": "count"},
    ]  # fmt: skip
    assert request.tools == g.TOOLS
    assert (request.max_tokens, request.stop, request.logprobs) == (99, ("END",), 2)
    assert how == Sampling(0.5, 7, 0.5, 3, 0.1, 1.25, 0.25, 0.5)


def test_the_defaults_are_ollamas() -> None:
    """api/types.go, DefaultOptions."""
    how = generate.read(body()).request.sampling
    assert how == Sampling(temperature=0.8, top_k=40, top_p=0.9, seed=None)
    assert generate.read(body()).request.max_tokens is None
    for until in (-1, -2):
        assert generate.read(body(options={"num_predict": until})).request.max_tokens is None
    assert generate.read(body(options={"seed": -1})).request.sampling.seed is None


def test_prompts_raw_and_told() -> None:
    told = generate.read(body(system="Be brief.", stream=False))
    assert told.request.messages == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
    ]
    assert not told.stream
    assert generate.read(body(raw=True)).request.text == "Hi"
    assert generate.read(body(prompt="", keep_alive=0)).requests == ()
    assert generate.read(body(prompt="", keep_alive=0)).keep_alive == 0
    assert chat.read(b'{"model": "tiny", "messages": []}').requests == ()


@pytest.mark.parametrize(
    ("text", "span"),
    [("5m", 300), ("1h30m", 5400), ("1.5s", 1.5), ("300ms", 0.3), ("0", 0), (7, 7), (0.5, 0.5),
     (-1, math.inf), ("-1m", math.inf), ("+2s", 2)],
)  # fmt: skip
def test_spans_of_time(text: str | float, span: float) -> None:
    """As Go's time.ParseDuration has them."""
    assert seconds(text) == pytest.approx(span)
    assert generate.read(body(keep_alive=text)).keep_alive == pytest.approx(span)


@pytest.mark.parametrize("wrong", ["", "5", "m", "5 m", "--5m", "1h-3m", "5x", "٥m", [], True])
def test_what_is_no_span(wrong: object) -> None:
    with pytest.raises(BadBody):
        generate.read(body(keep_alive=wrong))


@pytest.mark.parametrize(
    ("more", "names"),
    [
        ({"suffix": "x"}, ("suffix",)),
        ({"template": "x", "context": [1]}, ("template", "context")),
        ({"think": "high"}, ("think",)),
        ({"truncate": True, "shift": False}, ("truncate",)),
        ({"options": {"mirostat": 2, "num_keep": 3}}, ("options.mirostat",)),
        ({"options": {"repeat_penalty": 1.5, "repeat_last_n": 64}}, ("options.repeat_last_n",)),
        ({"options": {"repeat_last_n": 64}}, ()),
        ({"context": [], "suffix": "", "template": "", "format": ""}, ()),
    ],
)
def test_what_is_not_honoured_is_named(more: dict[str, Any], names: tuple[str, ...]) -> None:
    assert generate.read(body(**more)).unheeded == names


def test_what_cannot_be_read_is_refused() -> None:
    for more in ({"images": ["aGk="]}, {"raw": True, "system": "x"}, {"format": "xml"}):
        with pytest.raises(BadBody):
            generate.read(body(**more))
    with pytest.raises(BadBody, match=r"messages\.0\.images"):
        chat.read(
            b'{"model": "m", "messages": [{"role": "user", "content": "a", "images": ["a"]}]}'
        )


def test_ollamas_client_chats(served: g.Served, client: ollama.Client) -> None:
    ask = chat.read(json.dumps(FULL).encode())
    served.answer(g.streamed(ChatReply(ask, g.envelope()), g.TALK), "application/x-ndjson")
    parts = list(client.chat("tiny", [{"role": "user", "content": "Hi"}], stream=True))
    assert chat.read(served.asked[-1][1]).stream
    whole = ChatReply(ask, g.envelope()).whole(g.TALK)
    served.answer(json.dumps(whole).encode())
    one = client.chat("tiny", [{"role": "user", "content": "Hi"}])
    assert not chat.read(served.asked[-1][1]).stream
    assert one.message.content == "Hello wö" == "".join(p.message.content or "" for p in parts)
    assert one.message.thinking == "Let me see." == "".join(p.message.thinking or "" for p in parts)
    calls = [call for part in parts for call in part.message.tool_calls or ()]
    assert list(one.message.tool_calls or ()) == calls
    assert [call.function.name for call in calls] == ["look", "count"]
    raw = g.streamed(ChatReply(ask, g.envelope()), g.TALK)
    for lines in (raw.splitlines(), [json.dumps(whole)]):
        told_calls = [c for one in lines for c in json.loads(one)["message"].get("tool_calls", [])]
        assert [call["function"]["index"] for call in told_calls] == [0, 1]
    assert [part.done for part in parts] == [False] * 6 + [True]
    last = parts[-1]
    for told in (one, last):
        assert (told.prompt_eval_count, told.eval_count, told.done_reason) == (11, 7, "stop")
    assert one.logprobs is not None
    assert [token.token for token in one.logprobs] == ["Hel", "lo"]
    assert one.created_at is not None
    assert one.created_at.startswith("2023-11-14T22:13:2")


def test_durations() -> None:
    """Three seconds to the first word, two more to the end; five nanoseconds to load before."""
    now = [0]

    def clock() -> int:
        return now[0]

    for stream in (True, False):
        now[0] = 0
        reply = ChatReply(chat.read(CHAT), g.envelope(), clock=clock, load_ns=5)
        now[0] = 3 * 10**9
        for event in g.TALK:
            reply.feed(event)
        now[0] = 5 * 10**9
        last = json.loads(reply.end()) if stream else reply.whole(())
        assert (last["total_duration"], last["load_duration"]) == (5 * 10**9 + 5, 5)
        assert (last["prompt_eval_duration"], last["eval_duration"]) == (3 * 10**9, 2 * 10**9)
        assert last["created_at"] == "2023-11-14T22:13:25.000000Z"
    assert last["message"]["content"] == "Hello wö"
    reply = ChatReply(chat.read(CHAT), g.envelope(), clock=clock)
    assert "eval_duration" not in reply.whole(g.TALK)


def test_ollamas_client_generates(served: g.Served, client: ollama.Client) -> None:
    last = Event("r", usage=Usage(3, 2), finish_reason="length")
    events = [Event("r", "a", thought="hm"), Event("r", "b"), last]
    ask = generate.read(body())
    served.answer(g.streamed(GenerateReply(ask, g.envelope()), events), "application/x-ndjson")
    parts = list(client.generate("tiny", "Hi", stream=True))
    served.answer(json.dumps(GenerateReply(ask, g.envelope()).whole(events)).encode())
    one = client.generate("tiny", "Hi")
    assert one.response == "ab" == "".join(part.response or "" for part in parts)
    assert (one.thinking, one.done_reason, parts[-1].done_reason) == ("hm", "length", "length")
    served.answer(json.dumps(GenerateReply(ask, g.envelope()).loaded(unload=True)).encode())
    assert client.generate("tiny", "", keep_alive=0).done_reason == "unload"
    assert generate.read(served.asked[-1][1]).keep_alive == 0


def test_errors(served: g.Served, client: ollama.Client) -> None:
    for kind in STATUS:
        failure = Failure(kind, "So it is.")
        served.answer(json.dumps(error_json(failure)).encode(), status=failure.status)
        with pytest.raises(ollama.ResponseError, match="So it is") as caught:
            client.chat("tiny")
        assert caught.value.status_code == failure.status
        assert error_read(failure.status, error_json(failure)) == failure
    reply = ChatReply(chat.read(CHAT), g.envelope())
    raw = reply.begin() + reply.feed(Event("r", "a")) + reply.fail(Failure("internal", "Broken."))
    served.answer(raw, "application/x-ndjson")
    with pytest.raises(ollama.ResponseError, match="Broken"):
        list(client.chat("tiny", stream=True))
    with pytest.raises(LangwrightError, match="Broken"):
        list(OllamaReading().feed(raw))
    failed = [Event("r", "a"), Event("r", finish_reason="error", error="It is ill.")]
    with pytest.raises(LangwrightError, match="It is ill"):
        g.heard(OllamaReading(), g.streamed(ChatReply(chat.read(CHAT), g.envelope()), failed))
    assert g.spoken(*g.heard(OllamaReading(), b"")).finish_reason == "error"
    for wrong in (b"{oops\n", b"[]\n", b"{}\n"):
        with pytest.raises(LangwrightError, match="cannot be read"):
            list(OllamaReading().feed(wrong))


def test_embeddings(served: g.Served, client: ollama.Client) -> None:
    served.answer(json.dumps(embed.embed_json("tiny", [[3, 4], [0, 0]], prompt_tokens=5)).encode())
    told = client.embed("tiny", ["a", "b"], truncate=False)
    assert [list(one) for one in told.embeddings] == [[0.6, 0.8], [0, 0]]
    ask = embed.read(served.asked[-1][1])
    assert (ask.texts, ask.truncate, ask.unheeded) == (("a", "b"), False, ())
    served.answer(json.dumps(embed.embeddings_json([3, 4])).encode())
    assert list(client.embeddings("tiny", "a").embedding) == [3, 4]
    assert embed.read_older(served.asked[-1][1]).texts == ("a",)
    assert embed.read(b'{"model": "m", "input": "a", "dimensions": 8}').unheeded == ("dimensions",)
    assert embed.read(b'{"model": "m", "input": "a"}').truncate
    asked = EmbedAsk("m", ("a", "b"))
    assert embed.read(json.dumps(embed.write(asked)).encode()).texts == asked.texts
    assert embed.embeddings_read(embed.embed_json("m", [[1.0]]), 1) == [[1.0]]
    with pytest.raises(LangwrightError, match="1 vectors for 2"):
        embed.embeddings_read(embed.embed_json("m", [[1.0]]), 2)


def test_calls_about_models(served: g.Served, client: ollama.Client) -> None:
    tiny = models.Described("tiny", "sha256:ab", 1234, 1_700_000_000, family="qwen3", window=512)
    served.answer(json.dumps(models.tags_json([tiny])).encode())
    (listed,) = client.list().models
    assert (listed.model, listed.size, listed.digest) == ("tiny", 1234, "sha256:ab")
    assert listed.modified_at is not None
    assert listed.modified_at.timestamp() == 1_700_000_000
    served.answer(json.dumps(models.ps_json([(tiny, 1_700_000_300, 7), (tiny, None, 0)])).encode())
    first, forever = client.ps().models
    assert (first.size_vram, first.context_length) == (7, 512)
    assert first.expires_at is not None
    assert forever.expires_at is not None
    assert forever.expires_at > first.expires_at
    info = {"general.architecture": "qwen3"}
    served.answer(json.dumps(models.show_json(tiny, info=info, template="{{ x }}")).encode())
    shown = client.show("tiny")
    assert (shown.template, shown.modelinfo, shown.capabilities) == (
        "{{ x }}",
        info,
        ["completion"],
    )
    assert models.read_named(served.asked[-1][1]).model == "tiny"
    lines = models.progress("pulling", digest="sha256:ab", total=9, completed=3)
    served.answer(lines + models.progress("success"), "application/x-ndjson")
    pulling, done = client.pull("tiny", stream=True)
    assert (pulling.digest, pulling.total, pulling.completed) == ("sha256:ab", 9, 3)
    assert (done.status, done.total) == ("success", None)
    assert models.read_named(served.asked[-1][1]) == models.Named("tiny", True, ())
    served.answer(b"{}")
    client.copy("tiny", "other")
    assert models.read_copy(served.asked[-1][1]) == models.Copy("tiny", "other", ())
    served.answer(b"{}")
    client.delete("tiny")
    assert models.read_named(served.asked[-1][1]).model == "tiny"
    served.answer(models.progress("success"))
    client.create("mine", from_="tiny", system="Be brief.", parameters={"seed": 3})
    made = models.read_create(served.asked[-1][1])
    assert (made.model, made.stream, made.body.origin) == ("mine", False, "tiny")
    assert (made.body.system, made.body.parameters, made.unheeded) == ("Be brief.", {"seed": 3}, ())
    assert models.read_named(b'{"name": "old"}').model == "old"
    assert models.version_json("1.2") == {"version": "1.2"}
    for read in (models.read_named, models.read_create, models.read_copy):
        with pytest.raises(BadBody):
            read(b"{}")


SETTINGS = frozenset(
    {"temperature", "top_p", "top_k", "min_p", "seed", "presence_penalty", "frequency_penalty",
     "repetition_penalty"}
)  # fmt: skip
ROOM = g.Room(SETTINGS, choice=False)


@settings(max_examples=40)
@given(g.asks(ROOM))
def test_what_is_written_is_read(ask: Ask) -> None:
    assert g.plain(chat.read(json.dumps(chat.write(ask)).encode())) == g.plain(ask)


def test_a_text_that_is_written_is_read() -> None:
    ask = Ask("tiny", (Request(text="Hi", max_tokens=3, stop=("a",)),), stream=True)
    assert g.plain(generate.read(json.dumps(generate.write(ask)).encode())) == g.plain(ask)
    with pytest.raises(Unsupported):
        generate.write(chat.read(CHAT))


@given(g.answers(), st.lists(st.integers(0, 9999), max_size=9))
def test_what_is_said_is_heard(events: list[Event], cuts: list[int]) -> None:
    ask = chat.read(CHAT)
    raw = g.streamed(ChatReply(ask, g.envelope()), events)
    said = g.said(events, cached=False)
    assert g.said(g.heard(OllamaReading("r"), raw, cuts)) == said
    whole = json.loads(json.dumps(ChatReply(ask, g.envelope()).whole(events)))
    ollama.ChatResponse.model_validate(whole, strict=True)
    assert g.said(OllamaReading("r").whole(whole)) == said
    spoken = [one for one in events if not one.calls]
    raw = g.streamed(GenerateReply(ask, g.envelope()), spoken)
    assert g.said(g.heard(OllamaReading("r"), raw, cuts)) == g.said(spoken, cached=False)


def test_calls_without_ids_get_some() -> None:
    """As older servers tell them."""
    call = {"function": {"name": "look", "arguments": {}}}
    told = {"message": {"role": "assistant", "content": "", "tool_calls": [call, call]}}
    one = g.spoken(*OllamaReading().whole({**told, "done": True}))
    assert len({made.id for made in one.calls}) == 2


ANSWERS = g.messages_of(
    g.streamed(ChatReply(chat.read(CHAT), g.envelope()), g.TALK),
    ChatReply(chat.read(CHAT), g.envelope()).whole(g.TALK),
)


@given(g.spoilt(ANSWERS))
def test_spoilt_answers(raw: bytes) -> None:
    g.hears_or_refuses(OllamaReading, raw, framed=False)


@given(g.spoilt(FULL))
def test_spoilt_bodies(raw: bytes) -> None:
    g.reads_or_refuses(chat.read, raw)


def test_hostile_bodies() -> None:
    g.refuses_hostile_bodies(generate.read, body())
    g.refuses_hostile_bodies(chat.read, CHAT)
    g.refuses_hostile_bodies(embed.read, b'{"model": "m", "input": "a"}')
    g.refuses_hostile_bodies(models.read_create, b'{"model": "m"}')
