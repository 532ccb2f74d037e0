"""Evaluation sets in training text, found by shared runs of words (Brown et al. 2020, app. C)."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from langwright.errors import BadInput, NotFound
from langwright.text.cleaning.step import Dropped
from langwright.text.document import Document
from langwright.text.grams import Hashes, gram_hashes, simple_words

N = 13


@dataclass(frozen=True, eq=False)
class ContaminationIndex:
    """The 13-grams of evaluation items: `grams` sorted, uint64; `items[i]` the item of `grams[i]`,
    int32, as an index into `names`."""

    grams: Hashes
    items: npt.NDArray[np.int32]
    names: tuple[str, ...]

    @classmethod
    def build(cls, texts: Iterable[tuple[str, str]]) -> ContaminationIndex:
        """From (name, text) of items. Items of fewer than 13 words have none, and are not found:
        so short a run of words is in too many innocent texts.

        Raises `BadInput` where no item is long enough."""
        names: list[str] = []
        grams: list[Hashes] = []
        items: list[npt.NDArray[np.int32]] = []
        for name, text in texts:
            found = gram_hashes(simple_words(text), N)
            if len(found):
                grams.append(found)
                items.append(np.full(len(found), len(names), dtype=np.int32))
                names.append(name)
        if not names:
            raise BadInput(
                f"The evaluation sets hold no text of {N} words or more.",
                remedy="Give a JSON lines, CSV or text file with the items' texts.",
            )
        joined, first = np.unique(np.concatenate(grams), return_index=True)
        return cls(joined, np.concatenate(items)[first], tuple(names))

    def find(self, text: str) -> tuple[str, str] | None:
        """The first shared run of 13 words, as (name of the item, the words); None without one."""
        words = simple_words(text)
        found = gram_hashes(words, N)
        if not len(found):
            return None
        places = np.minimum(np.searchsorted(self.grams, found), len(self.grams) - 1)
        hits = np.flatnonzero(self.grams[places] == found)
        if not len(hits):
            return None
        at = int(hits[0])
        return self.names[self.items[places[at]]], " ".join(words[at : at + N])


@dataclass(frozen=True, eq=False)
class Decontaminate:
    """Drops a document that shares 13 words in a row with an evaluation item.

    Words are compared in lower case, without accents and punctuation. An item that is told in
    other words is not found.
    """

    index: ContaminationIndex
    name: str = "contamination"
    source: str = "13 words in a row of an evaluation item (Brown et al. 2020, appendix C)"

    def __call__(self, document: Document) -> Document | Dropped:
        found = self.index.find(document.full_text)
        if found is None:
            return document
        return Dropped("contamination_13gram", f'{found[0]}: "{found[1]}"')


def evaluation_texts(path: Path) -> Iterator[tuple[str, str]]:
    """(name, text) of the items of a file: each string in a row of `.jsonl` or `.csv`, named
    `file:row`; any other file is one item."""
    if not path.is_file():
        raise NotFound(f"There is no file {path}.", remedy="Check the path.")
    try:
        with path.open(encoding="utf-8", newline="") as file:
            if path.suffix == ".jsonl":
                for number, line in enumerate(file, start=1):
                    if line.strip():
                        for text in _strings(json.loads(line)):
                            yield f"{path.name}:{number}", text
            elif path.suffix == ".csv":
                for number, row in enumerate(csv.reader(file), start=1):
                    for text in row:
                        yield f"{path.name}:{number}", text
            else:
                yield path.name, file.read()
    except (ValueError, RecursionError, csv.Error) as error:
        raise BadInput(
            f"{path} cannot be read as an evaluation set: {error}.",
            remedy="Give JSON lines, CSV or text in UTF-8.",
        ) from None


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _strings(part)
