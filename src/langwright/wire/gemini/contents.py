"""The contents of which Gemini makes a conversation, and its turns.

https://ai.google.dev/api/caching#Content
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict
from pydantic.alias_generators import to_camel

from langwright.wire import turns
from langwright.wire.body import ANY, BadBody, Body


class GeminiBody(Body):
    """Names in camelCase and in snake_case, as in all of Google's JSON."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)

    def odd(self) -> tuple[str, ...]:
        return tuple(
            to_camel(name)
            for name, value in (self.model_extra or {}).items()
            if self._odd(to_camel(name), value)
        )


class FunctionCall(GeminiBody):
    id: str | None = None
    name: str
    args: dict[str, Any] | None = None


class FunctionResponse(GeminiBody):
    ACCEPTED: ClassVar[Mapping[str, object]] = {"willContinue": False, "parts": ([],)}

    id: str | None = None
    name: str
    response: dict[str, Any]

    def text(self) -> str:
        """`output` and `result` are the two names for a result that is no table."""
        if len(self.response) == 1 and (names := {"output", "result"} & self.response.keys()):
            said = self.response[names.pop()]
            return said if isinstance(said, str) else turns.compact(said)
        return turns.compact(self.response)


class Part(GeminiBody):
    ACCEPTED: ClassVar[Mapping[str, object]] = {"thoughtSignature": ANY, "partMetadata": ANY}

    text: str | None = None
    thought: bool | None = None
    function_call: FunctionCall | None = None
    function_response: FunctionResponse | None = None

    def unheeded(self) -> tuple[str, ...]:
        """A part that is not read is refused where it stands."""
        return super().unheeded() if self.is_read else ()

    @property
    def is_read(self) -> bool:
        given = (self.text, self.function_call, self.function_response)
        return sum(one is not None for one in given) == 1


class Content(GeminiBody):
    role: Literal["user", "model", "function", "system", ""] | None = None
    parts: list[Part] | None = None

    def read(self, at: str) -> list[Part]:
        """The parts. Raises `BadBody` for one that is neither text nor call nor its result."""
        for number, part in enumerate(self.parts or ()):
            if not part.is_read:
                where = f"{at}.parts.{number}"
                kind = next(iter(part.model_extra or {}), "nothing")
                raise BadBody(f"{where}: a part with '{kind}' is not read.", where)
        return self.parts or []


def text_of(content: Content, at: str) -> str:
    """Raises `BadBody` where there is more than text."""
    parts = content.read(at)
    for number, part in enumerate(parts):
        if part.text is None:
            where = f"{at}.parts.{number}"
            raise BadBody(f"{where}: it is no text.", where)
    return "".join(part.text or "" for part in parts)


def messages(contents: Sequence[Content]) -> Iterator[dict[str, Any]]:
    """The turns; what tools gave back stands in turns of its own."""
    for number, one in enumerate(contents):
        at = f"contents.{number}"
        if one.role == "model":
            yield _assistant(one.read(at), at)
        elif one.role == "system":
            yield {"role": "system", "content": text_of(one, at)}
        else:
            yield from _user(one.read(at), at)


def _assistant(parts: Sequence[Part], at: str) -> dict[str, Any]:
    texts, thoughts, calls = list[str](), "", list[dict[str, Any]]()
    for number, part in enumerate(parts):
        if part.text is not None and part.thought:
            thoughts += part.text
        elif part.text is not None:
            texts.append(part.text)
        elif (call := part.function_call) is not None:
            calls.append(turns.call(call.id, call.name, turns.compact(call.args or {})))
        else:
            where = f"{at}.parts.{number}"
            raise BadBody(f"{where}: a model gives no results of tools.", where)
    return turns.assistant("".join(texts) if texts else None, thoughts, calls)


def _user(parts: Sequence[Part], at: str) -> Iterator[dict[str, Any]]:
    held = list[str]()
    for number, part in enumerate(parts):
        if part.text is not None:
            held.append(part.text)
        elif (given := part.function_response) is not None:
            if held:
                yield {"role": "user", "content": "".join(held)}
                held = []
            of = {"tool_call_id": given.id} if given.id else {"name": given.name}
            yield {"role": "tool", "content": given.text(), **of}
        else:
            where = f"{at}.parts.{number}"
            raise BadBody(f"{where}: only the model calls tools.", where)
    if held or not parts:
        yield {"role": "user", "content": "".join(held)}


def written(told: Sequence[Mapping[str, Any]]) -> tuple[str | None, list[dict[str, Any]]]:
    """What the first turn says as the system, and the contents that say the others."""
    system = None
    if told and told[0]["role"] == "system":
        system, told = turns.text_of(told[0]), told[1:]
    names: dict[str, str] = {}
    found: list[dict[str, Any]] = []
    gathers = False
    for turn in told:
        if turn["role"] != "tool":
            gathers = False
            names |= {one.id: one.name for one in turns.calls_of(turn)}
            role = "model" if turn["role"] == "assistant" else turn["role"]
            found.append({"role": role, "parts": _parts(turn)})
            continue
        ident = turn.get("tool_call_id") or ""
        said = {"name": turn.get("name") or names.get(ident) or ident}
        said |= {"id": ident} if ident else {}
        if not gathers:
            found.append({"role": "user", "parts": []})
        gathers = True
        response = {**said, "response": {"output": turns.text_of(turn)}}
        found[-1]["parts"].append({"functionResponse": response})
    return system, found


def _parts(turn: Mapping[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    if thought := turn.get("reasoning_content"):
        found.append({"text": thought, "thought": True})
    calls = turns.calls_of(turn)
    if turn.get("content") or not calls:
        found.append({"text": turns.text_of(turn)})
    for one in calls:
        ident = {"id": one.id} if one.id else {}
        found.append({"functionCall": {**ident, "name": one.name, "args": turns.table(one)}})
    return found
