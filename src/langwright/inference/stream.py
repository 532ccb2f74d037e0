"""From tokens to text as it becomes certain: whole characters, never part of a stop string."""

from __future__ import annotations

import codecs
from collections.abc import Sequence

from langwright.tokens import Said, Speech, Tokenizer


class StopStrings:
    """Feed text, get back what is certain. `found` becomes the stop string that has appeared."""

    def __init__(self, stop: Sequence[str] = ()) -> None:
        self._stop = tuple(stop)
        self._held = ""
        self.found: str | None = None

    @property
    def stopped(self) -> bool:
        return self.found is not None

    def feed(self, text: str) -> str:
        """What became certain with `text`: never part of a stop string."""
        self._held += text
        found = [(at, one) for one in self._stop if (at := self._held.find(one)) >= 0]
        if found:
            first, self.found = min(found)
            return self._held[:first]
        keep = max((self._overlap(stop) for stop in self._stop), default=0)
        certain, self._held = (
            self._held[: len(self._held) - keep],
            self._held[len(self._held) - keep :],
        )
        return certain

    def finish(self) -> str:
        """What is left at the end."""
        return "" if self.stopped else self._held

    def _overlap(self, stop: str) -> int:
        """Length of the longest end of the held text that begins `stop`."""
        longest = min(len(stop) - 1, len(self._held))
        return next((n for n in range(longest, 0, -1) if self._held.endswith(stop[:n])), 0)


class TextStream:
    """Feed tokens, get text."""

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str] = ()) -> None:
        self._tokenizer, self._stop = tokenizer, StopStrings(stop)
        self._special = frozenset(tokenizer.special.values())
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    @property
    def stopped(self) -> bool:
        """Whether a stop string has appeared."""
        return self._stop.stopped

    def feed(self, token: int) -> str:
        """The text that became certain with `token`; special tokens have none."""
        if token in self._special or token >= self._tokenizer.vocab_size:
            return ""
        return self._stop.feed(self._decoder.decode(self._tokenizer.token_bytes(token)))

    def finish(self) -> str:
        """What is left at the end; the bytes of a character cut in two become U+FFFD."""
        if self.stopped:
            return ""
        return self._stop.feed(self._decoder.decode(b"", final=True)) + self._stop.finish()


class SpeechStream:
    """Feed tokens, get what is said. `speech` takes it apart, by the names of the special tokens
    `marks`; stop strings are looked for in the text alone."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        stop: Sequence[str] = (),
        speech: Speech | None = None,
        marks: frozenset[int] = frozenset(),
    ) -> None:
        self._tokenizer, self._speech, self._marks = tokenizer, speech, marks
        self._plain, self._stop = TextStream(tokenizer), StopStrings(stop)

    @property
    def stopped(self) -> str | None:
        """The stop string that has appeared."""
        return self._stop.found

    @property
    def calling(self) -> bool:
        """Whether a call has just begun."""
        return self._speech is not None and self._speech.calling

    def feed(self, token: int) -> Said:
        if token in self._marks:
            text = self._tokenizer.token_bytes(token).decode()
        else:
            text = self._plain.feed(token)
        return self._cut(self._speech.feed(text) if self._speech else Said(text))

    def finish(self) -> Said:
        """What is left at the end."""
        if self.stopped is not None:
            return Said()
        said = Said(self._plain.finish())
        if self._speech:
            said = self._speech.feed(said.text) + self._speech.finish()
        said = self._cut(said)
        return said + Said(self._stop.finish())

    def _cut(self, said: Said) -> Said:
        return Said(self._stop.feed(said.text), said.thought, said.calls) if said.text else said
