"""The funnel: how many documents and bytes each step of cleaning took away, with examples."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

EXAMPLES = 10
"""Kept for each rule: the first that it took, in the order of the corpus."""

EXCERPT = 300
"""Characters of a dropped document that an example shows."""


@dataclass(frozen=True)
class Example:
    """A document that a rule took away: where it is from, why it went, how it begins."""

    source: str
    detail: str
    excerpt: str


@dataclass
class Loss:
    """What one rule took away."""

    documents: int = 0
    bytes: int = 0
    examples: list[Example] = field(default_factory=list)

    def add(self, other: Loss) -> None:
        self.documents += other.documents
        self.bytes += other.bytes
        self.examples += other.examples[: EXAMPLES - len(self.examples)]


@dataclass
class StepCount:
    """One step: what came in, what went on (bytes are UTF-8 of the texts), and what it took.

    `changed` counts the documents that went on with another text; `bytes_out` holds them changed.
    """

    name: str
    source: str
    documents_in: int = 0
    bytes_in: int = 0
    documents_out: int = 0
    bytes_out: int = 0
    changed: int = 0
    losses: dict[str, Loss] = field(default_factory=dict)

    def add(self, other: StepCount) -> None:
        self.documents_in += other.documents_in
        self.bytes_in += other.bytes_in
        self.documents_out += other.documents_out
        self.bytes_out += other.bytes_out
        self.changed += other.changed
        for rule, loss in other.losses.items():
            self.losses.setdefault(rule, Loss()).add(loss)

    def drop(self, rule: str, size: int, example: Example) -> None:
        self.losses.setdefault(rule, Loss()).add(Loss(1, size, [example]))

    def to_json(self) -> dict[str, Any]:
        losses = sorted(self.losses.items(), key=lambda item: (-item[1].documents, item[0]))
        return {
            "name": self.name,
            "source": self.source,
            "documents_in": self.documents_in,
            "bytes_in": self.bytes_in,
            "documents_out": self.documents_out,
            "bytes_out": self.bytes_out,
            "changed": self.changed,
            "rules": [
                {
                    "rule": rule,
                    "documents": loss.documents,
                    "bytes": loss.bytes,
                    "examples": [vars(example) for example in loss.examples],
                }
                for rule, loss in losses
            ],
        }


def excerpt(text: str) -> str:
    """The beginning of a text, on one line."""
    short = " ".join(text[: 2 * EXCERPT].split())[:EXCERPT]
    return short + ("…" if len(text) > EXCERPT else "")


def funnel_page(title: str, steps: Iterable[dict[str, Any]]) -> str:
    """The funnel as one HTML page that asks for nothing from outside."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    source = files("langwright.text").joinpath("funnel.html.jinja").read_text("utf-8")
    return environment.from_string(source).render(title=title, steps=list(steps))
