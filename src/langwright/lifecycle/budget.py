"""What a run may cost: time, money or compute."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from langwright.errors import BadInput
from langwright.lifecycle.machine import Machine

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

    def seconds_on(self, machine: Machine) -> float | None:
        """The time that it buys there; None for one of compute. Raises `BadInput` where money is
        to be spent on a machine without a price."""
        if self.kind == "seconds":
            return self.amount
        if self.kind == "flops":
            return None
        an_hour = machine.usd(3600)
        if not an_hour:
            raise BadInput(
                f"What an hour of {machine.device} costs is not known.",
                remedy="Give --usd-per-hour.",
            )
        return 3600 * self.amount / an_hour
