"""Which documents are for training and which for validation."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import replace

from langwright.errors import BadInput, BadSettings
from langwright.progress import say
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


def split(
    documents: Iterable[Document], validation_fraction: float
) -> tuple[list[Document], list[Document]]:
    """The sections of the documents as (training, validation), in their order.

    The side is decided by a hash of the section's text alone: equal texts are on one side, under
    whatever title, and adding documents moves none of those already there. About
    `validation_fraction` (between 0 and 1) of the sections go to validation. Only where that
    leaves a side empty, as in a very small corpus, validation gets the text with the lowest
    hash and training all others. Exact duplicates (title and text) are dropped and reported.

    Raises `BadInput` for a corpus of fewer than two different sections.
    """
    if not 0 < validation_fraction < 1:
        raise BadSettings(
            f"validation_fraction is {validation_fraction}, not between 0 and 1.",
            remedy="Give the share of the corpus to validate on, such as 0.1.",
        )
    sections: dict[str, Document] = {}
    total = 0
    for document in documents:
        for section in cut(document):
            total += 1
            sections.setdefault(section.digest, section)
    if dropped := total - len(sections):
        say(f"dropped {dropped} exact {'duplicate' if dropped == 1 else 'duplicates'} of {total}")
    keyed = [(_key(section), section) for section in sections.values()]
    keys = {key for key, _ in keyed}
    if len(keys) < 2:
        raise BadInput(
            f"The corpus has {len(keys) or 'no'} section of text: too little to train on one part"
            " and validate on another.",
            remedy=f"Add another document, or a text of more than {LONGEST_BYTES // 1024} KiB.",
        )
    held_out = {key for key in keys if key < validation_fraction * 2**64}
    if len(held_out) in (0, len(keys)):
        held_out = {min(keys)}
    training = [section for key, section in keyed if key not in held_out]
    validation = [section for key, section in keyed if key in held_out]
    return training, validation


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
