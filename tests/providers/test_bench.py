"""`bench` in processes of its own: figures that fit each other, and rows for what fails."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import langwright as lw
from langwright.backend import Event, Usage
from langwright.errors import BadInput
from langwright.inference import Engine
from langwright.model import ModelBundle
from langwright.model.gguf_write import save_gguf
from langwright.providers.bench import _row
from langwright.providers.contender import Contender, Order, Told, _gaps, _steady, measure


def test_own_and_llama_cpp_side_by_side(
    make_model: Callable[..., ModelBundle], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("xllamacpp")
    monkeypatch.setenv("LANGWRIGHT_HOME", str(tmp_path / "home"))
    path = tmp_path / "tiny.gguf"
    save_gguf(path, make_model(3, hidden_size=64, context_length=64))
    found = lw.bench([str(path), "nothing"], backend=["own", "llama.cpp"], concurrency=[1, 2],
                     prompt_tokens=12, tokens=8, rounds=1)  # fmt: skip
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["machine"]["cores"] >= 1
    own, other, *missing = found["results"]
    assert (own["backend"], other["backend"]) == ("own", "llama.cpp")
    for row in (own, other):
        assert 0 < row["load_s"]["min"] <= row["load_s"]["median"] <= row["load_s"]["max"]
        assert row["peak_memory_bytes"]["median"] > 20e6
        assert [one["concurrency"] for one in row["concurrent"]] == [1, 2]
        assert all(one["total_tokens_per_s"]["min"] > 0 for one in row["concurrent"])
        rate, wait = row["prefill_tokens_per_s"], row["first_token_s"]
        assert rate["max"] == pytest.approx(12 / wait["min"])
    ratio = other["concurrent"][0]["against_own"]
    one, base = (row["concurrent"][0]["decode_tokens_per_s"]["median"] for row in (other, own))
    assert ratio == pytest.approx(one / base)
    assert own["concurrent"][0]["against_own"] == 1
    assert [row["error"]["type"] for row in missing] == ["not_found"] * 2


def test_the_answers_have_the_length_that_was_asked_for(
    make_model: Callable[..., ModelBundle],
) -> None:
    contender = Contender(Engine(make_model(context_length=64)), seed=1)
    told, wall = contender.ask([contender.prompt(10) for _ in range(3)], 6)
    assert [one.completion_tokens for one in told] == [6, 6, 6]
    assert [one.prompt_tokens for one in told] == [10, 10, 10]
    assert all(one.times == sorted(one.times) and one.times[-1] <= wall for one in told)
    assert contender.prompt(10) != contender.prompt(10)
    order = Order("m", "own", "float32", "cpu", (2,), 10, 6, 1)
    assert Order.from_json(order.to_json()) == order
    assert measure(contender, order)["inter_token_s"] > 0


def test_the_steady_rate_counts_only_while_all_are_answered() -> None:
    """A begins at 1 and ends at 4, b begins at 2 and ends at 5: between 2 and 4 come two tokens of
    a and three of b."""
    a = Told([1, 2, 3, 4], [1, 1, 1, 1], Event("a", usage=Usage(1, 4)))
    b = Told([2, 3, 3.5, 4, 5], [1, 1, 1, 1, 1])
    assert _steady([a, b]) == pytest.approx(5 / 2)
    assert _steady([a, Told([6, 7], [1, 1])]) is None
    assert _gaps(Told([1, 3], [1, 2])) == [1, 1]


def test_rounds_become_their_median_with_the_least_and_the_most() -> None:
    rounds = [
        {"load_s": value, "concurrent": [{"concurrency": 4, "decode_tokens_per_s": rate}]}
        for value, rate in ((3.0, None), (1.0, 8.0), (2.0, 9.0))
    ]
    row = _row(rounds)
    assert row["load_s"] == {"median": 2.0, "min": 1.0, "max": 3.0}
    (part,) = row["concurrent"]
    assert part == {
        "concurrency": 4,
        "decode_tokens_per_s": {"median": 8.5, "min": 8.0, "max": 9.0},
    }


def test_sizes_that_are_none_are_refused() -> None:
    for wrong in ({"tokens": 0}, {"concurrency": []}, {"rounds": 0}, {"backend": ["vllm"]}):
        with pytest.raises(BadInput):
            lw.bench(["tiny"], **wrong)  # type: ignore[arg-type]
    with pytest.raises(BadInput):
        lw.bench([])
