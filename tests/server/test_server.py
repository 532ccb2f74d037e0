"""The server as its callers meet it."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from tests.server.conftest import Server, serving

from langwright.backend import Request, Sampling
from langwright.inference import Engine
from langwright.model import ModelBundle
from langwright.server.keys import Keys, keys, scopes_in
from langwright.store import Store


def until(true: Callable[[], bool], what: str) -> None:
    """Wait for what must become true soon."""
    for _ in range(1000):
        if true():
            return
        time.sleep(0.02)
    raise AssertionError(what)


def test_answers_are_the_engines(server: Server) -> None:
    engine = Engine(server.bundle)
    messages = [{"role": "user", "content": "the quick fox"}]
    request = Request(messages=messages, max_tokens=8, sampling=Sampling(temperature=0))
    events = list(engine.generate([request]))
    told = server.chat().json()
    assert told["choices"][0]["message"]["content"] == "".join(one.text for one in events)
    assert told["usage"]["completion_tokens"] == sum(len(one.token_ids) for one in events)


def test_a_stream_says_what_the_whole_says(server: Server) -> None:
    whole = server.chat(max_tokens=40).json()
    with server.client.stream(
        "POST",
        "/v1/chat/completions",
        json={
            "model": server.model,
            "messages": [{"role": "user", "content": "the quick fox"}],
            "max_tokens": 40,
            "temperature": 0,
            "stream": True,
        },
    ) as answer:
        lines = [line for line in answer.iter_lines() if line]
    assert lines[-1] == "data: [DONE]"
    chunks = [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]
    text = "".join(one["choices"][0]["delta"].get("content") or "" for one in chunks)
    assert text == whole["choices"][0]["message"]["content"]
    assert "usage" not in chunks[-1]


@pytest.mark.parametrize("stream", [False, True])
def test_a_prompt_too_long_is_refused_with_both_numbers(server: Server, stream: bool) -> None:
    answer = server.chat("the quick fox " * 300, stream=stream)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["code"] == "context_length_exceeded"
    assert error["n_ctx"] == 256
    assert error["n_prompt_tokens"] > 256
    assert str(error["n_prompt_tokens"]) in error["message"]


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        (
            "/v1/messages",
            {"max_tokens": 4, "messages": [{"role": "user", "content": "LONG"}]},
            "error",
        ),
        ("/api/chat", {"messages": [{"role": "user", "content": "LONG"}]}, "error"),
        ("/v1/responses", {"input": "LONG"}, "error"),
        ("/v1/completions", {"prompt": "LONG"}, "error"),
    ],
)
def test_every_dialect_refuses_it(server: Server, path: str, body: object, said: str) -> None:
    text = json.dumps({"model": server.model, **body}).replace("LONG", "the quick fox " * 300)  # type: ignore[dict-item]
    answer = server.client.post(path, content=text)
    assert answer.status_code == 400
    assert "256" in json.dumps(answer.json()[said])


def test_what_is_not_honoured_is_refused_by_name(server: Server) -> None:
    answer = server.chat(mirostat=2)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "mirostat"


def test_echoed_logprobs_are_those_of_score(server: Server) -> None:
    """What lm-eval reads."""
    engine = Engine(server.bundle)
    (scored,) = engine.score(["the quick fox and the lazy dog"])
    body = {
        "model": server.model,
        "prompt": [list(scored.token_ids)],
        "max_tokens": 1,
        "logprobs": 1,
        "echo": True,
        "temperature": 0,
    }
    (choice,) = server.post("/v1/completions", body).json()["choices"]
    told = choice["logprobs"]
    assert told["token_logprobs"][0] is None
    assert told["token_logprobs"][1:-1] == pytest.approx(scored.logprobs[1:], abs=1e-4)
    assert choice["text"].startswith("the quick fox and the lazy dog")
    assert len(told["tokens"]) == len(scored.token_ids) + 1


def test_who_leaves_frees_the_model(server: Server) -> None:
    place = urlsplit(server.url)
    body = json.dumps(
        {
            "model": server.model,
            "messages": [{"role": "user", "content": "the"}],
            "stream": True,
            "logit_bias": {str(one): -100 for one in server.bundle.end_ids},
        }
    )
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: {place.netloc}\r\n"
    call = f"{head}content-length: {len(body)}\r\n\r\n{body}".encode()
    for _ in range(40):
        with socket.create_connection((place.hostname, place.port)) as caller:
            caller.sendall(call)
            caller.recv(200)
    until(lambda: server.figure("vllm:num_requests_running") == 0, "calls still run")
    assert server.chat().status_code == 200


def test_many_at_once_are_all_answered_alike(server: Server) -> None:
    expected = server.chat().json()["choices"]
    with ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(lambda _: server.chat(), range(48)))
    assert {one.status_code for one in answers} == {200}
    assert all(one.json()["choices"] == expected for one in answers)


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b'{"model": 1}', 400),
        (b"\xff\xfe", 400),
        (b"[" * 100_000, 400),
    ],
)
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/api/chat"])
def test_bad_bodies_are_the_callers_fault(
    server: Server, path: str, content: bytes, status: int
) -> None:
    assert server.client.post(path, content=content).status_code == status


@pytest.mark.parametrize(
    ("path", "more"),
    [("/v1/chat/completions", {}), ("/v1/messages", {"max_tokens": 4}), ("/api/chat", {})],
)
def test_models_that_are_not_there(server: Server, path: str, more: dict[str, int]) -> None:
    body = {"model": "nope", "messages": [{"role": "user", "content": "a"}], **more}
    assert server.post(path, body).status_code == 404


def test_a_body_has_a_bound(server: Server) -> None:
    answer = server.client.post("/v1/chat/completions", content=b" " * (17 * 2**20))
    assert answer.status_code == 413

    def pieces() -> Iterator[bytes]:
        for _ in range(17):
            yield b" " * 2**20

    answer = server.client.post("/v1/chat/completions", content=pieces())
    assert answer.status_code == 413


def test_pages_of_other_sites_are_kept_out(server: Server) -> None:
    """As themselves, and by a name that they have pointed at this machine."""
    get = server.client.get
    assert get("/v1/models", headers={"origin": "https://example.com"}).status_code == 403
    assert get("/v1/models", headers={"host": "example.com"}).status_code == 403
    assert get("/v1/models", headers={"origin": server.url}).status_code == 200
    assert get("/v1/models").status_code == 200


def test_a_call_keeps_its_number(server: Server) -> None:
    assert (
        server.client.get("/health", headers={"x-request-id": "a-1"}).headers["x-request-id"]
        == "a-1"
    )
    other = server.client.get("/health", headers={"x-request-id": "a b"}).headers["x-request-id"]
    assert other != "a b"


def test_paths_that_are_not_there(server: Server) -> None:
    assert server.client.get("/nope").status_code == 404
    assert server.client.get("/v1/chat/completions").status_code == 405
    assert "error" in server.client.get("/v1/messages").json()


def test_the_glass_box_is_open(server: Server) -> None:
    found = server.post("/inspect", {"text": "the quick", "attention": True, "layer": 0}).json()
    heads = server.bundle.module.shape.num_heads
    assert len(found["attention"]) == heads
    assert [one["text"] for one in found["tokens"]]


def test_tokens_and_templates(server: Server) -> None:
    ids = server.post("/tokenize", {"content": "the quick fox"}).json()["tokens"]
    assert ids == server.bundle.tokenizer.encode("the quick fox")
    assert server.post("/detokenize", {"tokens": ids}).json()["content"] == "the quick fox"
    shown = server.post("/apply-template", {"messages": [{"role": "user", "content": "a"}]}).json()
    assert server.bundle.template
    messages = [{"role": "user", "content": "a"}]
    assert shown["prompt"] == server.bundle.template.render(messages, add_generation_prompt=True)


def test_lenient_names_what_it_leaves_out(small: ModelBundle, tmp_path: Path) -> None:
    with serving(small, tmp_path / "m", "--lenient", home=tmp_path / "home") as server:
        answer = server.chat(mirostat=2, seed="x", model="gpt-6")
        assert answer.status_code == 200
        named = set(answer.headers["x-langwright-unheeded"].split(", "))
        assert named == {"mirostat", "seed", "model"}


def test_too_many_calls_are_told_when_to_come_again(small: ModelBundle, tmp_path: Path) -> None:
    words = ("--max-answers", "1", "--max-waiting", "2")
    with serving(small, tmp_path / "m", *words, home=tmp_path / "home") as server:
        bias = {str(one): -100 for one in small.end_ids}
        begin = threading.Barrier(12)

        def call(_: int) -> httpx.Response:
            begin.wait()
            return server.chat(max_tokens=200, logit_bias=bias)

        with ThreadPoolExecutor(12) as pool:
            answers = list(pool.map(call, range(12)))
        refused = [one for one in answers if one.status_code == 429]
        assert {one.status_code for one in answers} == {200, 429}
        assert all(int(one.headers["retry-after"]) >= 1 for one in refused)
        assert server.chat().status_code == 200


def test_keys_open_what_they_are_for(small: ModelBundle, tmp_path: Path) -> None:
    home = tmp_path / "home"
    store = Store(home)
    use, look = (
        keys(add=name, scopes=[name], store=store)["secret"] for name in ("use", "inspect")
    )
    assert use not in (home / "keys.json").read_text()
    with serving(small, tmp_path / "m", home=home) as server:

        def ask(path: str, **headers: str) -> int:
            body = {"text": "the quick"} if path == "/inspect" else {"content": "a"}
            return server.post(path, body, headers=headers).status_code

        bearer = {"authorization": f"Bearer {use}"}
        assert ask("/tokenize") == 401
        assert ask("/tokenize", authorization="Bearer lw-wrong") == 401
        assert ask("/tokenize", **bearer) == 200
        assert ask("/tokenize", **{"x-api-key": use}) == 200
        assert ask("/inspect", **bearer) == 403
        assert ask("/inspect", authorization=f"Bearer {look}") == 200
        assert server.client.get("/health").status_code == 200
        assert server.client.get("/metrics", headers=bearer).status_code == 403
        keys(remove="use", store=store)
        assert ask("/tokenize", **bearer) == 401
    assert scopes_in(Keys(home).all(), look) == frozenset({"inspect"})


def test_another_host_needs_a_key(small: ModelBundle, tmp_path: Path) -> None:
    with (
        pytest.raises(AssertionError, match="no keys"),
        serving(small, tmp_path / "m", "--host", "0.0.0.0", home=tmp_path / "home"),
    ):
        pass


def test_it_is_ready_again_after_a_kill(small: ModelBundle, tmp_path: Path) -> None:
    with serving(small, tmp_path / "m", home=tmp_path / "home") as server:
        port = str(urlsplit(server.url).port)
        server.process.kill()
        server.process.wait()
    with serving(small, tmp_path / "m", "--port", port, home=tmp_path / "home") as server:
        assert server.chat().status_code == 200
    assert isinstance(server.process, subprocess.Popen)


def test_ten_megabytes_are_refused_before_they_are_cut(server: Server) -> None:
    answer = server.chat("the quick fox " * 700_000)
    assert answer.status_code == 400
    assert "at least" in answer.json()["error"]["message"]


def test_a_tool_that_is_not_there_cannot_be_chosen(server: Server) -> None:
    tool = {"type": "function", "function": {"name": "weigh", "parameters": {"type": "object"}}}
    choice = {"type": "function", "function": {"name": "measure"}}
    assert server.chat(tools=[tool], tool_choice=choice).status_code == 400


def test_anthropics_errors_tell_the_calls_number(server: Server) -> None:
    answer = server.client.post("/v1/messages", content=b"{", headers={"x-request-id": "a-1"})
    assert answer.json()["request_id"] == "a-1"


def test_ollamas_embeddings_say_how_long_the_model_stays(
    small: ModelBundle, tmp_path: Path
) -> None:
    """Also the model that has none to give, once it is loaded."""
    with serving(small, tmp_path / "m", home=tmp_path / "home") as server:
        asked = {"model": server.model, "prompt": "", "keep_alive": 0}
        assert server.post("/api/generate", {**asked, "keep_alive": -1}).status_code == 200
        assert len(server.client.get("/api/ps").json()["models"]) == 1
        answer = server.post("/api/embed", {"model": server.model, "input": [], "keep_alive": 0})
        assert answer.status_code == 200
        until(lambda: server.client.get("/api/ps").json()["models"] == [], "the model stays")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "127.0.0.1/page/"}, 400),
        ({"host": "127.0.0.1:1/page/"}, 400),
        ({"host": "["}, 400),
        ({"host": "a b"}, 400),
        ({"origin": "http://["}, 403),
        ({"origin": "null"}, 403),
    ],
)
def test_hosts_and_origins_that_are_none(
    server: Server, headers: dict[str, str], status: int
) -> None:
    """A path must not be read out of a host: it decides which key is needed."""
    answer = server.client.get("/v1/models", headers=headers)
    assert answer.status_code == status
    if "x-request-id" in answer.headers:  # some are refused before they come to us
        assert answer.json()["error"]["message"]


def test_a_method_that_is_not_there_says_which_are(server: Server) -> None:
    answer = server.client.put("/v1/models")
    assert answer.status_code == 405
    assert "GET" in answer.headers["allow"]


def test_who_leaves_before_the_first_token_frees_its_place(
    small: ModelBundle, tmp_path: Path
) -> None:
    with serving(small, tmp_path / "m", "--max-answers", "1", home=tmp_path / "home") as server:
        said = [{"role": "user", "content": "the"}]
        bias = {str(one): -100 for one in small.end_ids}
        body = {"model": server.model, "messages": said, "stream": True, "logit_bias": bias}
        body |= {"n": 16}  # one after the other: the first call lasts
        with server.client.stream("POST", "/v1/chat/completions", json=body) as first:
            assert first.status_code == 200
            pieces = first.iter_raw()  # when it goes, the call is over
            next(pieces)
            place = urlsplit(server.url)
            raw = json.dumps(body).encode()
            with socket.create_connection((place.hostname, place.port)) as caller:
                head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: {place.netloc}\r\n"
                caller.sendall(f"{head}content-length: {len(raw)}\r\n\r\n".encode() + raw)
                until(lambda: server.figure("vllm:num_requests_waiting") == 1, "it does not wait")
            began = time.monotonic()
            until(lambda: server.figure("vllm:num_requests_waiting") == 0, "it still waits")
            assert time.monotonic() - began < 5
            assert server.figure("vllm:num_requests_running") == 1


def test_a_host_that_is_not_told(small: ModelBundle, tmp_path: Path) -> None:
    """HTTP/1.0's checks of health send none; where this machine alone may call, it is asked for."""
    home = tmp_path / "home"
    keys(add="use", scopes=["use"], store=Store(home))
    for words, expected in (((), b"403"), (("--host", "0.0.0.0"), b"200")):
        with (
            serving(small, tmp_path / "m", *words, home=home) as server,
            socket.create_connection(("127.0.0.1", urlsplit(server.url).port)) as caller,
        ):
            caller.sendall(b"GET /health HTTP/1.0\r\n\r\n")
            assert caller.recv(100).split()[1] == expected
