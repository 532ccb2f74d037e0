"""The rules that FineWeb added to those of C4 and Gopher: lists, menus and repeated lines."""

from __future__ import annotations

from dataclasses import dataclass

from langwright.text.cleaning.repetition import repeated
from langwright.text.cleaning.step import Dropped
from langwright.text.cleaning.words import LATER_MARKS, SENTENCE_MARKS, words_of
from langwright.text.document import Document

_END_MARKS = tuple(sorted(SENTENCE_MARKS | LATER_MARKS))


@dataclass(frozen=True)
class FineWebQuality:
    """Penedo et al. 2024 (arXiv 2406.17557), section 3.6, with datatrove's thresholds."""

    min_lines_with_end_mark: float = 0.12
    max_short_lines: float = 0.67
    short_line: int = 30
    max_repeated_line_characters: float = 0.01
    max_line_ends_per_word: float = 0.3

    name: str = "fineweb_quality"
    source: str = "Penedo et al. 2024 (arXiv 2406.17557), 3.6; datatrove 0.10"

    def __call__(self, document: Document) -> Document | Dropped:
        text = document.text
        lines = [line for line in text.split("\n") if line and not line.isspace()]
        if not lines:
            return Dropped("fineweb_empty", "0 lines")
        ratio = sum(line.endswith(_END_MARKS) for line in lines) / len(lines)
        if ratio < self.min_lines_with_end_mark:
            return _dropped("lines_with_end_mark", ratio, "<", self.min_lines_with_end_mark)
        ratio = sum(len(line) <= self.short_line for line in lines) / len(lines)
        if ratio > self.max_short_lines:
            return _dropped("short_lines", ratio, ">", self.max_short_lines)
        num_line_ends = text.count("\n")
        ratio = repeated(lines)[1] / (len(text) - num_line_ends)
        if ratio > self.max_repeated_line_characters:
            return _dropped("repeated_lines", ratio, ">", self.max_repeated_line_characters)
        ratio = num_line_ends / len(words_of(text).words)
        if ratio > self.max_line_ends_per_word:
            return _dropped("line_ends", ratio, ">", self.max_line_ends_per_word)
        return document


def _dropped(rule: str, value: float, sign: str, threshold: float) -> Dropped:
    return Dropped(f"fineweb_{rule}", f"{value:.4g} {sign} {threshold:g}")
