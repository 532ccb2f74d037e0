"""Messages as people have them in their files, made into those of a chat template."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from langwright.errors import BadInput
from langwright.tokens.messages import ROLES

Message = Mapping[str, Any]

_ROLE = {
    "human": "user",
    "user": "user",
    "prompter": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "system": "system",
    "observation": "tool",
    "tool": "tool",
}
"""Names of the roles in use -> the template's."""

_SPEAKER = re.compile(r"\n\n(Human|Assistant):")


def is_text(value: object) -> bool:
    """Whether it is a text that can be written down: JSON's escapes allow half a character."""
    try:
        return isinstance(value, str) and value.encode() is not None
    except UnicodeEncodeError:
        return False


def check_prompt(messages: object) -> None:
    """Raises `BadInput` unless `messages` are such that the assistant can answer."""
    if not isinstance(messages, Sequence) or isinstance(messages, str) or not messages:
        raise BadInput("The messages are no list, or none.", remedy="Give at least one.")
    for message in messages:
        if not isinstance(message, Mapping) or message.get("role") not in ROLES:
            raise BadInput(
                f"A message has not one of the roles {', '.join(ROLES)}.",
                remedy='Write each message as {"role": "user", "content": "…"}.',
            )
        if not is_text(message.get("content")):
            # An assistant that calls a tool need not say anything.
            if message["role"] == "assistant" and message.get("tool_calls"):
                continue
            raise BadInput(
                f"The content of a message ({message['role']}) is no text.",
                remedy='Write each message as {"role": "user", "content": "…"}.',
            )
    if messages[-1]["role"] not in ("user", "tool"):
        raise BadInput(
            f"The prompt ends with the {messages[-1]['role']}, not with the user.",
            remedy="Let its last message be what is to be answered.",
        )


def message_of(given: object) -> dict[str, Any]:
    """One message: {"role", "content"}, {"from", "value"}, or with a content of text parts. Other
    fields of the former stay. Raises `BadInput`."""
    if not isinstance(given, Mapping):
        raise BadInput("A message is no object.", remedy='Write {"role": "user", "content": "…"}.')
    row = {key: value for key, value in given.items() if value is not None}
    name = row.pop("from", None) if "from" in row else row.pop("role", None)
    content = row.pop("value", None) if "value" in row else row.pop("content", None)
    row.pop("loss_weight", None)  # which turns are learnt is the stage's affair
    if name not in _ROLE:
        raise BadInput(
            f"The role of a message is {name!r}.",
            remedy=f"The roles are {', '.join(_ROLE)}.",
        )
    said = {} if content is None else {"content": _text(content)}
    return {"role": _ROLE[str(name)], **said, **row}


def messages_of(given: object) -> list[dict[str, Any]]:
    """A list of messages; a text is one of the user's, unless its speakers are marked as hh-rlhf
    does ("\\n\\nHuman: … \\n\\nAssistant: …")."""
    if isinstance(given, str):
        return transcript(given) if _SPEAKER.match(given) else [{"role": "user", "content": given}]
    if not isinstance(given, list) or not given:
        raise BadInput("The messages are no list, or none.", remedy="Give at least one.")
    return [message_of(one) for one in given]


def transcript(text: str) -> list[dict[str, Any]]:
    """The turns of a text whose speakers are marked with "\\n\\nHuman:" and "\\n\\nAssistant:". The
    one blank behind a mark is not theirs. Raises `BadInput` where it begins otherwise."""
    before, *parts = _SPEAKER.split(text)
    if before or not parts:
        raise BadInput(
            "The text does not begin with '\\n\\nHuman:'.", remedy="Mark each turn's speaker."
        )
    return [
        {"role": _ROLE[speaker.lower()], "content": said.removeprefix(" ")}
        for speaker, said in zip(parts[::2], parts[1::2], strict=True)
    ]


def _text(content: object) -> str:
    """A text, or one in parts: [{"type": "text", "text" or "value": "…"}, …]."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = [part.get("text", part.get("value")) for part in parts if isinstance(part, Mapping)]
    kinds = {part.get("type", "text") for part in parts if isinstance(part, Mapping)}
    if not parts or kinds != {"text"} or not all(isinstance(text, str) for text in texts):
        raise BadInput("The content of a message is no text.", remedy="Give texts alone.")
    return "".join(map(str, texts))
