"""The language of a text, and the step of cleaning that keeps the wanted ones."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from langwright.errors import BadSettings, Unsupported
from langwright.text.cleaning.step import Dropped
from langwright.text.document import Document

SAMPLE = 1000
"""Characters from the beginning, and as many around the middle, that a long text is judged by."""


@dataclass(frozen=True)
class Language:
    """Keeps the texts that are in one of `languages` (ISO 639 codes) more likely than not.

    The probability is the sum over `languages`, so that `zh` with `yue` keeps what lies between
    them. A text of more than 2,000 characters is judged by its first 1,000 and the 1,000 around
    its middle. The classifier is py3langid's naive Bayes over byte n-grams (Lui & Baldwin 2012),
    139 languages and `zxx` for what is no language; its probabilities are tempered by the length
    of the text, so that a short one is seldom sure of anything.

    FineWeb's threshold, 0.65, is for another classifier (fastText). On single questions in twelve
    languages (XQuAD) either lets the same 2 of 64,548 pass as another of them, and 0.65 loses 5%
    of those wanted where 0.5 loses 3%. Of whole paragraphs 0.5 loses 3 of 2,880 and lets none pass.
    """

    languages: tuple[str, ...]
    min_probability: float = 0.5

    name: str = "language"
    source: str = "Lui & Baldwin 2012 (langid.py), as py3langid; the threshold is our own"

    def __post_init__(self) -> None:
        known = _classifier().labels
        for code in self.languages:
            if code not in known:
                raise BadSettings(
                    f"There is no language '{code}' to tell.",
                    remedy=f"Give a code of ISO 639: {', '.join(known)}.",
                )

    def __call__(self, document: Document) -> Document | Dropped:
        found = language_probabilities(document.text)
        # Each once, and in one order, or a language named twice would count double.
        probability = sum(found[code] for code in sorted(set(self.languages)))
        if probability >= self.min_probability:
            return document
        likeliest = next(iter(found))
        wanted = f"{'+'.join(self.languages)} {probability:.2g} < {self.min_probability:g}"
        return Dropped("language", f"{wanted}; {likeliest} {found[likeliest]:.2g}")


def language_probabilities(text: str) -> dict[str, float]:
    """The probability of each language, likeliest first. Raises `Unsupported` without py3langid.

    A text in which nothing tells, an empty one too, gives all the same small one.
    """
    return dict(_classifier().rank(_sample(text)))


def _sample(text: str) -> str:
    if len(text) <= 2 * SAMPLE:
        return text
    middle = (len(text) - SAMPLE) // 2
    # A long line of signs has no white space to cut at, so the cut is where it is.
    return f"{text[:SAMPLE]}\n{text[max(SAMPLE, middle) : max(SAMPLE, middle) + SAMPLE]}"


@lru_cache(maxsize=1)
def _classifier() -> Any:
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    except ImportError:
        raise Unsupported(
            "Telling languages needs py3langid.", remedy="pip install 'langwright[text]'"
        ) from None
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
