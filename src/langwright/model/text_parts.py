"""How a model meets text: all of it but the weights."""

from __future__ import annotations

from dataclasses import dataclass

from langwright.tokens import ChatTemplate, Tokenizer


@dataclass(frozen=True)
class TextParts:
    """`end_ids` end an answer; `start_id`, where there is one, stands before every text."""

    tokenizer: Tokenizer
    template: ChatTemplate | None
    end_ids: frozenset[int]
    start_id: int | None = None
