"""Langwright: a workshop for language models.

Every verb of the command line is a function here, with the same settings; `list` is
`artifacts()`. What a function needs is imported when it is first asked for, so that
`import langwright` costs nothing.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from langwright import errors
    from langwright.evaluation import evaluate
    from langwright.lifecycle import compare, export, finetune, grow, plan
    from langwright.providers import (
        bench,
        chat,
        cost,
        describe,
        embed,
        generate,
        inspect,
        neighbours,
        next_tokens,
        score,
        tokens,
    )
    from langwright.providers import open_model as load
    from langwright.server.keys import keys
    from langwright.server.serve import serve
    from langwright.store import artifacts, lineage, pull, remove, show
    from langwright.text import clean
    from langwright.training import (
        bisect,
        constitution,
        dpo,
        forget,
        grpo,
        launch,
        ppo,
        pretrain,
        reward,
        sft,
        verify_resume,
    )
    from langwright.training.recipe import recipe
    from langwright.training.views.doctor import doctor
    from langwright.training.views.show_batch import show_batch
    from langwright.training.views.transcripts import transcripts
    from langwright.training.views.watch import watch

    __version__: str

__all__ = [
    "__version__",
    "artifacts",
    "bench",
    "bisect",
    "chat",
    "clean",
    "compare",
    "constitution",
    "cost",
    "describe",
    "doctor",
    "dpo",
    "embed",
    "errors",
    "evaluate",
    "export",
    "finetune",
    "forget",
    "generate",
    "grow",
    "grpo",
    "inspect",
    "keys",
    "launch",
    "lineage",
    "load",
    "neighbours",
    "next_tokens",
    "plan",
    "ppo",
    "pretrain",
    "pull",
    "recipe",
    "remove",
    "reward",
    "score",
    "serve",
    "sft",
    "show",
    "show_batch",
    "tokens",
    "transcripts",
    "verify_resume",
    "watch",
]

_WHERE = {
    "artifacts": "langwright.store:artifacts",
    "bench": "langwright.providers:bench",
    "bisect": "langwright.training:bisect",
    "chat": "langwright.providers:chat",
    "clean": "langwright.text:clean",
    "compare": "langwright.lifecycle:compare",
    "constitution": "langwright.training:constitution",
    "cost": "langwright.providers:cost",
    "describe": "langwright.providers:describe",
    "doctor": "langwright.training.views.doctor:doctor",
    "dpo": "langwright.training:dpo",
    "embed": "langwright.providers:embed",
    "evaluate": "langwright.evaluation:evaluate",
    "export": "langwright.lifecycle:export",
    "finetune": "langwright.lifecycle:finetune",
    "forget": "langwright.training:forget",
    "generate": "langwright.providers:generate",
    "plan": "langwright.lifecycle:plan",
    "grow": "langwright.lifecycle:grow",
    "grpo": "langwright.training:grpo",
    "inspect": "langwright.providers:inspect",
    "keys": "langwright.server.keys:keys",
    "launch": "langwright.training:launch",
    "lineage": "langwright.store:lineage",
    "load": "langwright.providers:open_model",
    "neighbours": "langwright.providers:neighbours",
    "next_tokens": "langwright.providers:next_tokens",
    "ppo": "langwright.training:ppo",
    "pretrain": "langwright.training:pretrain",
    "pull": "langwright.store:pull",
    "recipe": "langwright.training.recipe:recipe",
    "remove": "langwright.store:remove",
    "reward": "langwright.training:reward",
    "score": "langwright.providers:score",
    "serve": "langwright.server.serve:serve",
    "sft": "langwright.training:sft",
    "show": "langwright.store:show",
    "show_batch": "langwright.training.views.show_batch:show_batch",
    "tokens": "langwright.providers:tokens",
    "transcripts": "langwright.training.views.transcripts:transcripts",
    "verify_resume": "langwright.training:verify_resume",
    "watch": "langwright.training.views.watch:watch",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("langwright")
    if name == "errors":
        return import_module("langwright.errors")
    if name not in _WHERE:
        raise AttributeError(f"module 'langwright' has no attribute '{name}'")
    module, _, attribute = _WHERE[name].partition(":")
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return __all__


class _Package(ModuleType):
    """The verb `tokens` shares its name with a room, which importing would put in its place."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _WHERE and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
