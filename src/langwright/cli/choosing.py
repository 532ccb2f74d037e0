"""Choosing between two answers at the terminal. All of it is on standard error, so that standard
output holds the result alone."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from langwright.cli.output import note, visible

if TYPE_CHECKING:
    from langwright.lifecycle.comparing import Choice, Question

_WIDTH = 72
_KEYS: dict[str, Choice] = {
    "l": "left",
    "r": "right",
    "t": "tie",
    "b": "both bad",
    "s": "skip",
    "q": "quit",
}
_ASK = "[l]eft, [r]ight, [t]ie, [b]oth bad, [s]kip or [q]uit? "


def typed() -> Iterator[str]:
    """Prompts as they are typed, until an empty line or Ctrl-D."""
    with suppress(ImportError):  # line editing, where the system has it
        import readline  # noqa: F401
    note("Type a prompt; an empty line or Ctrl-D ends.")
    while text := _line("prompt> "):
        note("(drawing two answers)")
        yield text


def choose(question: Question) -> Choice:
    """Show both answers and take a choice; Ctrl-D quits."""
    of = "" if question.of is None else f" of {question.of}"
    note(f"\nQuestion {question.number}{of} ".ljust(_WIDTH, "="))
    for message in question.messages:
        note(f"[{message['role']}] {_safe(message.get('content') or '(calls a tool)')}")
    for side, text, cut in (
        ("left", question.left, question.left_cut),
        ("right", question.right, question.right_cut),
    ):
        note(f"-- {side} ".ljust(_WIDTH, "-"))
        note(_safe(text) + (" … (cut at the limit)" if cut else ""))
    note("-" * _WIDTH)
    while True:
        said = _line(_ASK)
        if said is None:
            return "quit"
        for key, choice in _KEYS.items():
            if said.lower() in (key, choice):
                return choice


def _line(prompt: str) -> str | None:
    """What is typed, without blanks around it; None at the end."""
    print(prompt, end="", file=sys.stderr, flush=True)
    try:
        return input().strip()
    except EOFError:
        note("")
        return None


def _safe(text: str) -> str:
    return "".join(c if c in "\n\t" else visible(c) for c in text)
