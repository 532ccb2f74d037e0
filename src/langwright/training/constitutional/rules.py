"""The rule judge: signs that it looks for in a reply, so that all runs without a model or a key."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from pydantic import PrivateAttr

from langwright.config import Settings, read_toml
from langwright.errors import BadSettings, suggest
from langwright.training.constitutional.judges import How, Matchup, Verdict
from langwright.training.constitutional.principles import Constitution, Principle

MOST = 3
"""So often one sign counts in a reply: a longer one is not worse for it."""
ASIDE = 0.25
"""What a sign counts that the principle does not name."""


class Sign(Settings):
    """Something to look for: regular expressions without regard to case, and how many points each
    place where one of them matches is worth."""

    weight: float
    patterns: tuple[str, ...]
    _compiled: list[re.Pattern[str]] = PrivateAttr()

    def model_post_init(self, _context: object) -> None:
        self._compiled = [re.compile(one, re.IGNORECASE | re.MULTILINE) for one in self.patterns]

    def points(self, text: str) -> float:
        places = sum(1 for one in self._compiled for _ in one.finditer(text))
        return self.weight * min(MOST, places)


class RuleJudge:
    """Prefers the reply with more points under the principle: p = sigmoid(points - points). It is
    blind to the order; where it sees no difference p is 1/2, a tie."""

    name = "rules"
    how: How = "rules"

    def __init__(self, constitution: Constitution) -> None:
        folder = resources.files("langwright.training.constitutional")
        tables = read_toml(Path(str(folder / "rules.toml")))
        self._signs = {name: Sign.build(table) for name, table in tables.items()}
        for one in constitution.principles:
            for sign in one.signs:
                if sign not in self._signs:
                    raise BadSettings(
                        f"The principle '{one.id}' names the sign '{sign}', which the rule judge "
                        "does not know.",
                        remedy=suggest(sign, self._signs, most=len(self._signs)),
                    )

    def points(self, principle: Principle, reply: str) -> float:
        """What a reply is worth under a principle: what that names counts whole, all else little,
        or most replies would be worth the same."""
        named = principle.signs or tuple(self._signs)
        return sum(
            sign.points(reply) * (1.0 if name in named else ASIDE)
            for name, sign in self._signs.items()
        )

    def verdicts(self, asked: Mapping[str, Matchup]) -> dict[str, Verdict]:
        return {key: Verdict(self._first(one)) for key, one in asked.items()}

    def _first(self, one: Matchup) -> float:
        difference = self.points(one.principle, one.first) - self.points(one.principle, one.second)
        return 1 / (1 + math.exp(-difference))
