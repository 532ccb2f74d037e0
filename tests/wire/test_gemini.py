"""Gemini's dialect, by the judgement of Google's own client."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import jsonschema
import pytest
from google import genai
from google.genai import errors, types
from hypothesis import given, settings
from hypothesis import strategies as st

from langwright.backend import Constraint, Event, Sampling, Usage
from langwright.errors import LangwrightError
from langwright.wire.ask import Ask, EmbedAsk
from langwright.wire.body import BadBody
from langwright.wire.failure import STATUS, Failure
from langwright.wire.gemini import embed, generate, models
from langwright.wire.gemini.errors import error_json, error_read
from langwright.wire.gemini.generate import GeminiAsk, write
from langwright.wire.gemini.reading import GeminiReading
from langwright.wire.gemini.reply import GeminiReply
from langwright.wire.gemini.schema import json_schema
from langwright.wire.whole import total_usage, wholes

from . import given as g

FULL: dict[str, Any] = {
    "systemInstruction": {"parts": [{"text": "Be brief."}]},
    "contents": [
        {"role": "user", "parts": [{"text": "Lo"}, {"text": "ok"}]},
        {"role": "model", "parts": [
            {"text": "hm", "thought": True},
            {"text": "I look."},
            {"functionCall": {"id": "c1", "name": "look", "args": {"at": "ö"}},
             "thoughtSignature": "cw=="},
            {"functionCall": {"name": "count"}},
        ]},
        {"role": "user", "parts": [
            {"functionResponse": {"id": "c1", "name": "look", "response": {"output": "sky"}}},
            {"functionResponse": {"name": "count", "response": {"n": 3}}},
            {"text": "Go on."},
        ]},
    ],
    "tools": [{"functionDeclarations": [
        {"name": "look", "description": "It does.",
         "parameters": {"type": "OBJECT", "properties": {"at": {"type": "STRING"}}}},
        {"name": "count", "description": "It does.", "parametersJsonSchema":
            g.TOOLS[1]["function"]["parameters"]},  # type: ignore[index]
    ]}],
    "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["count"]}},
    "generationConfig": {
        "temperature": 0.5, "topP": 0.5, "topK": 7, "candidateCount": 2, "maxOutputTokens": 99,
        "stopSequences": ["END"], "seed": 3, "presencePenalty": 0.5, "frequencyPenalty": 0.25,
        "responseLogprobs": True, "logprobs": 2, "responseMimeType": "application/json",
        "responseSchema": {"type": "ARRAY", "items": {"type": "INTEGER"}, "minItems": "2"},
        "thinkingConfig": {"includeThoughts": True, "thinkingBudget": 0},
    },
    "safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}],
}  # fmt: skip


def snake(given: Any) -> Any:
    """The same with names in snake_case, but for those of properties and arguments."""
    if isinstance(given, list):
        return [snake(one) for one in given]
    if not isinstance(given, dict):
        return given
    return {
        "".join(f"_{c.lower()}" if c.isupper() else c for c in name): snake(one)
        for name, one in given.items()
    }


def body(**more: Any) -> bytes:
    return json.dumps({"contents": [{"parts": [{"text": "Hi"}]}], **more}).encode()


def read(raw: bytes, *, lenient: bool = False) -> GeminiAsk:
    return generate.read(raw, model="tiny", lenient=lenient)


@pytest.fixture(scope="module")
def client(served: g.Served) -> genai.Client:
    return genai.Client(api_key="k", http_options=types.HttpOptions(base_url=served.url))


def test_a_call_with_everything() -> None:
    ask = read(json.dumps(FULL).encode())
    request = ask.request
    assert (ask.unheeded, ask.think, ask.thoughts) == ((), False, True)
    assert g.plain(ask)[1][0].messages == [  # type: ignore[index]
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Look"},
        {"role": "assistant", "content": "I look.", "reasoning_content": "hm", "tool_calls": [
            {"id": "c1", "type": "function",
             "function": {"name": "look", "arguments": {"at": "ö"}}},
            {"type": "function", "function": {"name": "count", "arguments": {}}},
        ]},
        {"role": "tool", "content": "sky", "tool_call_id": "c1"},
        {"role": "tool", "content": '{"n":3}', "name": "count"},
        {"role": "user", "content": "Go on."},
    ]  # fmt: skip
    assert request.tools == g.TOOLS
    assert (request.tool_choice, request.max_tokens, request.n) == ("count", 99, 2)
    assert (request.stop, request.logprobs) == (("END",), 2)
    assert request.sampling == Sampling(0.5, 7, 0.5, 3, 0.0, 1.0, 0.25, 0.5)
    schema = {"type": "array", "items": {"type": "integer"}, "minItems": 2}
    assert request.constraint == Constraint(json_schema=schema)


def test_names_in_snake_case_mean_the_same() -> None:
    ask = read(json.dumps(FULL).encode())
    assert g.plain(read(json.dumps(snake(FULL)).encode())) == g.plain(ask)
    odd = body(generation_config={"media_resolution": "LOW", "top_k": 1})
    assert read(odd).unheeded == ("generationConfig.mediaResolution",)
    wrong = body(generation_config={"top_k": "many"}, tools=7)
    assert set(read(wrong, lenient=True).unheeded) == {"generation_config", "tools"}


@pytest.mark.parametrize(
    ("more", "names"),
    [
        ({"cachedContent": "c"}, ("cachedContent",)),
        ({"tools": [{"googleSearch": {}}]}, ("tools.0.googleSearch",)),
        ({"safetySettings": [{"threshold": "BLOCK_LOW_AND_ABOVE"}]},
         ("safetySettings.0.threshold",)),
        ({"generationConfig": {"thinkingConfig": {"thinkingBudget": 99}}},
         ("generationConfig.thinkingConfig.thinkingBudget",)),
        ({"generationConfig": {"responseModalities": ["AUDIO"]}},
         ("generationConfig.responseModalities",)),
        ({"generationConfig": {"responseModalities": ["TEXT"]}, "labels": {"a": "b"}}, ()),
    ],
)  # fmt: skip
def test_what_is_not_honoured_is_named(more: dict[str, Any], names: tuple[str, ...]) -> None:
    assert read(body(**more)).unheeded == names


@pytest.mark.parametrize(
    "more",
    [
        {"contents": []},
        {"contents": [{"parts": [{"inlineData": {"mimeType": "image/png", "data": "aa"}}]}]},
        {"contents": [{"parts": [{}]}]},
        {"contents": [{"role": "user", "parts": [{"functionCall": {"name": "a"}}]}]},
        {"generationConfig": {"responseSchema": {"type": "STRING"}}},
        {"generationConfig": {"responseMimeType": "text/html"}},
        {"generationConfig": {"logprobs": 2}},
        {"generationConfig": {"topK": 2.5}},
        {"toolConfig": {"functionCallingConfig": {"mode": "ANY"}}},
        {"tools": FULL["tools"], "toolConfig": {"functionCallingConfig": {
            "mode": "ANY", "allowedFunctionNames": ["fly"]}}},
        {"tools": FULL["tools"], "toolConfig": {"functionCallingConfig": {
            "mode": "AUTO", "allowedFunctionNames": ["look"]}}},
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused(more: dict[str, Any]) -> None:
    with pytest.raises(BadBody):
        read(body(**more))


def test_schemas_are_json_schemas() -> None:
    theirs = {
        "type": "OBJECT",
        "nullable": True,
        "properties": {
            "b": {"type": "STRING", "enum": ["x"], "nullable": True},
            "a": {"any_of": [{"type": "NUMBER"}, {"type": "BOOLEAN"}]},
            "type": {"type": "STRING", "maxLength": "2"},
        },
        "required": ["a", "b"],
        "propertyOrdering": ["a", "b"],
    }
    own = json_schema(theirs)
    check = jsonschema.Draft202012Validator(own)
    jsonschema.Draft202012Validator.check_schema(own)
    for good in (None, {"a": 1, "b": "x"}, {"a": True, "b": None, "type": "ab"}):
        assert check.is_valid(good)
    long = {"a": 1, "b": "x", "type": "abc"}
    for bad in ({"a": 1}, {"a": "1", "b": "x"}, {"a": 1, "b": "y"}, long):
        assert not check.is_valid(bad)
    assert list(own["anyOf"][0]["properties"]) == ["a", "b", "type"]


def test_only_what_may_be_called_is_told() -> None:
    config = {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["look", "count"]}}
    third = {"functionDeclarations": [{"name": "fly"}]}
    asked = {"tools": [*FULL["tools"], third], "toolConfig": config}
    request = read(body(**asked)).request
    assert (request.tools, request.tool_choice) == (g.TOOLS, "required")
    enum = {"responseMimeType": "text/x.enum", "responseSchema": {"enum": ["yes", "no"]}}
    assert read(body(generationConfig=enum)).request.constraint == Constraint(choice=("yes", "no"))


def test_googles_client_asks_and_hears(served: g.Served, client: genai.Client) -> None:
    """What the client itself sends is understood, and what it hears is what was said."""
    config = types.GenerateContentConfig(
        system_instruction="Be brief.",
        temperature=0.5,
        top_k=7,
        max_output_tokens=99,
        response_logprobs=True,
        logprobs=2,
        tools=[types.Tool(function_declarations=[types.FunctionDeclaration(
            name="look", parameters=types.Schema(type=types.Type.OBJECT, properties={
                "at": types.Schema(type=types.Type.STRING)}))])],
        thinking_config=types.ThinkingConfig(include_thoughts=True),
    )  # fmt: skip
    reply = GeminiReply(read(json.dumps(FULL).encode()), g.envelope())
    whole = reply.whole(g.TALK)
    served.answer(json.dumps(whole).encode())
    one = client.models.generate_content(model="tiny", contents="Hi", config=config)
    path, raw = served.asked[-1]
    assert path.endswith("/models/tiny:generateContent")
    ask = read(raw)
    assert ask.unheeded == ()
    assert ask.request.messages == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
    ]
    assert (ask.request.sampling.top_k, ask.request.logprobs) == (7, 2)
    assert ask.request.tools is not None
    assert ask.request.tools[0]["function"]["parameters"]["type"] == "object"

    served.answer(g.streamed(reply, g.TALK), reply.media_type)
    chunks = list(client.models.generate_content_stream(model="tiny", contents="Hi"))
    assert "alt=sse" in served.asked[-1][0]

    def parts(*told: types.GenerateContentResponse) -> tuple[str, str, list[Any]]:
        text, thought, calls = "", "", []
        for answer in told:
            assert answer.candidates is not None
            for candidate in answer.candidates:
                assert candidate.content is not None
                for part in candidate.content.parts or []:
                    if part.thought:
                        thought += part.text or ""
                    else:
                        text += part.text or ""
                    if part.function_call:
                        calls.append((part.function_call.name, part.function_call.args))
        return text, thought, calls

    calls = [("look", {"at": "sky", "far": 3}), ("count", {})]
    assert parts(one) == parts(*chunks) == ("Hello wö", "Let me see.", calls)
    for told in (one, chunks[-1]):
        assert told.candidates is not None
        assert told.candidates[0].finish_reason is types.FinishReason.STOP
        assert told.usage_metadata is not None
        assert told.usage_metadata.total_token_count == 18
        assert told.usage_metadata.cached_content_token_count == 4
    assert one.candidates is not None
    result = one.candidates[0].logprobs_result
    assert result is not None
    assert [it.token for it in result.chosen_candidates or []] == ["Hel", "lo"]
    assert one.candidates[0].avg_logprobs == -0.375
    types.GenerateContentResponse.model_validate_json(json.dumps(whole))


def test_the_stream_as_an_array_holds_the_same_chunks() -> None:
    ask = read(body())
    array = g.streamed(GeminiReply(ask, g.envelope(), array=True), g.TALK)
    lines = g.streamed(GeminiReply(ask, g.envelope()), g.TALK).decode().splitlines()
    assert json.loads(array) == [json.loads(one[6:]) for one in lines if one]
    reply = GeminiReply(ask, g.envelope(), array=True)
    told = reply.begin() + reply.feed(Event("r", "a")) + reply.fail(Failure("internal", "No."))
    assert [*json.loads(told)[1]] == ["error"]
    assert json.loads(GeminiReply(ask, g.envelope(), array=True).end()) == []


def test_thoughts_are_told_where_they_are_asked_for() -> None:
    whole = GeminiReply(read(body()), g.envelope()).whole(g.TALK)
    assert not any("thought" in part for part in whole["candidates"][0]["content"]["parts"])


def test_errors(served: g.Served, client: genai.Client) -> None:
    for kind in STATUS:
        failure = Failure(kind, "So it is.")
        served.answer(json.dumps(error_json(failure)).encode(), status=failure.status)
        with pytest.raises(errors.APIError, match="So it is") as caught:
            client.models.get(model="tiny")
        assert (caught.value.code, caught.value.message) == (failure.status, "So it is.")
        assert error_read(500, error_json(failure)) == failure
    reply = GeminiReply(read(body()), g.envelope())
    raw = reply.begin() + reply.feed(Event("r", "a")) + reply.fail(Failure("internal", "Broken."))
    served.answer(raw, reply.media_type)
    with pytest.raises(errors.APIError, match="Broken"):
        list(client.models.generate_content_stream(model="tiny", contents="Hi"))
    with pytest.raises(LangwrightError, match="Broken"):
        list(GeminiReading().feed(raw))
    failed = [Event("r", "a"), Event("r", finish_reason="error", error="It is ill.")]
    with pytest.raises(LangwrightError, match="It is ill"):
        g.heard(GeminiReading(), g.streamed(GeminiReply(read(body()), g.envelope()), failed))
    assert g.spoken(*g.heard(GeminiReading(), b"")).finish_reason == "error"
    thinks = {"promptTokenCount": 3, "candidatesTokenCount": 2, "thoughtsTokenCount": 5}
    assert g.spoken(*GeminiReading().whole({"usageMetadata": thinks})).usage == Usage(3, 7)
    blocked = {"promptFeedback": {"blockReason": "SAFETY"}}
    assert g.spoken(*GeminiReading().whole(blocked)).error == "The prompt was blocked: SAFETY."
    for wrong in (b"data: {oops\n\n", b"data: []\n\n", b'data: {"candidates": [3]}\n\n'):
        with pytest.raises(LangwrightError, match="cannot be read"):
            list(GeminiReading().feed(wrong))


def test_models_counts_and_embeddings(served: g.Served, client: genai.Client) -> None:
    known = [models.model_json(f"m{number}", window=512) for number in range(3)]
    served.answer(json.dumps(models.models_json(known, page_size=2)).encode())
    served.answer(json.dumps(models.models_json(known, page_size=2, page_token="2")).encode())
    listed = list(client.models.list(config={"page_size": 2}))
    assert [one.name for one in listed] == ["models/m0", "models/m1", "models/m2"]
    assert "pageToken=2" in served.asked[-1][0]
    served.answer(json.dumps(known[0]).encode())
    assert client.models.get(model="m0").input_token_limit == 512
    for wrong in ({"page_token": "x"}, {"page_token": "9"}, {"page_size": -1}):
        with pytest.raises(BadBody):
            models.models_json(known, **wrong)  # type: ignore[arg-type]
    served.answer(json.dumps(generate.count_json(7)).encode())
    assert client.models.count_tokens(model="tiny", contents="Hi").total_tokens == 7
    asked = generate.read_count(served.asked[-1][1], model="tiny")
    assert asked.request.messages == [{"role": "user", "content": "Hi"}]
    full = json.dumps({"generateContentRequest": {"model": "models/tiny", **FULL}}).encode()
    counted = generate.read_count(full, model="tiny")
    assert g.plain(counted) == g.plain(read(json.dumps(FULL).encode()))
    with pytest.raises(BadBody):
        generate.read_count(b"{}", model="tiny")
    served.answer(json.dumps(embed.batch_json([[0.5, 1], [2, 3]])).encode())
    vectors = client.models.embed_content(model="tiny", contents=["a", "b"]).embeddings
    assert [one.values for one in vectors or []] == [[0.5, 1], [2, 3]]
    path, raw = served.asked[-1]
    assert path.endswith(":batchEmbedContents")
    assert embed.read_batch(raw, model="tiny") == EmbedAsk("tiny", ("a", "b"))
    one = json.dumps({"content": {"parts": [{"text": "a"}]}, "taskType": "X"}).encode()
    assert embed.read(one, model="m") == EmbedAsk("m", ("a",), unheeded=("taskType",))
    assert embed.embed_json([1]) == {"embedding": {"values": [1]}}
    written = json.dumps(embed.write(EmbedAsk("m", ("a", "b")))).encode()
    assert embed.read_batch(written, model="m").texts == ("a", "b")
    assert embed.batch_read(embed.batch_json([[1.0]]), 1) == [[1.0]]
    with pytest.raises(LangwrightError, match="1 vectors for 2"):
        embed.batch_read(embed.batch_json([[1.0]]), 2)


ROOM = g.Room(
    frozenset({"temperature", "top_p", "top_k", "seed", "presence_penalty", "frequency_penalty"})
)


@settings(max_examples=40)
@given(g.asks(ROOM))
def test_what_is_written_is_read(ask: Ask) -> None:
    raw = json.dumps(write(ask)).encode()
    told = generate.read(raw, model="tiny", stream=ask.stream)
    assert g.plain(told) == g.plain(ask)


@given(g.answers(), st.lists(st.integers(0, 9999), max_size=9))
def test_what_is_said_is_heard(events: list[Event], cuts: list[int]) -> None:
    ask = replace(read(body()), thoughts=True)
    raw = g.streamed(GeminiReply(ask, g.envelope()), events)
    assert g.said(g.heard(GeminiReading("r"), raw, cuts)) == g.said(events)
    whole = json.loads(json.dumps(GeminiReply(ask, g.envelope()).whole(events)))
    types.GenerateContentResponse.model_validate(whole)
    assert g.said(GeminiReading("r").whole(whole)) == g.said(events)


def test_several_candidates_are_kept_apart() -> None:
    events = [
        Event("r", "a"),
        Event("r", "b", index=1),
        Event("r", index=1, finish_reason="length", usage=Usage(5, 2)),
        Event("r", finish_reason="stop", usage=Usage(5, 3)),
    ]
    ask = read(body())
    raw = g.streamed(GeminiReply(ask, g.envelope()), events)
    for heard in (
        g.heard(GeminiReading("r"), raw),
        GeminiReading("r").whole(GeminiReply(ask, g.envelope()).whole(events)),
    ):
        answers = wholes(heard)
        assert answers["r", 0].text == "a"
        assert answers["r", 1].text == "b"
        assert answers["r", 1].finish_reason == "length"
        assert total_usage(answers.values()) == Usage(5, 5)


ANSWERS = g.messages_of(
    g.streamed(GeminiReply(read(body()), g.envelope()), g.TALK),
    GeminiReply(read(body()), g.envelope()).whole(g.TALK),
)


@given(g.spoilt(ANSWERS))
def test_spoilt_answers(raw: bytes) -> None:
    g.hears_or_refuses(GeminiReading, raw)


@given(g.spoilt(FULL))
def test_spoilt_bodies(raw: bytes) -> None:
    g.reads_or_refuses(read, raw)


def test_hostile_bodies() -> None:
    g.refuses_hostile_bodies(read, body())
    one = json.dumps({"content": {"parts": [{"text": "a"}]}}).encode()
    g.refuses_hostile_bodies(lambda raw, lenient: embed.read(raw, model="m", lenient=lenient), one)
