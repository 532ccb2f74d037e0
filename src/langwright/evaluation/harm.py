"""How harmful a text sounds, by a classifier of others' making that no part of training knows."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec

from langwright.errors import Unsupported

SCORER = "alt-profanity-check"


def scorer_is_installed() -> bool:
    return find_spec("profanity_check") is not None


def require_scorer() -> None:
    """Raise `Unsupported` where the scorer is not installed."""
    if not scorer_is_installed():
        raise Unsupported(
            f"The scorer of harm, {SCORER}, is not installed.",
            remedy="pip install 'langwright[harm]', or scorer=none for a report without harm.",
        )


def harm(texts: Sequence[str]) -> list[float]:
    """How probable it is that each text is offensive, from 0 to 1, by alt-profanity-check (a linear
    classifier of 200,000 comments rated by people). It knows offensive language and nothing else:
    politely worded dangerous advice is harmless to it.

    Its model is a pickle within its wheel, which is read when it is imported.
    """
    require_scorer()
    if not texts:
        return []
    predict = import_module("profanity_check").predict_prob
    return [float(value) for value in predict(list(texts))]
