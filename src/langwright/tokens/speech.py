"""What a model says, taken apart: thoughts, text, and calls of tools."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from langwright.backend import ToolCall
from langwright.tokens.speech_form import THINK, THOUGHT, CallForm, SpeechForm
from langwright.tokens.tokenizer import Tokenizer

_DECODER = json.JSONDecoder()


@dataclass(frozen=True)
class Said:
    """What has become certain. `calls` are whole."""

    text: str = ""
    thought: str = ""
    calls: tuple[ToolCall, ...] = ()

    def __add__(self, more: Said) -> Said:
        return Said(self.text + more.text, self.thought + more.thought, self.calls + more.calls)


class Speech:
    """Feed an answer's text piece by piece, the names of its `marks` among it.

    `calls`: whether it may have any. `thinking`: the prompt has begun its thoughts. What begins
    like a call and is none in the end is text, so that nothing is lost.
    """

    def __init__(self, form: SpeechForm, *, calls: bool, thinking: bool) -> None:
        self._thinks = form.thinks
        self._form: CallForm | None = form.calls if calls else None
        self._held = ""
        self._state: Callable[[], Said | None] = self._begins
        if thinking:
            self._state = self._thinking
        self._bare = False  # a call that nothing stands before
        self._begun = ""  # what stood before a call
        self._thought_of = False  # something was

    @property
    def calling(self) -> bool:
        """Whether a call has begun, and nothing of its JSON is there yet."""
        return self._state == self._calling and not self._held.strip()

    def feed(self, text: str) -> Said:
        """What became certain with `text`."""
        self._held += text
        said = Said()
        while (more := self._state()) is not None:
            said += more
        return said

    def finish(self) -> Said:
        """What is left at the end."""
        said = self.feed("")
        left, self._held = self._held, ""
        if self._state == self._thinking:
            return said + Said(thought=left.rstrip("\n"))
        if self._state == self._calling:
            return said + Said(self._begun + left)
        return said + Said("" if self._state == self._called else left)

    # Each state takes what it can from what is held; None where it has to wait for more.

    def _begins(self) -> Said | None:
        """Nothing has been said yet."""
        bare = self._held.lstrip()
        if self._thinks and THINK.startswith(bare[: len(THINK)]):
            if len(bare) < len(THINK):
                return None
            self._held, self._state = bare[len(THINK) :], self._thinking
            return Said()
        if self._form and not self._form.mark:
            if not bare:
                return None
            if bare[0] == "{":
                self._bare, self._state = True, self._calling
                return Said()
        self._state = self._talking
        return Said()

    def _thinking(self) -> Said | None:
        before, found, after = self._held.partition(THOUGHT)
        if not self._thought_of:
            before = before.lstrip("\n")
        self._thought_of = self._thought_of or bool(before)
        if found:
            self._held, self._state = after, self._thought
            return Said(thought=before.rstrip("\n"))
        certain = before[: len(before) - _overlap(before, THOUGHT)].rstrip("\n")
        self._held = before[len(certain) :]
        return Said(thought=certain) if certain else None

    def _thought(self) -> Said | None:
        """The thoughts have ended; line ends that follow are the template's."""
        self._held = self._held.lstrip("\n")
        if not self._held:
            return None
        self._thinks, self._state = False, self._begins
        return Said()

    def _talking(self) -> Said | None:
        mark = self._form.mark if self._form else ""
        if not mark:
            text, self._held = self._held, ""
            return Said(text) if text else None
        before, found, after = self._held.partition(mark)
        if found:
            self._held, self._state = after, self._calling
            text = before.rstrip("\n")
            self._begun = before[len(text) :] + mark
            return Said(text)
        certain = before[: len(before) - _overlap(before, mark)].rstrip("\n")
        if not certain:
            return None
        self._held = before[len(certain) :]
        return Said(certain)

    def _calling(self) -> Said | None:
        assert self._form is not None
        bare = self._held.lstrip()
        if not bare:
            return None
        closed = self._form.after.strip()
        try:
            table, end = _DECODER.raw_decode(bare)
        except ValueError:
            if not self._bare and closed and closed in bare:
                return self._no_call()
            return None
        call = _call(table, self._form.arguments)
        if call is None:
            return self._no_call()
        self._held, self._state = bare[end:], self._called
        return Said(calls=(call,))

    def _no_call(self) -> Said:
        text, self._held, self._state = self._held, "", self._talking
        return Said(self._begun + text)

    def _called(self) -> Said | None:
        """A call is whole; another may follow."""
        assert self._form is not None
        bare = self._held.lstrip()
        closed = self._form.after.strip()
        between = (self._form.between or "").strip()
        if between and not (closed and between.startswith(closed)):
            if bare.startswith(between):
                self._held, self._state = bare[len(between) :], self._calling
                return Said()
            if between.startswith(bare):
                return None
        if closed.startswith(bare) and bare != closed:
            return None
        self._held, self._state = bare.removeprefix(closed), self._after
        return Said()

    def _after(self) -> Said | None:
        self._held = self._held.lstrip("\n")
        if not self._held:
            return None
        self._state = self._talking
        return Said()


def marks(form: SpeechForm, tokenizer: Tokenizer) -> frozenset[int]:
    """The special tokens whose names are to be fed, since what is said is told from them."""
    texts = [THINK, THOUGHT] if form.thinks else []
    if form.calls:
        texts += [form.calls.before, form.calls.after, form.calls.between or ""]
    return frozenset(
        token for name, token in tokenizer.special.items() if any(name in one for one in texts)
    )


def _overlap(text: str, mark: str) -> int:
    """Length of the longest end of `text` that begins the mark."""
    return next((n for n in range(len(mark) - 1, 0, -1) if text.endswith(mark[:n])), 0)


def _call(table: Any, arguments: str) -> ToolCall | None:
    if not isinstance(table, dict) or not isinstance(table.get("name"), str):
        return None
    given = table.get(arguments, {})
    if not isinstance(given, dict):
        return None
    text = json.dumps(given, ensure_ascii=False)
    return ToolCall(f"call_{secrets.token_hex(12)}", table["name"], text)
