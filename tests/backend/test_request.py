from __future__ import annotations

from typing import Any

import pytest

from langwright.backend import Request, Sampling
from langwright.errors import BadInput


@pytest.mark.parametrize(
    "values",
    [
        {"temperature": -0.1},
        {"temperature": 101.0},
        {"temperature": float("nan")},
        {"top_k": -1},
        {"top_p": 0.0},
        {"top_p": 1.1},
        {"top_p": float("nan")},
        {"seed": 2**63},
        {"seed": -(2**63) - 1},
    ],
    ids=str,
)
def test_values_without_a_meaning_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(BadInput, match=f"^{next(iter(values)).capitalize()} is"):
        Sampling(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "request_",
    [
        {},
        {"text": "a", "token_ids": [1]},
        {"text": "a", "max_tokens": 0},
        {"text": "", "stop": ("",)},
    ],
)
def test_requests_that_make_no_sense_are_refused(request_: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        Request(**request_)


def test_every_request_has_its_own_id() -> None:
    assert len({Request(text="a").id for _ in range(10)}) == 10
