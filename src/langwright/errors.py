"""The errors that a user sees: each says what happened and what to do about it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class LangwrightError(Exception):
    """An error meant for a person.

    `message` names the cause, `remedy` the next thing to do. `type` is the word that programs
    see in `{"error": {"type", "message", "remedy"}}`.
    """

    type = "failure"

    def __init__(self, message: str, *, remedy: str) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}"

    def to_json(self) -> dict[str, dict[str, str]]:
        return {"error": {"type": self.type, "message": self.message, "remedy": self.remedy}}


class NotFound(LangwrightError):
    """A name that nothing answers to."""

    type = "not_found"


class BadInput(LangwrightError):
    """A file, text or value that cannot be used as it is."""

    type = "bad_input"


class TooLong(BadInput):
    """A prompt of `tokens`, or `at_least` so many, for which a model's `window`, in tokens, has no
    room."""

    def __init__(self, tokens: int, window: int, *, remedy: str, at_least: bool = False) -> None:
        count = f"at least {tokens}" if at_least else str(tokens)
        super().__init__(
            f"The prompt has {count} tokens; the model's window is {window} and must hold the "
            "answer too.",
            remedy=remedy,
        )
        self.tokens, self.window = tokens, window


class BadSettings(LangwrightError):
    """Settings that do not fit together, or not with what is there."""

    type = "bad_settings"


class Damaged(LangwrightError):
    """Stored bytes that are no longer what was written."""

    type = "damaged"


class NetworkMissing(LangwrightError):
    """Something had to be fetched and could not be."""

    type = "network"


class NoSpace(LangwrightError):
    """The disk is full."""

    type = "no_space"


class Busy(LangwrightError):
    """Another process holds what this one needs."""

    type = "busy"


class Unsupported(LangwrightError):
    """A back end or a file asks for what is not built."""

    type = "unsupported"


def suggest(name: str, known: Iterable[str], most: int = 12) -> str:
    """A remedy for a misspelt `name`: the nearest of `known`, or all where they are few."""
    options = sorted(set(known))
    close = difflib.get_close_matches(name, options, n=3, cutoff=0.5)
    if close:
        return "Did you mean " + " or ".join(f"'{option}'" for option in close) + "?"
    if options and len(options) <= most:
        return "Known: " + ", ".join(options) + "."
    return "`langwright list` shows what is there."
