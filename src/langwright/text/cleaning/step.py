"""What one step of cleaning is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from langwright.text.document import Document


@dataclass(frozen=True)
class Dropped:
    """Why a document went: the name of one rule, and the measured value beside its threshold."""

    rule: str
    detail: str


class Step(Protocol):
    """A rule for one document: pure, without state, and picklable, so that it runs anywhere.

    It returns the document, the same or changed, or why it is dropped.
    """

    @property
    def name(self) -> str: ...

    @property
    def source(self) -> str:
        """The paper, and where the thresholds are from."""

    def __call__(self, document: Document) -> Document | Dropped: ...
