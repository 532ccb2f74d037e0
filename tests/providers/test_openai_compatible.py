"""A model at an address: llama.cpp's own server with a tiny model, and a small server for the
statuses that a real one gives only on bad days."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest

import langwright as lw
from langwright.backend import Backend, Event, Request, Sampling, ToolCall
from langwright.errors import (
    BadInput,
    BadSettings,
    Busy,
    LangwrightError,
    NetworkMissing,
    NotFound,
    Unsupported,
)
from langwright.inference import Engine
from langwright.model import ModelBundle
from langwright.model.gguf_write import save_gguf
from langwright.providers.openai_compatible import OpenAICompatible

KEY = "sesame"


@pytest.fixture(scope="module")
def own(make_model: Callable[..., ModelBundle]) -> ModelBundle:
    return make_model(3, hidden_size=64, context_length=256)


@pytest.fixture(scope="module")
def address(own: ModelBundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """llama.cpp's server with this model and a key."""
    xllamacpp = pytest.importorskip("xllamacpp")
    path = tmp_path_factory.mktemp("served") / "tiny.gguf"
    save_gguf(path, own)
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(path)
    parameters.model_alias = {"tiny"}
    parameters.n_ctx, parameters.n_parallel = 512, 2
    parameters.warmup = parameters.fit_params = False
    parameters.verbosity = -1
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = 1
    parameters.api_keys = [KEY]
    parameters.embedding = True
    parameters.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    server = xllamacpp.Server(parameters)
    yield f"{server.listening_address}/v1"
    del server


@pytest.fixture
def theirs(address: str, monkeypatch: pytest.MonkeyPatch) -> OpenAICompatible:
    monkeypatch.setenv("LANGWRIGHT_API_KEY", KEY)
    return OpenAICompatible(address)


def said(backend: Backend, *requests: Request) -> dict[tuple[str, int], tuple[str, Event]]:
    found: dict[tuple[str, int], tuple[str, Event]] = {}
    for event in backend.generate(requests):
        key = event.request_id, event.index
        found[key] = found.get(key, ("", event))[0] + event.text, event
    return found


def test_answers_are_the_own_engines(theirs: OpenAICompatible, own: ModelBundle) -> None:
    assert isinstance(theirs, Backend)
    assert theirs.model == "tiny"
    assert theirs.tokenize("the quick fox") == own.tokenizer.encode("the quick fox")
    ids = own.tokenizer.encode("the lazy dog")
    # Letters alone, since what is no UTF-8 the server puts together otherwise.
    letters = {own.tokenizer.encode(one)[0]: 50.0 for one in "abcdefghijklmnopqrstuvwxyz "}
    greedy = Sampling(temperature=0, logit_bias=letters)
    fox = [{"role": "user", "content": "fox"}]
    requests = [
        Request(text="the quick", max_tokens=9, sampling=greedy, id="text"),
        Request(token_ids=ids, max_tokens=9, sampling=greedy, id="ids"),
        Request(messages=fox, max_tokens=9, sampling=greedy, id="chat"),
    ]
    found, ours = said(theirs, *requests), said(Engine(own), *requests)
    assert found.keys() == ours.keys()
    for key, (_, last) in ours.items():
        there = found[key][1]
        assert there.finish_reason == last.finish_reason
        assert there.usage is not None
        assert last.usage is not None
        assert there.usage.completion_tokens == last.usage.completion_tokens
        # In chat it renders the template itself, and puts a token of its own for bos_token.
        if key[0] != "chat":
            assert there.usage.prompt_tokens == last.usage.prompt_tokens
            assert found[key][0] == ours[key][0]


