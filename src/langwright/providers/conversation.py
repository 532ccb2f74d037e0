"""A conversation with a model, turn by turn."""

from __future__ import annotations

from collections.abc import Generator
from typing import Unpack

from langwright.backend import Event
from langwright.errors import Unsupported
from langwright.providers.handle import Model
from langwright.providers.options import Options


class Conversation:
    """What was said so far, in `messages`; raises `Unsupported` for a model that cannot chat."""

    def __init__(self, model: Model, **options: Unpack[Options]) -> None:
        if not model.backend.capabilities().chat:
            raise Unsupported(
                f"'{model.name}' has no chat template.",
                remedy="Use `generate`, or fine-tune the model for chat first.",
            )
        self.model = model
        self.messages: list[dict[str, str]] = []
        self._options = options

    def say(self, text: str) -> Generator[Event, None, None]:
        """Say `text` and get the answer's events.

        An answer that is broken off (the iterator closed) stays with what was said of it; when
        nothing was, or an error came, the conversation is as it was before.
        """
        asked = [*self.messages, {"role": "user", "content": text}]
        answer, ended = "", False
        try:
            for event in self.model.stream(asked, **self._options):
                answer += event.text
                ended = event.finish_reason is not None
                yield event
        finally:
            if answer or ended:
                self.messages = [*asked, {"role": "assistant", "content": answer}]

    def reset(self) -> None:
        """Forget everything."""
        self.messages = []
