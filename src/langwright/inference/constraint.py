"""Answers that keep to a JSON schema, a regular expression or a choice, by llguidance."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import llguidance
import numpy as np
import torch
from torch import Tensor

from langwright.backend import Constraint
from langwright.errors import BadInput
from langwright.tokens import CallForm, Tokenizer
from langwright.tokens.tokenizer import split_special


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
        self._special = tokenizer.special

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
        return self._matcher(grammar, what)

    def calls(
        self,
        form: CallForm,
        tools: Sequence[Mapping[str, Any]],
        *,
        begun: bool,
        several: bool,
    ) -> Matcher:
        """Of calls of these tools (OpenAI's form), whose arguments keep to their schemas: one, or
        where that is `several` one and more; `begun`: the mark of the first is there already.

        Raises `BadInput` where a schema cannot be kept to.
        """
        options = []
        for tool in tools:
            function = tool["function"]
            given = {
                "name": {"const": function["name"]},
                form.arguments: function.get("parameters") or {"type": "object"},
            }
            options.append(
                {
                    "type": "object",
                    "properties": given,
                    "required": list(given),
                    "additionalProperties": False,
                }
            )
        # Written as templates write calls, with one blank and no line ends.
        layout = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
        schema = json.dumps({"anyOf": options, "x-guidance": layout})
        before = form.before.partition(form.mark)[2] if begun else form.before
        between, after = form.between, form.after
        more = f" ({self._exactly(between)} call)*" if several and between is not None else ""
        parts = [self._exactly(before), "call", more, self._exactly(after)]
        lark = f"start: {' '.join(part for part in parts if part)}\ncall: %json {schema}\n"
        return self._matcher(llguidance.LLMatcher.grammar_from_lark(lark), "tools' schema")

    def _exactly(self, text: str) -> str:
        """The part of a Lark grammar that is this text, special tokens as such."""
        special = self._special
        return " ".join(
            f"<[{special[piece]}]>" if named else json.dumps(piece, ensure_ascii=False)
            for piece, named in split_special(text, special)
        )

    def _matcher(self, grammar: str, what: str) -> Matcher:
        matcher = llguidance.LLMatcher(self._tokens, grammar, log_level=0)
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

    def copy(self) -> Matcher:
        """Another that stands where this one does."""
        return Matcher(self._matcher.deep_copy())

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