def test_seed_n_stop_bias_deadline_and_abort(theirs: OpenAICompatible) -> None:
    letter = theirs.tokenize("a")[0]
    biased = Sampling(temperature=0, logit_bias={letter: 100.0})
    ((text, last),) = said(theirs, Request(text="the", max_tokens=7, sampling=biased)).values()
    assert (text, last.finish_reason) == ("aaaaaaa", "length")
    ((text, last),) = said(
        theirs, Request(text="the", max_tokens=7, sampling=biased, stop=("aaa",))
    ).values()
    assert (text, last.finish_reason) == ("", "stop")
    warm = Sampling(temperature=1, seed=7)
    twice = Request(text="the", max_tokens=12, sampling=warm, n=2, id="twice")
    alone = Request(text="the", max_tokens=12, sampling=Sampling(temperature=1, seed=8), id="alone")
    found = said(theirs, twice, alone)
    assert found["twice", 0][0] != found["twice", 1][0] == found["alone", 0][0]

    long = Request(text="the", max_tokens=200, sampling=biased, id="long")
    events = []
    for event in theirs.generate([long]):
        events.append(event)
        if len(events) == 2:
            theirs.abort("long")
    assert events[-1].finish_reason == "abort"
    assert events[-1].usage is not None
    assert events[-1].usage.completion_tokens < 200
    ((_, last),) = said(theirs, Request(text="the", max_tokens=9, deadline_s=1e-4)).values()
    assert last.finish_reason == "deadline"


def test_embeddings_come_in_the_order_of_the_texts(theirs: OpenAICompatible) -> None:
    one, other, again = theirs.embed(["the quick fox", "dog", "the quick fox"])
    assert len(one) == 64
    assert one == pytest.approx(again, abs=1e-4)
    assert one != pytest.approx(other, abs=1e-2)
    assert theirs.embed([]) == []


def test_the_servers_own_refusals(
    address: str, theirs: OpenAICompatible, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BadInput, match="context"):
        said(theirs, Request(token_ids=[70] * 400, max_tokens=9))
    with pytest.raises(NotFound, match="no model 'other'") as unknown:
        OpenAICompatible(f"{address}#other")
    assert "tiny" in unknown.value.remedy
    monkeypatch.delenv("LANGWRIGHT_API_KEY")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)  # which goes to OpenAI alone
    with pytest.raises(BadSettings, match=r"(?i)api key") as refused:
        said(OpenAICompatible(f"{address}#tiny"), Request(text="the", max_tokens=1))
    assert "LANGWRIGHT_API_KEY" in refused.value.remedy


def test_by_name(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGWRIGHT_API_KEY", KEY)
    model = lw.load(f"{address}#tiny")
    assert model.name == f"{address}#tiny"
    assert model.chat("fox", max_tokens=3, temperature=0).usage.completion_tokens <= 3
    with pytest.raises(Unsupported):
        model.score("the fox")
    with pytest.raises(BadInput, match="server's affair"):
        lw.load(f"{address}#tiny", dtype="int8")
    with pytest.raises(Unsupported, match="own files"):
        lw.describe(f"{address}#tiny")


@pytest.mark.parametrize(
    "request_",
    [
        Request(text="a", max_tokens=1, sampling=Sampling(top_k=3)),
        Request(text="a", max_tokens=1, sampling=Sampling(repetition_penalty=1.2)),
        Request(text="a", max_tokens=1, logprobs=1),
        Request(text="a", max_tokens=1, stop=tuple("abcde")),
        Request(text="a", max_tokens=1, sampling=Sampling(logit_bias={1: 1000})),
        Request(text="a"),
    ],
)
def test_what_the_format_has_no_room_for_is_refused(
    theirs: OpenAICompatible, request_: Request
) -> None:
    with pytest.raises(Unsupported):
        said(theirs, request_)


A = {"text": "a"}


def _stream(*chunks: object) -> bytes:
    return b"".join(f"data: {json.dumps(chunk)}\n\n".encode() for chunk in chunks)


class BadDays(BaseHTTPRequestHandler):
    """Answers every POST as `answers` says for the model that is asked for."""

    answers: ClassVar[dict[str, tuple[int, dict[str, str], bytes]]] = {
        "busy": (429, {"Retry-After": "7"}, b'{"error": {"message": "Rate limit"}}'),
        "gone": (404, {}, b'{"error": {"message": "model gone", "code": "model_not_found"}}'),
        "ill": (500, {}, b"<html>oops</html>"),
        "breaks": (200, {}, _stream({"choices": [A]}, {"error": {"message": "out of memory"}})),
        "silent": (200, {}, _stream({"choices": [A]})),
        "filtered": (200, {}, _stream({"choices": [A | {"finish_reason": "content_filter"}]})),
        "terse": (200, {}, b": alive\n\n" + _stream({"choices": [A | {"finish_reason": "stop"}]})),
        "garbled": (200, {}, b"data: {oops\n\n"),
        "calls": (200, {}, _stream(
            {"choices": [{"delta": {"tool_calls": [
                {"index": 0, "id": "c1", "type": "function",
                 "function": {"name": "look", "arguments": ""}}]}}]},
            *({"choices": [{"delta": {"tool_calls": [
                {"index": 0, "function": {"arguments": piece}}]}}]}
              for piece in ('{"at":', ' "sky"}')),
            {"choices": [{"delta": {}, "finish_reason": "tool_calls"}]})),
    }  # fmt: skip
    asked: ClassVar[dict[str, Any]] = {}

    def do_GET(self) -> None:
        listed = {"data": [{"id": name, "max_model_len": 99} for name in self.answers]}
        self._say(200, {}, json.dumps(listed).encode())

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked[asked.get("model")] = asked
        self._say(*self.answers.get(asked.get("model"), (404, {}, b"")))

    def _say(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def bad_days() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), BadDays) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()


