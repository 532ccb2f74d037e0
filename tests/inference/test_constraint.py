from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest
import torch

from langwright.backend import Constraint, Event, Request, Sampling
from langwright.errors import BadInput
from langwright.inference import Engine
from langwright.inference.constraint import Grammars
from langwright.model import ModelBundle

pytestmark = pytest.mark.usefixtures("one_thread")

Make = Callable[..., ModelBundle]

SCHEMAS: list[Any] = [
    {"type": "integer", "minimum": 3, "maximum": 44},
    {"enum": ["fox", "dog", 12, None]},
    {
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": 4}, "old": {"type": "boolean"}},
        "required": ["name", "old"],
        "additionalProperties": False,
    },
    {"type": "array", "items": {"const": "é🙂"}, "minItems": 1, "maxItems": 3},
    {"anyOf": [{"type": "null"}, {"type": "array", "items": {"type": "boolean"}, "maxItems": 2}]},
]


def answers(bundle: ModelBundle, constraint: Constraint, count: int = 12) -> list[list[Event]]:
    requests = [
        Request(
            token_ids=[5, 6],
            max_tokens=150,
            sampling=Sampling(1.0, seed=seed),
            constraint=constraint,
            id=str(seed),
        )
        for seed in range(count)
    ]
    events = list(Engine(bundle).generate(requests))
    return [[one for one in events if one.request_id == str(seed)] for seed in range(count)]


@pytest.mark.parametrize("schema", SCHEMAS)
def test_what_ends_by_itself_is_valid(make_model: Make, schema: Any) -> None:
    bundle = make_model(31, context_length=256)
    ended = 0
    for events in answers(bundle, Constraint(json_schema=schema)):
        text = "".join(event.text for event in events)
        if events[-1].finish_reason == "stop":
            jsonschema.validate(json.loads(text), schema)
            ended += 1
    assert ended >= 6


def test_a_regular_expression_is_matched_whole(make_model: Make) -> None:
    pattern = r"[a-c]{2}\d{1,3}(é|🙂)"
    texts = set()
    for events in answers(make_model(32, context_length=256), Constraint(regex=pattern)):
        assert events[-1].finish_reason == "stop"
        texts.add("".join(event.text for event in events))
    assert all(re.fullmatch(pattern, text) for text in texts)
    assert len(texts) > 3


def test_a_choice_is_one_of_those_given(make_model: Make) -> None:
    choice = ('a "quoted" one', "a", "back\\slash", "zwei\nZeilen", "🙂")
    texts = set()
    for events in answers(make_model(33, context_length=256), Constraint(choice=choice), 40):
        assert events[-1].finish_reason == "stop"
        texts.add("".join(event.text for event in events))
    assert texts <= set(choice)
    assert len(texts) >= 3


def test_special_tokens_are_never_drawn_for_their_text(make_model: Make) -> None:
    """The text of a special token is spelt, so that it ends nothing."""
    bundle = make_model(34, context_length=256)
    name = next(iter(bundle.tokenizer.special))
    (events,) = answers(bundle, Constraint(choice=(name,)), 1)
    assert "".join(event.text for event in events) == name
    drawn = [token for event in events for token in event.token_ids]
    assert not set(drawn[:-1]) & set(bundle.tokenizer.special.values())


def test_any_json_may_be_asked_for(make_model: Make) -> None:
    for events in answers(make_model(35, context_length=256), Constraint(json_schema=True)):
        if events[-1].finish_reason == "stop":
            json.loads("".join(event.text for event in events))


@pytest.mark.parametrize(
    "constraint",
    [
        Constraint(json_schema={"type": "no such type"}),
        Constraint(json_schema={"type": "string", "minLength": 5, "maxLength": 2}),
        Constraint(regex="(unclosed"),
        Constraint(json_schema=False),
    ],
)
def test_what_cannot_be_kept_to_is_refused_before_anything_is_drawn(
    make_model: Make, constraint: Constraint
) -> None:
    with pytest.raises(BadInput, match="cannot be kept to"):
        next(Engine(make_model()).generate([Request(token_ids=[1], constraint=constraint)]))


def test_a_constraint_is_exactly_one() -> None:
    for wrong in ({}, {"regex": "a", "choice": ("b",)}, {"choice": ()}, {"choice": ("",)}):
        with pytest.raises(BadInput):
            Constraint(**wrong)  # type: ignore[arg-type]


def test_the_mask_allows_what_the_pattern_allows(make_model: Make) -> None:
    bundle = make_model()
    grammars = Grammars(bundle.tokenizer, bundle.end_ids)
    matcher = grammars.matcher(Constraint(regex="[0-9]{2}"))
    digits = {
        token
        for token in range(307)
        if re.fullmatch(rb"[0-9]{1,2}", bundle.tokenizer.token_bytes(token))
    }
    masked = matcher.masked(torch.zeros(307))
    assert set((masked == 0).nonzero()[:, 0].tolist()) == digits
    for token in bundle.tokenizer.encode("4") + bundle.tokenizer.encode("2"):
        assert not matcher.complete
        matcher.drew(token)
    ends = set((matcher.masked(torch.zeros(307)) == 0).nonzero()[:, 0].tolist())
    assert ends == bundle.end_ids or matcher.complete
