"""Prompts: what a model is asked, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from langwright.errors import BadInput
from langwright.text import read_documents
from langwright.text.rows import at_row, read_rows
from langwright.training.messages import check_prompt, messages_of

SHAPE = '{"prompt": "…"} or {"messages": [{"role", "content"}, …]}'

Prompt = list[dict[str, Any]]


def prompts_of(given: Iterable[object]) -> Iterator[Prompt]:
    """Each as messages; a text is one of the user's. Raises `BadInput` for what asks nothing."""
    for one in given:
        yield _prompt(one)


def read_prompts(path: Path) -> list[Prompt]:
    """Those of a `.txt` file, one a line, blank lines left out; or of the rows of a `.jsonl`,
    `.json` or `.parquet` file, in `prompt` (a text, or messages) or `messages`. Raises `BadInput`
    that names the row, and `NotFound`."""
    if path.suffix == ".txt":
        (document,) = read_documents(path)
        return [_prompt(line) for line in document.text.splitlines() if line.strip()]
    found = []
    for number, row in read_rows(path, SHAPE):
        try:
            found.append(_prompt(row.get("messages", row.get("prompt"))))
        except BadInput as error:
            raise at_row(path, number, error) from None
    return found


def _prompt(given: object) -> Prompt:
    messages = messages_of(given)
    check_prompt(messages)
    if not any(str(one.get("content", "")).strip() for one in messages):
        raise BadInput("The prompt is empty.", remedy="Ask something.")
    return messages