@pytest.mark.parametrize(
    ("model", "error", "says"),
    [
        ("busy", Busy, "in 7 seconds"),
        ("gone", NotFound, "model gone"),
        ("ill", LangwrightError, "status 500"),
        ("breaks", LangwrightError, "out of memory"),
        ("garbled", LangwrightError, "no JSON"),
    ],
)
def test_statuses_become_errors_with_a_remedy(
    bad_days: str, model: str, error: type[LangwrightError], says: str
) -> None:
    backend = OpenAICompatible(f"{bad_days}#{model}")
    assert backend.capabilities().context_length == 99
    assert not backend.capabilities().tokenize
    with pytest.raises(error, match=says) as caught:
        said(backend, Request(text="a", max_tokens=3))
    assert caught.value.remedy


def test_answers_that_end_oddly(bad_days: str, capsys: pytest.CaptureFixture[str]) -> None:
    for model, reason in (("silent", "error"), ("filtered", "error"), ("terse", "stop")):
        backend = OpenAICompatible(f"{bad_days}#{model}")
        ((text, last),) = said(backend, Request(text="a", max_tokens=3)).values()
        assert (text, last.finish_reason) == ("a", reason)
        assert (last.error is None) == (reason == "stop")
    assert "no usage" in capsys.readouterr().err


def test_addresses(bad_days: str) -> None:
    with pytest.raises(NotFound, match="9 models") as several:
        OpenAICompatible(bad_days)
    assert "#MODEL" in several.value.remedy
    with pytest.raises(NetworkMissing) as closed:
        OpenAICompatible("http://127.0.0.1:9/v1#x")
    assert "Start the server" in closed.value.remedy
    for wrong in ("http://user:secret@127.0.0.1/v1", "http:///v1"):
        with pytest.raises(BadInput) as refused:
            OpenAICompatible(wrong)
        assert "secret" not in str(refused.value)


def test_tools_are_told_and_their_calls_heard(bad_days: str) -> None:
    """The pieces of a call as OpenAI's reference shows them."""
    backend = OpenAICompatible(f"{bad_days}#calls")
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
    sky = [{"role": "user", "content": "sky"}]
    *_, made, last = backend.generate(
        [Request(messages=sky, max_tokens=9, tools=[tool], tool_choice="look")]
    )
    assert made.calls == (ToolCall("c1", "look", '{"at": "sky"}'),)
    assert last.finish_reason == "stop"
    assert BadDays.asked["calls"]["tools"] == [tool]
    assert BadDays.asked["calls"]["tool_choice"]["function"] == {"name": "look"}
