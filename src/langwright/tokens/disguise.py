"""Text of messages on its way through a chat template, in which none of it is a special token."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

from langwright.tokens.tokenizer import split_special

# A number between two marks stands for a special token's name (-1, -2 for the marks themselves, -3
# for nothing). The opening mark never stands for itself, so no text can forge a disguise or the
# borders of what the assistant says.
OPEN, CLOSE = "\U0010fffd", "\U0010fffc"
BEGIN, END = f"{OPEN}begin{CLOSE}", f"{OPEN}end{CLOSE}"
"""The borders of what the assistant says, where the template itself marks it."""

_DISGUISED = re.compile(f"{OPEN}(-?[0-9]+){CLOSE}")
_MARKS = {-1: OPEN, -2: CLOSE, -3: ""}
_NOTHING = f"{OPEN}-3{CLOSE}"


class Disguise:
    """Hides the names of special tokens, so that only the template itself can emit one."""

    def __init__(self, names: Iterable[str]) -> None:
        self._special = {name: index for index, name in enumerate(names)}
        self._names = list(self._special)

    def hide(self, value: Any) -> Any:
        """The same text, table or list, its strings (and keys) in disguise."""
        if isinstance(value, Mapping):
            return {self.hide(name): self.hide(part) for name, part in value.items()}
        if isinstance(value, list | tuple):
            return [self.hide(part) for part in value]
        if not isinstance(value, str):
            return value
        return "".join(
            f"{OPEN}{self._special[piece]}{CLOSE}" if special else self._hide_rest(piece)
            for piece, special in split_special(value, self._special)
        )

    def _hide_rest(self, text: str) -> str:
        """The marks themselves, and the beginning of a name at the end of the text: a template
        that joins two texts without a gap must not complete it."""
        bare = text.rstrip()
        cuts = {
            len(bare) - length + 1
            for name in self._names
            for length in range(1, len(name))
            if bare.endswith(name[:length])
        }
        edges = [0, *sorted(cuts), len(text)]
        parts = (text[start:end] for start, end in pairwise(edges))
        return _NOTHING.join(
            re.sub(f"[{OPEN}{CLOSE}]", lambda mark: _hidden_mark(mark[0]), part) for part in parts
        )

    def reveal(self, text: str) -> str:
        """What it stands for."""

        def original(match: re.Match[str]) -> str:
            number = int(match[1])
            return _MARKS[number] if number < 0 else self._names[number]

        return _DISGUISED.sub(original, text)


def _hidden_mark(mark: str) -> str:
    return f"{OPEN}{-1 if mark == OPEN else -2}{CLOSE}"
