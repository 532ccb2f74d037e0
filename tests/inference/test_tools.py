"""Tools at the engine: a model of random weights can but call as it is asked to."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from langwright.backend import Event, Request, Sampling
from langwright.errors import BadInput, Unsupported
from langwright.inference import Engine
from langwright.model import ModelBundle
from langwright.tokens import ChatTemplate

TEMPLATE = (
    "{% if tools %}{{ 'Tools: ' + tools | tojson + '\n' }}{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content or '' }}"
    "{% for c in m.tool_calls or [] %}{% if not loop.first or m.content %}{{ '\n' }}{% endif %}"
    "<tool_call>\n{{ c.function | tojson }}\n</tool_call>{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": "…",
            "parameters": {
                "type": "object",
                "properties": {"unit": {"enum": units}, "n": {"type": "integer"}},
                "required": ["unit", "n"],
                "additionalProperties": False,
            },
        },
    }
    for name, units in [("weigh", ["kg", "lb"]), ("measure", ["m", "ft"])]
]
ASKED = [{"role": "user", "content": "How much?"}]


@pytest.fixture(params=["marks are tokens", "marks are text"])
def engine(request: Any, make_model: Callable[..., ModelBundle]) -> Engine:
    bundle = make_model(context_length=1024)
    tokenizer = bundle.tokenizer
    if request.param == "marks are tokens":
        tokenizer = tokenizer.with_special("<tool_call>", "</tool_call>")  # type: ignore[attr-defined]
        bundle = replace(
            make_model(context_length=1024, vocab_size=tokenizer.vocab_size), tokenizer=tokenizer
        )
    return Engine(replace(bundle, template=ChatTemplate(TEMPLATE, tokenizer)))


def answer(engine: Engine, seed: int, **asked: Any) -> list[Event]:
    how = Sampling(temperature=1.5, seed=seed)
    request = Request(messages=ASKED, sampling=how, max_tokens=400, tools=TOOLS, **asked)
    return list(engine.generate([request]))


def is_valid(name: str, arguments: str) -> bool:
    given = json.loads(arguments)
    units = {"weigh": ("kg", "lb"), "measure": ("m", "ft")}[name]
    return given.keys() == {"unit", "n"} and given["unit"] in units and type(given["n"]) is int


@pytest.mark.parametrize("choice", ["required", "measure"])
def test_a_call_keeps_to_its_tool(engine: Engine, choice: str) -> None:
    for seed in range(4):
        events = answer(engine, seed, tool_choice=choice)
        calls = [call for event in events for call in event.calls]
        if events[-1].finish_reason == "length":  # a number may have many digits
            continue
        assert calls
        assert not "".join(event.text for event in events).strip()
        assert all(is_valid(one.name, one.arguments) for one in calls)
        if choice == "measure":
            assert [one.name for one in calls] == ["measure"]


def test_a_call_that_the_model_begins_by_itself_is_valid(engine: Engine) -> None:
    """Here made likely; what follows the mark is bound, and what follows the call is not."""
    if "<tool_call>" not in engine.bundle.tokenizer.special:
        pytest.skip("random weights do not spell the mark")
    mark = engine.bundle.tokenizer.special["<tool_call>"]
    ends = dict.fromkeys(engine.bundle.end_ids, -100.0)
    how = Sampling(temperature=1.0, seed=1, logit_bias={mark: 12.0, **ends})
    request = Request(messages=ASKED, sampling=how, max_tokens=300, tools=TOOLS)
    calls = [call for event in engine.generate([request]) for call in event.calls]
    assert len(calls) > 1
    assert all(is_valid(one.name, one.arguments) for one in calls)


@pytest.mark.parametrize("pattern", ["(?=a)b", "("])
def test_a_schema_that_cannot_be_kept_to_is_the_calls_own_error(
    engine: Engine, pattern: str
) -> None:
    """Before its first token, and nobody else's: a step is shared by all."""
    bad = {"type": "string", "pattern": pattern}
    function = {"name": "bad", "parameters": {"type": "object", "properties": {"a": bad}}}
    tools = [{"type": "function", "function": function}]
    neighbour = engine.generate([Request(messages=ASKED, max_tokens=20)])
    first = next(neighbour)
    with pytest.raises(BadInput, match="schema"):
        next(engine.generate([Request(messages=ASKED, max_tokens=20, tools=tools)]))
    assert [first, *neighbour][-1].finish_reason in ("stop", "length")


def test_a_model_without_a_form_of_calls_refuses_tools(
    make_model: Callable[..., ModelBundle],
) -> None:
    with pytest.raises((BadInput, Unsupported), match="no place for tools"):
        answer(Engine(make_model()), 0)


def test_none_tells_no_tools(engine: Engine) -> None:
    without = list(engine.generate([Request(messages=ASKED, max_tokens=1)]))
    told = answer(engine, 0, tool_choice="none")
    assert told[-1].usage
    assert without[-1].usage
    assert told[-1].usage.prompt_tokens == without[-1].usage.prompt_tokens


@pytest.mark.parametrize("length", [3, 200])
def test_prompt_logprobs_are_those_of_score(
    make_model: Callable[..., ModelBundle], length: int
) -> None:
    rows = make_model().tokenizer.vocab_size
    engine = Engine(make_model(context_length=512, vocab_size=rows))
    text = "the quick fox and the lazy dog " * length
    ids = engine.tokenize(text)[: 150 if length > 3 else None]
    text = engine.bundle.tokenizer.decode(ids)
    (scored,) = engine.score([text], window=512, stride=256)
    for _ in range(2):  # the second time chunks of the prompt are known
        request = Request(token_ids=scored.token_ids, max_tokens=0, prompt_logprobs=3)
        (event,) = engine.generate([request])
        assert event.finish_reason == "length"
        assert event.prompt_logprobs[0] is None
        found = [one.logprob for one in event.prompt_logprobs[1:] if one]
        assert found == pytest.approx(scored.logprobs[1:], abs=1e-4)
        assert [one.id for one in event.prompt_logprobs[1:] if one] == list(scored.token_ids[1:])
        list(engine.generate([Request(token_ids=scored.token_ids, max_tokens=2)]))
