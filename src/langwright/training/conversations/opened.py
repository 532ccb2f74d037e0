"""Data for fine-tuning as an artifact of the store: by name, of the hub, or of a person's file."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from langwright.errors import BadInput
from langwright.progress import say
from langwright.store import Artifact, Store, pull
from langwright.training.conversations.read import Conversation, Reading, Wrong
from langwright.training.conversations.shape import SHAPES, Shape, error_at, known, shape_of
from langwright.training.conversations.source import files_of, rows

FILE = "conversations.jsonl"
"""The one file of such an artifact: a conversation on each line."""


def open_conversations(name: str, store: Store) -> Artifact:
    """The artifact of kind `conversations` of that name, or one made of a file, a folder, or a
    data set (in the store, or `hf:datasets/OWNER/NAME`), in any of `SHAPES`.

    A path is read anew each time; the digest tells whether it has changed. What the shape is, and
    which fields nothing was made of, is said.

    Raises `BadInput` that names the line for what is none of the shapes, of another shape than
    the first, or not as its shape has it; and for an artifact of another kind.
    """
    path = Path(name).expanduser()
    if path.is_file() or (path.is_dir() and ("/" in name or path.suffix)):
        return _made(path.resolve(), path.resolve().stem, store)
    artifact = pull(name, store=store) if name.startswith("hf:") else store.get(name)
    if artifact.kind == "dataset":
        return _made(store.path(artifact), artifact.name, store, artifact)
    if artifact.kind != "conversations":
        raise BadInput(
            f"'{name}' is a {artifact.kind}, not conversations.",
            remedy=f"Give a file, or conversations from `langwright list`. {known()}",
        )
    return artifact


def _made(path: Path, stem: str, store: Store, dataset: Artifact | None = None) -> Artifact:
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-.") or "data"
    parents, licence = ([dataset], dataset.licence) if dataset else ([], None)
    with store.writing(
        f"conversations-{stem[:80]}", "conversations", parents=parents, licence=licence
    ) as draft:
        reading, shapes = Reading(), Counter[str]()
        count = 0
        with (draft.folder / FILE).open("wb") as file:
            for shape, line in _conversations(files_of(path), reading):
                file.write(line)
                shapes[shape.name] += 1
                count += 1
        if not count:
            raise BadInput(f"{path.name} is empty: it holds no conversation.", remedy=known())
        draft.metrics |= {"conversations": count, "shape": next(iter(shapes))}
    unread = ", ".join(f"'{field}' ({times})" for field, times in reading.unread.items())
    say(
        f"{path.name}: {count:,} conversations in the shape '{next(iter(shapes))}'."
        + (f" Fields that nothing is made of: {unread}." if unread else "")
    )
    return draft.artifact


def _conversations(files: list[Path], reading: Reading) -> Iterator[tuple[Shape, bytes]]:
    """Each as a line of JSON, with the shape that it was in."""
    first: tuple[Shape, str] | None = None
    for file in files:
        for where, row in rows(file, SHAPES[0].example):
            try:
                shape = shape_of(_table(row))
                if first is None:
                    first = shape, where
                elif shape is not first[0]:
                    raise Wrong(
                        f"it is of the shape '{shape.name}', while {first[1]} is '{first[0].name}'",
                        f"Put each shape into a file of its own. {known()}",
                    )
                for one in shape.read(row, reading):
                    yield shape, _line(one)
            except Wrong as wrong:
                raise error_at(where, wrong) from None


def _line(one: Conversation) -> bytes:
    try:
        return (json.dumps(one, ensure_ascii=False) + "\n").encode()
    except UnicodeEncodeError:
        raise Wrong(
            "it holds half of a surrogate pair (an escape from \\ud800 to \\udfff)",
            "Write the whole character, or remove the escape.",
        ) from None


def _table(row: Any) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise Wrong("it is no object", known())
    return row
