"""What a run may cost: time, money or compute."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from langwright.errors import BadInput

_SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86400}
_WRITTEN = re.compile(r"([0-9]+\.?[0-9]*(?:e[+-]?[0-9]+)?)\s*(s|min|h|d|usd|flops)", re.IGNORECASE)


@dataclass(frozen=True)
class Budget:
    """`amount` of seconds, US dollars or floating-point operations, as `kind` says."""

    kind: str
    amount: float

    @classmethod
    def parse(cls, text: str) -> Budget:
        """`10min`, `2h`, `50usd`, `1e18flops`. Raises `BadInput`."""
        found = _WRITTEN.fullmatch(text.strip())
        amount = float(found[1]) if found else 0.0
        if found is None or not 0 < amount < math.inf:
            raise BadInput(
                f"'{text}' is no budget.",
                remedy="Write a number above 0 with its unit: 90s, 10min, 2h, 3d, 50usd, "
                "1e18flops.",
            )
        unit = found[2].lower()
        if unit in _SECONDS:
            return cls("seconds", amount * _SECONDS[unit])
        return cls(unit, amount)
