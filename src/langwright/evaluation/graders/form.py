"""The answer keeps to rules of form that a program can check (as in IFEval, Zhou et al. 2023)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field

from langwright.config import Settings
from langwright.errors import BadInput, suggest
from langwright.evaluation.answer_format import num_sentences, starts_with_term
from langwright.evaluation.outcome import Scores
from langwright.evaluation.template import value_of

_FENCED = re.compile(r"```(?:json)?\s*\n(.*?)\n?```", re.S)


def num_words(text: str) -> int:
    """Words, those with a hyphen or an apostrophe being one."""
    return len(re.findall(r"\w+(?:['’-]\w+)*", text))


def _paragraphs(text: str) -> int:
    return len([part for part in re.split(r"\n\s*\n", text) if part.strip()])


def _bullets(text: str) -> int:
    return len(re.findall(r"^\s*[-*•]\s+\S", text, re.M))


def _json(text: str) -> Any:
    """The JSON value that the text is, perhaps within a fence; raises `ValueError`."""
    fenced = _FENCED.fullmatch(text.strip())
    return json.loads(fenced[1] if fenced else text)


def _is_json(text: str, wanted: bool) -> bool:
    try:
        _json(text)
    except (ValueError, RecursionError):
        return not wanted
    return wanted


def _has_keys(text: str, keys: list[str]) -> bool:
    try:
        value = _json(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and all(key in value for key in keys)


def _contains(text: str, keywords: list[str]) -> bool:
    return all(word.lower() in text.lower() for word in keywords)


RULES: dict[str, tuple[type, Callable[[str, Any], bool]]] = {
    "min_words": (int, lambda text, n: num_words(text) >= n),
    "max_words": (int, lambda text, n: num_words(text) <= n),
    "min_sentences": (int, lambda text, n: num_sentences(text) >= n),
    "max_sentences": (int, lambda text, n: num_sentences(text) <= n),
    "max_characters": (int, lambda text, n: len(text) <= n),
    "paragraphs": (int, lambda text, n: _paragraphs(text) == n),
    "bullets": (int, lambda text, n: _bullets(text) == n),
    "json": (bool, _is_json),
    "json_keys": (list, _has_keys),
    "contains": (list, _contains),
    "lacks": (list, lambda text, words: not any(one.lower() in text.lower() for one in words)),
    "begins": (str, lambda text, start: text.startswith(start)),
    "ends": (str, lambda text, end: text.endswith(end)),
    "term": (str, lambda text, term: starts_with_term(text, term)),
    "lowercase": (bool, lambda text, wanted: (text == text.lower()) == wanted),
    "uppercase": (bool, lambda text, wanted: (text == text.upper()) == wanted),
    "commas": (bool, lambda text, wanted: ("," in text) == wanted),
    "matches": (str, lambda text, pattern: re.fullmatch(pattern, text, re.S) is not None),
}
"""By name, the type of a rule's value and the rule, over the answer without white space around it.
`contains` and `lacks` do not look at case; `term` takes an article before the term."""


class Form(Settings):
    """`rules` is a table of rules for all rows, `row_rules` an expression that gives a row's own.
    The answer is right when it keeps to all; the share of single rules is told beside it."""

    votes: ClassVar[bool] = False
    needs_answer: ClassVar[bool] = False
    kind: Literal["format"] = "format"
    rules: dict[str, Any] = Field(default_factory=dict)
    row_rules: str = ""

    def grade(
        self, answer: str, answers: Sequence[str], row: Mapping[str, Any], where: str
    ) -> Scores:
        rules = dict(self.rules)
        if self.row_rules:
            own = value_of(self.row_rules, row, where)
            if not isinstance(own, Mapping):
                raise BadInput(f"{where}: the rules are {own!r}.", remedy="Give a table of rules.")
            rules |= own
        if not rules:
            raise BadInput(f"{where}: there is no rule.", remedy="Give at least one.")
        kept = [keeps(answer, name, value, where) for name, value in rules.items()]
        return {
            "prompt_level_strict_acc": (float(all(kept)), 1.0),
            "inst_level_strict_acc": (float(sum(kept)), float(len(kept))),
        }

    def vote(self, answer: str) -> str:
        return answer


def keeps(answer: str, name: str, value: Any, where: str = "The rules") -> bool:
    """Whether the answer keeps to one rule; raises `BadInput` for what is none."""
    if name not in RULES:
        raise BadInput(f"{where}: there is no rule '{name}'.", remedy=suggest(name, RULES))
    wanted, rule = RULES[name]
    fits = isinstance(value, wanted) and (wanted is bool) == isinstance(value, bool)
    if fits and wanted is list:
        fits = all(isinstance(one, str) for one in value)
    if not fits:
        raise BadInput(
            f"{where}: the rule '{name}' has the value {value!r}.",
            remedy=f"Give {'a list of texts' if wanted is list else wanted.__name__}.",
        )
    try:
        return rule(answer.strip(), value)
    except re.error as error:
        raise BadInput(
            f"{where}: {value!r} is no regular expression: {error}.", remedy="Correct it."
        ) from None
