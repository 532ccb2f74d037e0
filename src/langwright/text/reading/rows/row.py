"""One row of a container, and what becomes of the rows that are no documents."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from langwright.errors import BadInput
from langwright.progress import say
from langwright.text.document import Document
from langwright.text.reading.input import Input

TEXT_FIELDS = ("text", "content")
FIELDS = (*TEXT_FIELDS, "title", "source", "licence")


def documents(
    file: Input, rows: Iterator[tuple[int, Any]], unit: str = "row"
) -> Iterator[Document]:
    """The documents of the numbered `rows`, where a `BadInput` stands for what is no row.

    Rows without text are counted in one line. The first bad row is raised; of a lenient file, bad
    rows are counted in one line and left out, unless nothing else is there.
    """
    found, blank, bad = False, 0, 0
    first: BadInput | None = None
    damage: BadInput | None = None
    try:
        for number, row in rows:
            try:
                document = _document(file, unit, number, row)
            except BadInput as error:
                if not file.lenient:
                    raise
                first, bad = first or error, bad + 1
            else:
                if document.text.strip():
                    found = True
                    yield document
                else:
                    blank += 1
    except BadInput as error:
        damage = error
    if blank:
        say(f"skipped {blank} {_plural(unit, blank)} without text in {file}")
    if first is not None and (found or damage):
        what = first.message.removeprefix(str(file)).lstrip(",: ")
        say(f"skipped {bad} bad {_plural(unit, bad)} of {file}, the first: {what}")
    if damage is not None:
        raise damage
    if first is not None and not found:
        raise first


def text_column(file: Input, columns: list[str]) -> str:
    """Which of a table's columns holds the text."""
    twice = [name for name in FIELDS if columns.count(name) > 1]
    if twice:
        raise BadInput(f"{file} has two columns '{twice[0]}'.", remedy="Rename one of them.")
    for name in TEXT_FIELDS:
        if name in columns:
            return name
    shown = ", ".join(repr(name[:40]) for name in columns[:12]) + (", …" * (len(columns) > 12))
    raise BadInput(
        f"{file} has no column 'text' or 'content', only {shown or 'none at all'}.",
        remedy="Name the column with the texts 'text'.",
    )


def _plural(unit: str, count: int) -> str:
    return unit if count == 1 else f"{unit}s"


def _document(file: Input, unit: str, number: int, row: Any) -> Document:
    def wrong(what: str, remedy: str = 'Write each document as {"text": "…"}.') -> BadInput:
        return BadInput(f"{file}, {unit} {number}: {what}.", remedy=remedy)

    if isinstance(row, BadInput):
        raise row
    if not isinstance(row, dict):
        raise wrong("this is not a JSON object")
    if "messages" in row:
        raise wrong(
            "this is a conversation ('messages'), not a text",
            "Conversations are data for fine-tuning (`langwright sft`); a corpus needs 'text'.",
        )

    def field(key: str) -> str | None:
        value = row.get(key)
        if value is None:
            return None
        if not isinstance(value, str):
            raise wrong(f"'{key}' is not a string")
        try:
            value.encode()
        except UnicodeEncodeError:
            raise wrong(
                f"'{key}' holds half of a surrogate pair (an escape from \\ud800 to \\udfff)",
                "Write the whole character, or remove the escape.",
            ) from None
        return value

    text = field("text" if "text" in row else "content")
    if text is None:
        raise wrong("there is no 'text'")
    given = field("source")
    source = f"{file.name}:{number}" if given is None else given
    return Document(text, source, field("title"), field("licence"))
