"""Prompts to learn from by rewards, with what the data knows of the right answer."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langwright.errors import BadInput, Unsupported
from langwright.model.text_parts import TextParts
from langwright.progress import say
from langwright.store import Artifact, Store
from langwright.text.rows import at_row, read_rows
from langwright.training.messages import check_prompt, messages_of

FILE = "prompts.jsonl"
SHAPE = '{"messages": [{"role", "content"}, …]} or {"prompt": "…"}, and what rewards want to know'


@dataclass(frozen=True)
class PromptRow:
    """What is asked, and the row's other fields."""

    messages: Sequence[Mapping[str, Any]]
    row: Mapping[str, Any]


def read_prompt_rows(path: Path) -> list[PromptRow]:
    """The rows of a .jsonl, .json or .parquet file. Raises `BadInput` that names the row."""
    found = []
    for number, row in read_rows(path, SHAPE):
        try:
            messages = messages_of(row.get("messages", row.get("prompt")))
            check_prompt(messages)
        except BadInput as error:
            raise at_row(path, number, error) from None
        others = {key: one for key, one in row.items() if key not in ("messages", "prompt")}
        found.append(PromptRow(messages, others))
    return found


def open_prompts(name: str, store: Store) -> Artifact:
    """The artifact of kind `prompts` of that name, or one made of a file. Raises as
    `read_prompt_rows`, and `BadInput` for an artifact of another kind."""
    path = Path(name).expanduser()
    if not path.is_file():
        artifact = store.get(name)
        if artifact.kind != "prompts":
            raise BadInput(
                f"'{name}' is of the kind {artifact.kind}, not prompts.",
                remedy=f"Give a .jsonl file of {SHAPE}.",
            )
        return artifact
    rows = read_prompt_rows(path)
    told = [{"messages": list(one.messages), **one.row} for one in rows]
    text = "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in told)
    with store.writing(f"prompts-{path.name.partition('.')[0]}", "prompts") as draft:
        (draft.folder / FILE).write_text(text, encoding="utf-8", newline="\n")
    return draft.artifact


def prompt_rows(artifact: Artifact, store: Store, text: TextParts, room: int) -> list[PromptRow]:
    """Those of an artifact that have at most `room` tokens; of the others it is said how many there
    are. Raises `Unsupported` for a model without a chat template, `BadInput` where fewer than two
    are left."""
    if text.template is None:
        raise Unsupported(
            "The model has no chat template.", remedy="Start from a model that has one."
        )
    rows = read_prompt_rows(store.path(artifact) / FILE)
    sizes = [len(text.template.encode(one.messages, add_generation_prompt=True)) for one in rows]
    kept = [one for one, size in zip(rows, sizes, strict=True) if size <= room]
    if len(kept) < len(rows):
        say(
            f"Left out {len(rows) - len(kept)} prompts longer than {room} tokens; a larger "
            "context_length keeps them."
        )
    if len(kept) < 2:
        raise BadInput(f"{len(kept)} prompts are usable.", remedy="Give at least two.")
    return kept
