"""Answers that keep to a JSON schema, a regular expression or a choice, by llguidance."""

from __future__ import annotations

import json
from typing import Any

import llguidance
import numpy as np
import torch
from torch import Tensor

from langwright.backend import Constraint
from langwright.errors import BadInput
from langwright.tokens import Tokenizer


class _Words:
    """What llguidance asks of a tokenizer."""

    def __init__(self, tokenizer: Tokenizer, end_id: int) -> None:
        self.eos_token_id, self.bos_token_id = end_id, None
        self.special_token_ids = sorted(set(tokenizer.special.values()))
        self.tokens = [tokenizer.token_bytes(token) for token in range(tokenizer.vocab_size)]
        self._tokenizer = tokenizer

    def __call__(self, text: str) -> list[int]:
        return self._tokenizer.encode(text)


class Grammars:
    """Makes matchers for one model's tokens."""

    def __init__(self, tokenizer: Tokenizer, end_ids: frozenset[int]) -> None:
        ends = sorted(end_ids)
        words = llguidance.TokenizerWrapper(_Words(tokenizer, ends[0]))
        self._tokens = llguidance.LLTokenizer(words, tokenizer.vocab_size, ends)

    def matcher(self, constraint: Constraint) -> Matcher:
        """Raises `BadInput` where the constraint is none that can be kept to."""
        make = llguidance.LLMatcher
        if constraint.json_schema is not None:
            schema = constraint.json_schema
            what = "JSON schema"
            grammar = make.grammar_from_json_schema(json.dumps({} if schema is True else schema))
        elif constraint.regex is not None:
            what, grammar = "regular expression", make.grammar_from_regex(constraint.regex)
        else:
            assert constraint.choice is not None
            what = "choice"
            options = " | ".join(json.dumps(one, ensure_ascii=False) for one in constraint.choice)
            grammar = make.grammar_from_lark(f"start: {options}")
        matcher = make(self._tokens, grammar, log_level=0)
        if matcher.is_error():
            raise BadInput(
                f"The {what} cannot be kept to: {matcher.get_error().splitlines()[0]}",
                remedy="Simplify it.",
            )
        return Matcher(matcher)


class Matcher:
    """Where one answer stands within its constraint."""

    def __init__(self, matcher: Any) -> None:
        self._matcher = matcher

    @property
    def complete(self) -> bool:
        """Whether the answer is whole, so that nothing may follow."""
        return bool(self._matcher.is_stopped())

    @property
    def error(self) -> str | None:
        """Why it cannot go on, where it cannot."""
        if not self._matcher.is_error():
            return None
        return str(self._matcher.get_error()).splitlines()[0]

    def masked(self, logits_V: Tensor) -> Tensor:
        """Logits where what may not follow is -inf."""
        bits = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        allowed = np.unpackbits(bits, count=logits_V.numel(), bitorder="little")
        masked = np.full(len(allowed), -np.inf, dtype=np.float32)
        np.copyto(masked, logits_V.float().numpy(), where=allowed.view(bool))
        return torch.from_numpy(masked)

    def drew(self, token: int) -> None:
        self._matcher.consume_token(token)
