"""Which documents are for training and which for validation."""

from __future__ import annotations

import hashlib
import tempfile
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, cast, overload

import numpy as np
import numpy.typing as npt

from langwright.errors import BadInput, BadSettings
from langwright.progress import say
from langwright.store.atomic import space_checked
from langwright.text.document import Document

LONGEST_BYTES = 16 * 1024
"""A document whose text is longer than this is cut in sections."""

SECTION_BYTES = 8 * 1024

_ENDS = (
    (b"\n\n",),
    (b"\n",),
    (b". ", b"! ", b"? ", "。".encode()),
    (b" ",),
)
"""Where a cut hurts least, best first: paragraphs, lines, sentences, words."""


class Side(Sequence[Document]):
    """Documents of one side of a split, in the order of their digests, so that neighbours have
    nothing to do with each other. They lie on disk and are read when asked for."""

    def __init__(self, file: BinaryIO, spans: npt.NDArray[np.int64]) -> None:
        self._file, self._spans = file, spans

    def __len__(self) -> int:
        return len(self._spans)

    @overload
    def __getitem__(self, index: int) -> Document: ...
    @overload
    def __getitem__(self, index: slice) -> list[Document]: ...
    def __getitem__(self, index: int | slice) -> Document | list[Document]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        start, size = self._spans[index].tolist()
        self._file.seek(start)
        return Document.from_line(self._file.read(size))


def split(
    documents: Iterable[Document], validation_fraction: float, scratch: Path | None = None
) -> tuple[Side, Side]:
    """The sections of the documents as (training, validation), in the order of their digests.

    The side is decided by a hash of the section's text alone: equal texts are on one side, under
    whatever title, and adding documents moves none of those already there. About
    `validation_fraction` (between 0 and 1) of the sections go to validation. Only where that
    leaves a side empty, as in a very small corpus, validation gets the text with the lowest
    hash and training all others. Exact duplicates (title and text) are dropped and reported.

    Memory holds 48 bytes for a section; the text lies in a nameless file on the disk of `scratch`
    (default: the system's temporary folder), which is gone with the two sides or the process.

    Raises `BadInput` for a corpus of fewer than two different sections.
    """
    if not 0 < validation_fraction < 1:
        raise BadSettings(
            f"validation_fraction is {validation_fraction}, not between 0 and 1.",
            remedy="Give the share of the corpus to validate on, such as 0.1.",
        )
    digests, keys, ends = bytearray(), array("Q"), array("q", [0])
    scratch = scratch or Path(tempfile.gettempdir())
    file = cast(BinaryIO, tempfile.TemporaryFile(dir=scratch))  # noqa: SIM115 (stays open)
    with space_checked(scratch):
        for document in documents:
            for section in cut(document):
                digests += bytes.fromhex(section.digest)
                keys.append(_key(section))
                ends.append(ends[-1] + file.write(section.to_line()))
        file.flush()

    hashes = np.frombuffer(digests, dtype="S32")
    order = np.argsort(hashes, kind="stable")
    first = np.ones(len(order), dtype=bool)
    first[1:] = hashes[order[1:]] != hashes[order[:-1]]
    order = order[first]
    if dropped := len(hashes) - len(order):
        noun = "duplicate" if dropped == 1 else "duplicates"
        say(f"dropped {dropped} exact {noun} of {len(hashes)}")

    key = np.frombuffer(keys, dtype=np.uint64)[order]
    distinct = len(np.unique(key))
    if distinct < 2:
        raise BadInput(
            f"The corpus has {distinct or 'no'} section of text: too little to train on one part"
            " and validate on another.",
            remedy=f"Add another document, or a text of more than {LONGEST_BYTES // 1024} KiB.",
        )
    held_out = key < np.uint64(int(validation_fraction * 2**64))
    if held_out.all() or not held_out.any():
        held_out = key == key.min()
    spans = np.stack([np.array(ends[:-1]), np.diff(ends)], axis=1)[order]
    return Side(file, spans[~held_out]), Side(file, spans[held_out])


def cut(document: Document) -> Iterator[Document]:
    """The document itself, or its sections if its text is longer than `LONGEST_BYTES` of UTF-8.

    The texts of the sections, joined, are the text. Each has between half and one and a half
    times `SECTION_BYTES`; it ends with a paragraph if it can, else with a line, a sentence, a word.
    The first alone keeps the title; the sources are marked `#1`, `#2`, …
    """
    data = document.text.encode()
    if len(data) <= LONGEST_BYTES:
        yield document
        return
    start, number = 0, 1
    while start < len(data):
        end = _section_end(data, start)
        yield replace(
            document,
            text=data[start:end].decode(),
            source=f"{document.source}#{number}",
            title=document.title if number == 1 else None,
        )
        start, number = end, number + 1


def _section_end(data: bytes, start: int) -> int:
    if len(data) - start <= SECTION_BYTES * 3 // 2:
        return len(data)
    low, high = start + SECTION_BYTES // 2, start + SECTION_BYTES
    for ends in _ENDS:
        found = [at + len(end) for end in ends if (at := data.rfind(end, low, high)) >= 0]
        if found:
            return max(found)
    while data[high] & 0xC0 == 0x80:  # inside a character of UTF-8
        high -= 1
    return high


def _key(document: Document) -> int:
    """64 bits that depend on the text alone, evenly spread."""
    return int.from_bytes(hashlib.sha256(document.text.encode()).digest()[:8], "big")
