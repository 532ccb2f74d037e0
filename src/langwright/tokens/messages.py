"""The messages of a conversation, as every chat template takes them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from langwright.errors import BadInput

Messages = Sequence[Mapping[str, Any]]
"""Of each turn `role` and `content`; an assistant's may have `reasoning_content`, `tool_calls`
(OpenAI's form) and `weight`: 0 where it is read and not learnt."""

Tools = Sequence[Mapping[str, Any]]
"""OpenAI's form: {"type": "function", "function": {"name", "description", "parameters"}}."""

ROLES = ("system", "user", "assistant", "tool")

REASONING = ("reasoning_content", "reasoning", "thinking")
"""What templates and data call what was thought before an answer."""


def normal(messages: Messages) -> list[dict[str, Any]]:
    """The messages in the form that all templates understand: keys without a value are left out,
    and so is an answer's `weight`; arguments of calls are tables and not JSON text (which
    a template would quote again); what was thought stands under each of its names.

    Raises `BadInput` that names the turn for an unknown role and a turn without content.
    """
    found = []
    for turn, message in enumerate(messages, start=1):
        if message.get("role") not in ROLES:
            raise BadInput(
                f"Turn {turn} has the role {message.get('role')!r}.",
                remedy=f"Use one of {', '.join(ROLES)}.",
            )
        kept = {
            key: value for key, value in message.items() if value is not None and key != "weight"
        }
        if "content" not in kept and not kept.get("tool_calls"):
            raise BadInput(f"Turn {turn} has no content.", remedy="Give it some text.")
        if "tool_calls" in kept:
            kept["tool_calls"] = [_with_table(call) for call in kept["tool_calls"]]
        thought = next((kept[name] for name in REASONING if name in kept), None)
        if thought is not None:
            kept |= dict.fromkeys(REASONING, thought)
        found.append(kept)
    return found


def _with_table(call: Any) -> Any:
    """A call whose arguments are a table; one of another form is left to the template."""
    function = call.get("function", call) if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("arguments"), str):
        return call
    try:
        arguments = json.loads(function["arguments"])
    except (ValueError, RecursionError):
        return call
    if not isinstance(arguments, dict):
        return call
    function = {**function, "arguments": arguments}
    return {**call, "function": function} if "function" in call else function


def taught(messages: Messages) -> list[int]:
    """The assistant's turns (from 0) that are to be learnt. Raises `BadInput` for a weight that is
    neither 0 nor 1."""
    turns = []
    for turn, message in enumerate(messages):
        weight = message.get("weight")
        if weight not in (None, 0, 1):
            raise BadInput(
                f"Turn {turn + 1} has the weight {weight!r}.",
                remedy="Give 0 or 1, or leave it out.",
            )
        if message.get("role") == "assistant" and weight != 0:
            turns.append(turn)
    return turns


def is_empty(message: Mapping[str, Any]) -> bool:
    """Whether a turn says nothing: no content but blanks, and no call."""
    content = message.get("content")
    blank = content is None or (isinstance(content, str) and not content.strip())
    return blank and not message.get("tool_calls")


def without_parts(message: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The parts of a (normal) message that a template might not write -> the message without it.

    Of an assistant's turn with nothing but content there are none: an answer is seen in the mask.
    """
    calls, content = message.get("tool_calls") or [], message.get("content")
    if message["role"] in ("system", "tool"):
        if isinstance(content, str) and content.strip():
            yield f"content of role '{message['role']}'", {**message, "content": f"{content} x"}
        return
    if message["role"] != "assistant":
        return
    thought = message.get(REASONING[0])
    if isinstance(thought, str) and thought.strip():
        kept = {key: value for key, value in message.items() if key not in REASONING}
        yield "thoughts (reasoning_content)", kept
    if isinstance(content, str) and content.strip() and (calls or thought):
        yield "content", {**message, "content": ""}
    for number in range(len(calls)):
        left = [*calls[:number], *calls[number + 1 :]]
        kept = {key: value for key, value in message.items() if key != "tool_calls"}
        kept |= {"tool_calls": left} if left else {}
        yield f"tool call {number + 1}", {"content": "", **kept}


def without_thoughts(messages: Messages) -> list[dict[str, Any]]:
    """The messages without what was thought."""
    return [
        {key: value for key, value in message.items() if key not in REASONING}
        for message in messages
    ]
