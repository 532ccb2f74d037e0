"""How a model writes thoughts and calls of tools: read off its chat template."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from langwright.errors import BadInput
from langwright.tokens.template import ChatTemplate

THINK, THOUGHT = "<think>", "</think>"
"""What stands around thoughts in the templates that have them between such marks."""

_FIRST, _SECOND, _ARGUMENT = "first_tool", "second_tool", "an_argument"


@dataclass(frozen=True)
class CallForm:
    """A call is JSON with a `name` and the `arguments`, under that key; `before` it stands what
    begins the calls, `between` two of them and `after` the last. `between` is None where one answer
    has one call."""

    before: str
    after: str
    between: str | None
    arguments: str

    @property
    def mark(self) -> str:
        """What tells that a call begins; empty where nothing stands before its JSON."""
        return self.before.strip()


@dataclass(frozen=True)
class SpeechForm:
    """`thinks`: thoughts stand between `THINK` and `THOUGHT`. `calls` is None where the template
    writes no calls, or in a form that is not JSON."""

    thinks: bool
    calls: CallForm | None


def speech_form(template: ChatTemplate) -> SpeechForm:
    """The form in which the template writes an answer, found by having it write some."""
    return SpeechForm(THOUGHT in template.source, _call_form(template))


def _call_form(template: ChatTemplate) -> CallForm | None:
    one = _written(template, [_FIRST])
    found = None if one is None else _json_with(one, _FIRST, 0)
    if one is None or found is None:
        return None
    start, end, table = found
    key = next((name for name, value in table.items() if isinstance(value, dict)), None)
    if key is None or table.get("name") != _FIRST or set(table) - {"name", key, "type"}:
        return None
    two, between = _written(template, [_FIRST, _SECOND]), None
    if two is not None and two.startswith(one[:end]):
        second = _json_with(two, _SECOND, end)
        between = two[end : second[0]] if second else None
    # Templates that have thoughts write empty ones too.
    before = one[:start].rpartition(THOUGHT)[2].lstrip("\n")
    return CallForm(before, one[end:], between, key)


def _written(template: ChatTemplate, names: list[str]) -> str | None:
    """What the template writes of an answer that calls these tools, without the end of the turn."""
    tools = [_tool(name) for name in (_FIRST, _SECOND)]
    calls = [
        {
            "id": f"call{number:05}",
            "type": "function",
            "function": {"name": name, "arguments": {_ARGUMENT: "x"}},
        }
        for number, name in enumerate(names)
    ]
    asked: list[dict[str, Any]] = [{"role": "user", "content": "x"}]
    told = [*asked, {"role": "assistant", "content": "", "tool_calls": calls}]
    try:
        before = template.render(asked, tools=tools, add_generation_prompt=True)
        whole = template.render(told, tools=tools)
    except BadInput:
        return None
    if not whole.startswith(before):
        return None
    body = whole[len(before) :].rstrip()
    for name in template.tokenizer.special:
        if body.endswith(name):
            return body.removesuffix(name)
    return body


def _json_with(text: str, name: str, start: int) -> tuple[int, int, dict[str, object]] | None:
    """The first table from `start` on that has this name: where it begins and ends, and itself."""
    decoder = json.JSONDecoder()
    place = text.find("{", start)
    while place >= 0:
        try:
            table, end = decoder.raw_decode(text, place)
        except ValueError:
            pass
        else:
            if table.get("name") == name:
                return place, end, table
        place = text.find("{", place + 1)
    return None


def _tool(name: str) -> dict[str, object]:
    properties = {_ARGUMENT: {"type": "string", "description": "An argument."}}
    parameters = {"type": "object", "properties": properties, "required": [_ARGUMENT]}
    told = {"name": name, "description": "A tool.", "parameters": parameters}
    return {"type": "function", "function": told}
