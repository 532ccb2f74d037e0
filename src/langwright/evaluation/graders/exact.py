"""The answer is one of the right texts."""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from langwright.config import Settings
from langwright.evaluation.outcome import Scores

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


class Exact(Settings):
    """Equal after white space is made single blanks, and after what is ignored is taken away: by
    default upper case and a full stop at the end. With all three set it is SQuAD's comparison
    (Rajpurkar et al. 2016)."""

    votes: ClassVar[bool] = True
    needs_answer: ClassVar[bool] = True
    kind: Literal["exact"] = "exact"
    ignore_case: bool = True
    ignore_punctuation: bool = False
    ignore_articles: bool = False

    def grade(
        self, answer: str, answers: Sequence[str], row: Mapping[str, Any], where: str
    ) -> Scores:
        said = self.vote(answer)
        return {"exact_match": (float(any(said == self.vote(one) for one in answers)), 1.0)}

    def vote(self, answer: str) -> str:
        text = unicodedata.normalize("NFC", answer)
        if self.ignore_case:
            text = text.lower()
        text = (
            text.translate(_PUNCTUATION) if self.ignore_punctuation else text.rstrip().rstrip(".")
        )
        if self.ignore_articles:
            text = _ARTICLES.sub(" ", text)
        return " ".join(text.split())
