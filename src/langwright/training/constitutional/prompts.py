"""Prompts: requests that tempt to harm, to learn from and to measure on, and plain questions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from langwright.errors import BadInput, NotFound

HOUSE = "house"
"""The name of the sets that come with the package."""


@dataclass(frozen=True)
class Question:
    """A plain question. An answer that helps has a word of each group in `expects`."""

    prompt: str
    expects: tuple[tuple[str, ...], ...]


def read_prompts(name: str, built_in: str) -> list[str]:
    """One prompt a line of a .txt file, or {"prompt": text} a line of a .jsonl file; `house` means
    the package's own set `built_in`.

    Raises `NotFound`, `BadInput` that names the line, also where a prompt stands twice.
    """
    path = _path(name, f"{built_in}.txt")
    prompts: list[str] = []
    seen: dict[str, int] = {}
    for number, line in _lines(path):
        record = _record(path, number, line) if path.suffix == ".jsonl" else {"prompt": line}
        prompt = str(record["prompt"]).strip()
        if (first := seen.setdefault(_plain(prompt), number)) != number:
            raise BadInput(
                f"Lines {first} and {number} of {path.name} are the same prompt.",
                remedy="Leave one of them out.",
            )
        prompts.append(prompt)
    return prompts


def read_questions(name: str) -> list[Question]:
    """One {"prompt": text, "expects": [[word, …], …]} a line; `house` means the package's own.

    Raises `NotFound` and `BadInput` that names the line.
    """
    path = _path(name, "helpful.jsonl")
    found = []
    for number, line in _lines(path):
        record = _record(path, number, line)
        expects = record.get("expects")
        groups = expects if isinstance(expects, list) else []
        if not groups or not all(_is_group(group) for group in groups):
            raise BadInput(
                f"Line {number} of {path.name} does not say which words an answer should have.",
                remedy='Write {"prompt": text, "expects": [["word", "or this"], …]}.',
            )
        found.append(Question(str(record["prompt"]), tuple(map(tuple, groups))))
    return found


def require_apart(learnt: Sequence[str], held_out: Sequence[str]) -> None:
    """Raise `BadInput` where a prompt that is learnt from is measured on, too."""
    known = {_plain(prompt) for prompt in learnt}
    both = [prompt for prompt in held_out if _plain(prompt) in known]
    if both:
        raise BadInput(
            f"{len(both)} prompts are learnt from and held out at once, such as {both[0][:80]!r}.",
            remedy="Take them out of one of the two: the report would measure what was learnt.",
        )


def _is_group(group: object) -> bool:
    return isinstance(group, list) and bool(group) and all(isinstance(word, str) for word in group)


def _plain(prompt: str) -> str:
    return " ".join(prompt.casefold().split())


def _path(name: str, built_in: str) -> Path:
    if name == HOUSE:
        folder = resources.files("langwright.training.constitutional") / "prompts"
        return Path(str(folder / built_in))
    path = Path(name).expanduser()
    if not path.is_file():
        raise NotFound(
            f"There is no file {path}.",
            remedy=f"Give a .txt or .jsonl file of prompts, or '{HOUSE}' for the package's own.",
        )
    return path


def _lines(path: Path) -> list[tuple[int, str]]:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise BadInput(f"{path} is not UTF-8.", remedy="Convert it to UTF-8 first.") from None
    lines = [(n, line) for n, line in enumerate(text.split("\n"), start=1) if line.strip()]
    if not lines:
        raise BadInput(f"{path} is empty.", remedy="Write one prompt a line.")
    return lines


def _record(path: Path, number: int, line: str) -> dict[str, object]:
    try:
        record = json.loads(line)
        if isinstance(record, dict) and str(record.get("prompt") or "").strip():
            return record
    except ValueError:
        pass
    raise BadInput(
        f'Line {number} of {path.name} is no {{"prompt": text}}.', remedy="Correct the line."
    )
