"""From tokens to text as it becomes certain: whole characters, never part of a stop string."""

from __future__ import annotations

import codecs
from collections.abc import Sequence

from langwright.tokens import Tokenizer


class StopStrings:
    """Feed text, get back what is certain. `stopped` becomes true when a stop string appeared."""

    def __init__(self, stop: Sequence[str] = ()) -> None:
        self._stop = tuple(stop)
        self._held = ""
        self.stopped = False

    def feed(self, text: str) -> str:
        """What became certain with `text`: never part of a stop string."""
        self._held += text
        found = [place for place in map(self._held.find, self._stop) if place >= 0]
        if found:
            self.stopped = True
            return self._held[: min(found)]
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
