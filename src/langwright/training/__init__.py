"""One loop for every stage of training. The stages are imported when they are first asked for: who
reads recipes and metrics needs no torch."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from langwright.training.launch import handed_over, launch
from langwright.training.recipe import read_recipe, recipes

if TYPE_CHECKING:
    from langwright.training.bisection import bisect
    from langwright.training.forgetting import forget
    from langwright.training.replay import verify_resume
    from langwright.training.stages.constitution import constitution
    from langwright.training.stages.pairs import pairs
    from langwright.training.stages.pretrain import pretrain
    from langwright.training.stages.sft import sft

__all__ = [
    "bisect",
    "constitution",
    "forget",
    "handed_over",
    "launch",
    "pairs",
    "pretrain",
    "read_recipe",
    "recipes",
    "sft",
    "verify_resume",
]

_WHERE = {
    "bisect": "langwright.training.bisection",
    "constitution": "langwright.training.stages.constitution",
    "forget": "langwright.training.forgetting",
    "pairs": "langwright.training.stages.pairs",
    "pretrain": "langwright.training.stages.pretrain",
    "sft": "langwright.training.stages.sft",
    "verify_resume": "langwright.training.replay",
}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'langwright.training' has no attribute '{name}'")
    return getattr(import_module(_WHERE[name]), name)
