"""The repetition rules of Gopher: does a document say the same thing over and over?"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate

from langwright.text.cleaning.step import Dropped
from langwright.text.cleaning.words import Words, words_of
from langwright.text.document import Document

_EMPTY_LINES = re.compile(r"\n{2,}")
_LINE_ENDS = re.compile(r"\n+")


def repeated(parts: Iterable[str]) -> tuple[int, int]:
    """How many of `parts` were there before, and their characters."""
    seen: set[str] = set()
    number = characters = 0
    for part in parts:
        if part in seen:
            number += 1
            characters += len(part)
        else:
            seen.add(part)
    return number, characters


@dataclass(frozen=True)
class GopherRepetition:
    """Rae et al. 2021 (arXiv 2112.11446), table A1, with its thresholds.

    `top_n_grams`: of the most frequent n-gram, its share of the characters. `repeated_n_grams`: of
    all n-grams that were there before, not counting overlaps. Both as pairs (n, threshold).
    """

    max_repeated_paragraphs: float = 0.3
    max_repeated_paragraph_characters: float = 0.2
    max_repeated_lines: float = 0.3
    max_repeated_line_characters: float = 0.2
    top_n_grams: tuple[tuple[int, float], ...] = ((2, 0.2), (3, 0.18), (4, 0.16))
    repeated_n_grams: tuple[tuple[int, float], ...] = (
        (5, 0.15),
        (6, 0.14),
        (7, 0.13),
        (8, 0.12),
        (9, 0.11),
        (10, 0.1),
    )

    name: str = "gopher_repetition"
    source: str = "Rae et al. 2021 (arXiv 2112.11446), table A1; words as in datatrove 0.10"

    def __call__(self, document: Document) -> Document | Dropped:
        text = document.text
        if not text:
            return Dropped("gopher_empty", "0 characters")
        for parts, limits, what in (
            (
                _EMPTY_LINES.split(text.strip()),
                (self.max_repeated_paragraphs, self.max_repeated_paragraph_characters),
                "paragraph",
            ),
            (
                _LINE_ENDS.split(text),
                (self.max_repeated_lines, self.max_repeated_line_characters),
                "line",
            ),
        ):
            number, characters = repeated(parts)
            if (share := number / len(parts)) > limits[0]:
                return _dropped(f"repeated_{what}s", share, limits[0])
            if (share := characters / len(text)) > limits[1]:
                return _dropped(f"repeated_{what}_characters", share, limits[1])
        words = words_of(text)
        return (
            self._top_n_grams(words, len(text))
            or self._repeated_n_grams(words.words, len(text))
            or document
        )

    def _top_n_grams(self, words: Words, num_characters: int) -> Dropped | None:
        lengths = _lengths(words)
        for n, limit in self.top_n_grams:
            # An n-gram is no more frequent than each of its words: most texts need no counting.
            most = max((count * (n * (longest + 1) - 1) for count, longest in lengths), default=0)
            if most / num_characters <= limit or len(words.words) < n:
                continue
            counts = Counter(zip(*(words.words[i:] for i in range(n)), strict=False))
            top = max(counts, key=counts.__getitem__)
            share = counts[top] * len(" ".join(top)) / num_characters
            if share > limit:
                return _dropped(f"top_{n}_gram", share, limit)
        return None

    def _repeated_n_grams(self, words: list[str], num_characters: int) -> Dropped | None:
        rules = sorted(self.repeated_n_grams)
        shortest = rules[0][0] if rules else 0
        num_grams = len(words) - shortest + 1
        if not rules or num_grams < 2:
            return None
        grams = list(zip(*(words[i:] for i in range(shortest)), strict=False))
        num_repeated = num_grams - len(set(grams))
        # All that is repeated in longer n-grams is in the shortest repeated ones too.
        most = num_repeated * shortest * max(map(len, words))
        if most / num_characters <= min(limit for _, limit in rules):
            return None
        counts = Counter(grams)
        places = [place for place, gram in enumerate(grams) if counts[gram] > 1]
        ends = [0, *accumulate(map(len, words))]
        for n, limit in rules:
            if n > shortest:
                # A longer n-gram is repeated only where the shorter one that begins it is.
                places = _still_repeated(words, places, n)
            share = _characters(words, places, n, ends) / num_characters
            if share > limit:
                return _dropped(f"repeated_{n}_grams", share, limit)
        return None


def _lengths(words: Words) -> list[tuple[int, int]]:
    """For each frequency the length of the longest word that is at least so frequent."""
    longest: dict[int, int] = {}
    for word, count in words.counts.items():
        if len(word) > longest.get(count, 0):
            longest[count] = len(word)
    frequencies = sorted(longest, reverse=True)
    return list(zip(frequencies, accumulate((longest[f] for f in frequencies), max), strict=True))


def _still_repeated(words: list[str], places: list[int], n: int) -> list[int]:
    places = [place for place in places if place + n <= len(words)]
    grams = [tuple(words[place : place + n]) for place in places]
    counts = Counter(grams)
    return [place for place, gram in zip(places, grams, strict=True) if counts[gram] > 1]


def _characters(words: list[str], places: list[int], n: int, ends: list[int]) -> int:
    """The characters in n-grams that were there before; after one, the next begins behind it."""
    seen: set[tuple[str, ...]] = set()
    total = free = 0
    for place in places:
        if place < free:
            continue
        gram = tuple(words[place : place + n])
        if gram in seen:
            total += ends[place + n] - ends[place]
            free = place + n
        else:
            seen.add(gram)
    return total


def _dropped(rule: str, share: float, limit: float) -> Dropped:
    return Dropped(f"gopher_{rule}", f"{share:.4g} > {limit:g}")
