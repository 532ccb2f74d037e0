"""The blocks of which Anthropic's messages are made, and the turns of a conversation.

https://platform.claude.com/docs/en/api/messages
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Discriminator

from langwright.wire import turns
from langwright.wire.body import ANY, BadBody, Body

CACHED: Mapping[str, object] = {"cache_control": ANY}


class Text(Body):
    ACCEPTED: ClassVar[Mapping[str, object]] = {**CACHED, "citations": ([],)}

    type: Literal["text"]
    text: str


class Thinking(Body):
    """A thought; its signature is for the server that wrote it."""

    ACCEPTED: ClassVar[Mapping[str, object]] = {"signature": ANY}

    type: Literal["thinking"]
    thinking: str


class RedactedThinking(Body):
    """A thought that another server encrypted; its `data` cannot be read."""

    type: Literal["redacted_thinking"]


class ToolUse(Body):
    ACCEPTED: ClassVar[Mapping[str, object]] = {**CACHED, "caller": ({"type": "direct"},)}

    type: Literal["tool_use"]
    id: str
    name: str
    input: dict[str, Any]


class ToolResult(Body):
    ACCEPTED: ClassVar[Mapping[str, object]] = CACHED

    type: Literal["tool_result"]
    tool_use_id: str
    content: str | list[Text] | None = None
    is_error: bool | None = None


Block = Annotated[Text | Thinking | RedactedThinking | ToolUse | ToolResult, Discriminator("type")]


class Message(Body):
    role: Literal["user", "assistant", "system"]
    content: str | list[Block]


def joined(content: str | Sequence[Text] | None) -> str:
    if isinstance(content, str):
        return content
    return "".join(one.text for one in content or ())


def messages(told: Sequence[Message]) -> Iterator[dict[str, Any]]:
    """The turns; what tools gave back stands in turns of its own."""
    for number, one in enumerate(told):
        if isinstance(one.content, str):
            yield {"role": one.role, "content": one.content}
        elif one.role == "assistant":
            yield _assistant(one.content, f"messages.{number}.content")
        else:
            yield from _others(one.role, one.content, f"messages.{number}.content")


def _assistant(blocks: Sequence[Any], at: str) -> dict[str, Any]:
    texts, thoughts, calls = list[str](), "", list[dict[str, Any]]()
    for number, block in enumerate(blocks):
        if isinstance(block, Text):
            texts.append(block.text)
        elif isinstance(block, Thinking):
            thoughts += block.thinking
        elif isinstance(block, ToolUse):
            calls.append(turns.call(block.id, block.name, turns.compact(block.input)))
        elif not isinstance(block, RedactedThinking):
            raise _misplaced(block, f"{at}.{number}")
    return turns.assistant("".join(texts) if texts else None, thoughts, calls)


def _others(role: str, blocks: Sequence[Any], at: str) -> Iterator[dict[str, Any]]:
    held = list[str]()
    for number, block in enumerate(blocks):
        if isinstance(block, Text):
            held.append(block.text)
        elif isinstance(block, ToolResult) and role == "user":
            if held:
                yield {"role": role, "content": "".join(held)}
                held = []
            told = {"role": "tool", "content": joined(block.content)}
            failed = {"is_error": True} if block.is_error else {}
            yield {**told, "tool_call_id": block.tool_use_id, **failed}
        else:
            raise _misplaced(block, f"{at}.{number}")
    if held or not blocks:
        yield {"role": role, "content": "".join(held)}


def _misplaced(block: Body, at: str) -> BadBody:
    kind = getattr(block, "type", "")
    return BadBody(f"{at}: a block of type '{kind}' has no place in this turn.", at)


def written(told: Sequence[Mapping[str, Any]]) -> tuple[str | None, list[dict[str, Any]]]:
    """What the first turns say as the system, and the messages that say the others."""
    system = None
    if told and told[0]["role"] == "system":
        system, told = turns.text_of(told[0]), told[1:]
    found: list[dict[str, Any]] = []
    gathers = False
    for turn in told:
        if turn["role"] != "tool":
            gathers = False
            found.append({"role": turn["role"], "content": _content(turn)})
            continue
        result = {
            "type": "tool_result",
            "tool_use_id": turn.get("tool_call_id") or "",
            "content": turns.text_of(turn),
        }
        if turn.get("is_error"):
            result["is_error"] = True
        if not gathers:
            found.append({"role": "user", "content": []})
        gathers = True
        found[-1]["content"].append(result)
    return system, found


def _content(turn: Mapping[str, Any]) -> str | list[dict[str, Any]]:
    text, calls = turns.text_of(turn), turns.calls_of(turn)
    thought = turn.get("reasoning_content")
    if not thought and not calls:
        return text
    blocks: list[dict[str, Any]] = []
    if thought:
        blocks.append({"type": "thinking", "thinking": thought, "signature": ""})
    if text:
        blocks.append({"type": "text", "text": text})
    for one in calls:
        told = {"type": "tool_use", "id": one.id, "name": one.name}
        blocks.append({**told, "input": turns.table(one)})
    return blocks
