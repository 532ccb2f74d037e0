"""The rules of C4: keep the lines that are sentences, and the pages that have enough of them."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from langwright.text.cleaning.step import Dropped
from langwright.text.cleaning.words import count_sentences
from langwright.text.document import Document

END_MARKS = (".", "?", "!", '"', "'")
POLICY = (
    "terms of use",
    "privacy policy",
    "cookie policy",
    "uses cookies",
    "use of cookies",
    "use cookies",
)
_CITATION = re.compile(r"\[\d*]|\[edit]|\[citation needed]")


@dataclass(frozen=True)
class C4:
    """Raffel et al. 2020 (arXiv 1910.10683), section 2.2, and what its published code adds.

    Citations are taken out of lines. A line goes if it ends without an end mark or with an
    ellipsis, has too few words or too long a word, or speaks of JavaScript or of a policy. The
    document goes for "lorem ipsum" or a curly bracket in a line that would stay, or if the lines
    that stay have too few sentences. The list of bad words is left out.
    """

    min_words_per_line: int = 3
    max_word_length: int = 1000
    min_sentences: int = 5

    name: str = "c4"
    source: str = (
        "Raffel et al. 2020 (arXiv 1910.10683), 2.2; its code (c4_utils.py); datatrove 0.10"
    )

    def __call__(self, document: Document) -> Document | Dropped:
        num_sentences = 0
        kept = []
        for raw in document.text.splitlines():
            words = raw.split()
            if len(raw) > self.max_word_length and max(map(len, words), default=0) > (
                self.max_word_length
            ):
                continue
            line = _CITATION.sub("", raw.strip())
            if not line.endswith(END_MARKS) or line.endswith("..."):
                continue
            if len(words) < self.min_words_per_line:
                continue
            lower = line.lower()
            if "lorem ipsum" in lower:
                return Dropped("c4_lorem_ipsum", '"lorem ipsum" in a line')
            if "javascript" in lower:
                continue
            if "{" in line:
                return Dropped("c4_curly_bracket", '"{" in a line')
            if any(phrase in lower for phrase in POLICY):
                continue
            num_sentences += count_sentences(line)
            kept.append(line)
        if num_sentences < self.min_sentences:
            return Dropped("c4_num_sentences", f"{num_sentences} < {self.min_sentences}")
        text = "\n".join(kept).strip()
        return document if text == document.text else replace(document, text=text)
