"""The quality rules of Gopher: does a document look like prose at all?"""

from __future__ import annotations

from dataclasses import dataclass

from langwright.text.cleaning.step import Dropped
from langwright.text.cleaning.words import words_of
from langwright.text.document import Document

STOP_WORDS = frozenset(["the", "be", "to", "of", "and", "that", "have", "with"])
BULLETS = ("•", "-")
ELLIPSES = ("...", "…")


@dataclass(frozen=True)
class GopherQuality:
    """Rae et al. 2021 (arXiv 2112.11446), appendix A1.1, with its thresholds.

    The paper leaves open what a word is; here it is what datatrove counts (see `words`).
    """

    min_words: int = 50
    max_words: int = 100_000
    min_mean_word_length: float = 3
    max_mean_word_length: float = 10
    max_symbols_per_word: float = 0.1
    max_bullet_lines: float = 0.9
    max_ellipsis_lines: float = 0.3
    min_alphabetic_words: float = 0.8
    min_stop_words: int = 2

    name: str = "gopher_quality"
    source: str = "Rae et al. 2021 (arXiv 2112.11446), A1.1; words as in datatrove 0.10"

    def __call__(self, document: Document) -> Document | Dropped:
        text = document.text
        words = words_of(text)
        totals = words.totals
        if totals.num_words < self.min_words:
            return Dropped("gopher_num_words", f"{totals.num_words} < {self.min_words}")
        if totals.num_words > self.max_words:
            return Dropped("gopher_num_words", f"{totals.num_words} > {self.max_words}")
        mean = totals.num_characters / totals.num_words
        if mean < self.min_mean_word_length:
            return _dropped("mean_word_length", mean, "<", self.min_mean_word_length)
        if mean > self.max_mean_word_length:
            return _dropped("mean_word_length", mean, ">", self.max_mean_word_length)
        num_words = len(words.words)
        ratio = text.count("#") / num_words
        if ratio > self.max_symbols_per_word:
            return _dropped("hashes", ratio, ">", self.max_symbols_per_word)
        ratio = sum(map(text.count, ELLIPSES)) / num_words
        if ratio > self.max_symbols_per_word:
            return _dropped("ellipses", ratio, ">", self.max_symbols_per_word)
        lines = text.splitlines()
        ratio = sum(line.lstrip().startswith(BULLETS) for line in lines) / len(lines)
        if ratio > self.max_bullet_lines:
            return _dropped("bullet_lines", ratio, ">", self.max_bullet_lines)
        ratio = sum(line.rstrip().endswith(ELLIPSES) for line in lines) / len(lines)
        if ratio > self.max_ellipsis_lines:
            return _dropped("ellipsis_lines", ratio, ">", self.max_ellipsis_lines)
        ratio = totals.num_alphabetic / num_words
        if ratio < self.min_alphabetic_words:
            return _dropped("alphabetic_words", ratio, "<", self.min_alphabetic_words)
        num_stop_words = len(STOP_WORDS & words.counts.keys())
        if num_stop_words < self.min_stop_words:
            return Dropped("gopher_stop_words", f"{num_stop_words} < {self.min_stop_words}")
        return document


def _dropped(rule: str, value: float, sign: str, threshold: float) -> Dropped:
    return Dropped(f"gopher_{rule}", f"{value:.4g} {sign} {threshold:g}")
