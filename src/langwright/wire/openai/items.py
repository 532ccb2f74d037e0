"""The items of which OpenAI's responses make a conversation, and its turns.

https://platform.openai.com/docs/api-reference/responses/create#responses-create-input
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Discriminator, Tag

from langwright.wire import turns
from langwright.wire.body import ANY, BadBody, Body

TEXTS = ("input_text", "output_text", "text", "summary_text", "reasoning_text")


class Part(Body):
    """A piece of a message. `refusal`: what was said in place of an answer."""

    ACCEPTED: ClassVar[Mapping[str, object]] = {"annotations": ANY, "logprobs": ANY}

    type: str
    text: str | None = None
    refusal: str | None = None


class Message(Body):
    ACCEPTED: ClassVar[Mapping[str, object]] = {"id": ANY, "status": ANY, "phase": ANY}

    type: Literal["message"] = "message"
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[Part]


class FunctionCall(Body):
    ACCEPTED: ClassVar[Mapping[str, object]] = {"id": ANY, "status": ANY}

    type: Literal["function_call"]
    call_id: str
    name: str
    arguments: str


class FunctionCallOutput(Body):
    ACCEPTED: ClassVar[Mapping[str, object]] = {"id": ANY, "status": ANY}

    type: Literal["function_call_output"]
    call_id: str
    output: str | list[Part]


class Reasoning(Body):
    """A thought; one that is encrypted is another server's, and cannot be read."""

    ACCEPTED: ClassVar[Mapping[str, object]] = {"id": ANY, "status": ANY}

    type: Literal["reasoning"]
    content: list[Part] | None = None
    summary: list[Part] | None = None


def _kind(given: Any) -> str:
    return str(given.get("type") or "message") if isinstance(given, dict) else "message"


Item = Annotated[
    Annotated[Message, Tag("message")]
    | Annotated[FunctionCall, Tag("function_call")]
    | Annotated[FunctionCallOutput, Tag("function_call_output")]
    | Annotated[Reasoning, Tag("reasoning")],
    Discriminator(_kind),
]


def messages(items: Sequence[Message | FunctionCall | FunctionCallOutput | Reasoning]) -> list[Any]:
    """The turns. A thought, what is said after it and the calls that follow are one turn."""
    told: list[dict[str, Any]] = []
    thought, number = "", -1

    def turn(text: str | None, calls: Sequence[Mapping[str, Any]]) -> None:
        nonlocal thought
        told.append(turns.assistant(text, thought, calls))
        thought = ""

    for number, item in enumerate(items):
        at = f"input.{number}"
        if isinstance(item, Reasoning):
            thought += _text(item.content or item.summary or [], at)
        elif isinstance(item, FunctionCall):
            call = turns.call(item.call_id, item.name, item.arguments)
            if told and told[-1]["role"] == "assistant" and not thought:
                told[-1].setdefault("tool_calls", []).append(call)
            else:
                turn(None, [call])
        elif isinstance(item, Message) and item.role == "assistant":
            turn(_text(item.content, at), [])
        else:
            if thought:
                turn("", [])
            told.append(_other(item, at))
    if thought:
        turn("", [])
    return told


def _other(item: Message | FunctionCallOutput, at: str) -> dict[str, Any]:
    if isinstance(item, FunctionCallOutput):
        said = _text(item.output, at)
        return {"role": "tool", "content": said, "tool_call_id": item.call_id}
    role = "system" if item.role == "developer" else item.role
    return {"role": role, "content": _text(item.content, at)}


def _text(content: str | list[Part], at: str) -> str:
    if isinstance(content, str):
        return content
    found = ""
    for number, part in enumerate(content):
        text = part.refusal if part.type == "refusal" else part.text
        if text is None or part.type not in (*TEXTS, "refusal"):
            where = f"{at}.content.{number}"
            raise BadBody(f"{where}: a part of type '{part.type}' is not read.", where)
        found += text
    return found


def written(told: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The items that say these turns."""
    return [item for turn in told for item in _items(turn)]


def _items(turn: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    if turn["role"] == "tool":
        yield {
            "type": "function_call_output",
            "call_id": turn.get("tool_call_id") or "",
            "output": turns.text_of(turn),
        }
        return
    if thought := turn.get("reasoning_content"):
        said = [{"type": "reasoning_text", "text": thought}]
        yield {"type": "reasoning", "id": "rs_0", "summary": [], "content": said}
    calls = turns.calls_of(turn)
    if turn.get("content") or not calls:
        yield {"type": "message", "role": turn["role"], "content": turns.text_of(turn)}
    for one in calls:
        yield {
            "type": "function_call",
            "call_id": one.id,
            "name": one.name,
            "arguments": one.arguments,
        }
