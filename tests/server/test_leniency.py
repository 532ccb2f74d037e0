"""What a call may leave out, and what a lenient server leaves out of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.server.conftest import Server, serving

from langwright.model import ModelBundle

ANTHROPIC = {"anthropic-version": "2023-06-01"}
SAID = [{"role": "user", "content": "the quick fox"}]


@pytest.fixture(scope="module")
def lenient(small: ModelBundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder: Path = tmp_path_factory.mktemp("lenient")
    with serving(small, folder / "model", "--lenient", home=folder / "home") as one:
        yield one


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"messages": SAID, "max_tokens": 4}),
        ("/v1/completions", {"prompt": "the", "max_tokens": 4}),
        ("/v1/responses", {"input": "the", "max_output_tokens": 4}),
    ],
)
def test_a_call_may_leave_the_model_out(server: Server, path: str, body: object) -> None:
    answer = server.post(path, body)
    assert answer.status_code == 200
    assert "x-langwright-unheeded" not in answer.headers
    assert server.post(path, {**body, "model": ""}).status_code == 404  # type: ignore[dict-item]


def test_a_list_of_models_fails_in_the_dialect_of_who_asks(server: Server) -> None:
    answer = server.client.get("/v1/models?after_id=none", headers=ANTHROPIC)
    assert answer.status_code == 400
    assert answer.json()["type"] == "error"


def test_a_lenient_list_names_what_it_leaves_out(lenient: Server) -> None:
    answer = lenient.client.get("/v1/models?after_id=none&limit=1", headers=ANTHROPIC)
    assert answer.headers["x-langwright-unheeded"] == "after_id"
    assert len(answer.json()["data"]) == 1


def test_tokens_are_counted_though_the_template_has_no_thoughts(
    server: Server, lenient: Server
) -> None:
    body = {"messages": SAID, "thinking": {"type": "adaptive"}}
    path = "/v1/messages/count_tokens"
    assert server.post(path, {"model": server.model, **body}).status_code == 400
    answer = lenient.post(path, {"model": lenient.model, **body})
    assert answer.headers["x-langwright-unheeded"] == "think"
    assert answer.json()["input_tokens"] > 3


def test_names_that_no_header_may_hold(lenient: Server) -> None:
    odd = {"\u53c2": 1, "x\r\nset-cookie: a=b": 1, **{f"more{n}": n for n in range(50)}}
    answer = lenient.chat(**odd)
    assert answer.status_code == 200
    named = answer.headers["x-langwright-unheeded"]
    assert named.startswith("%E5%8F%82, x%0D%0Aset-cookie%3A a%3Db, more0, ")
    assert named.endswith(", and 20 more")
    assert "set-cookie" not in answer.headers
