"""One loop for every stage of training. The stages are imported when they are first asked for: who
reads recipes and metrics needs no torch."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from langwright.training.launch import handed_over, launch
from langwright.training.recipe import read_recipe, recipes

if TYPE_CHECKING:
    from langwright.training.bisection import bisect
    from langwright.training.comparisons import Comparison, comparisons_of, read_comparisons
    from langwright.training.forgetting import forget
    from langwright.training.judged import Judged, read_judged
    from langwright.training.preference_import import open_comparisons, read_preferences
    from langwright.training.replay import verify_resume
    from langwright.training.stages.constitution import constitution
    from langwright.training.stages.dpo import dpo
    from langwright.training.stages.grpo import grpo
    from langwright.training.stages.pairs import pairs
    from langwright.training.stages.ppo import ppo
    from langwright.training.stages.pretrain import pretrain
    from langwright.training.stages.reward import reward
    from langwright.training.stages.sft import sft

__all__ = [
    "Comparison",
    "Judged",
    "bisect",
    "comparisons_of",
    "constitution",
    "dpo",
    "forget",
    "grpo",
    "handed_over",
    "launch",
    "open_comparisons",
    "pairs",
    "ppo",
    "pretrain",
    "read_comparisons",
    "read_judged",
    "read_preferences",
    "read_recipe",
    "recipes",
    "reward",
    "sft",
    "verify_resume",
]

_WHERE = {
    "Comparison": "langwright.training.comparisons",
    "Judged": "langwright.training.judged",
    "bisect": "langwright.training.bisection",
    "comparisons_of": "langwright.training.comparisons",
    "constitution": "langwright.training.stages.constitution",
    "dpo": "langwright.training.stages.dpo",
    "forget": "langwright.training.forgetting",
    "grpo": "langwright.training.stages.grpo",
    "open_comparisons": "langwright.training.preference_import",
    "pairs": "langwright.training.stages.pairs",
    "ppo": "langwright.training.stages.ppo",
    "pretrain": "langwright.training.stages.pretrain",
    "read_comparisons": "langwright.training.comparisons",
    "read_judged": "langwright.training.judged",
    "read_preferences": "langwright.training.preference_import",
    "reward": "langwright.training.stages.reward",
    "sft": "langwright.training.stages.sft",
    "verify_resume": "langwright.training.replay",
}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'langwright.training' has no attribute '{name}'")
    return getattr(import_module(_WHERE[name]), name)
