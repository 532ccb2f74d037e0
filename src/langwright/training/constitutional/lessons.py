"""What a model learns from the data of a constitution: the one place where training is called."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from langwright.errors import Unsupported
from langwright.store import Store
from langwright.training.recipe import read_recipe

Result = dict[str, Any]
Aim = Literal["none", "sft", "dpo"]
"""How far a run trains: not at all; on the revisions; and then on the comparisons, too."""


@dataclass(frozen=True)
class Lesson:
    """A training run called `name` by the stage's table of `recipe`: `model` learns from `data`,
    both by their names in the store."""

    recipe: str
    name: str
    model: str
    data: str
    store: Store


@dataclass(frozen=True)
class Teacher:
    """`teach` trains, or finds it done, and returns what a training verb returns; `check` raises
    beforehand where the recipe is wrong: `data` is not there then."""

    teach: Callable[[Lesson], Result]
    check: Callable[[Lesson], None]


def teach_sft(lesson: Lesson) -> Result:
    """Fine-tune on the revised conversations."""
    from langwright.training.stages.sft import sft

    return sft(
        lesson.recipe, name=lesson.name, store=lesson.store, model=lesson.model, data=lesson.data
    )


def check_sft(lesson: Lesson) -> None:
    from langwright.training.stages.sft import SFTSettings

    given = {"model": lesson.model, "data": lesson.data}
    SFTSettings.build(read_recipe(lesson.recipe, "sft", given))


def teach_dpo(lesson: Lesson) -> Result:
    """Prefer what the judge preferred."""
    from langwright.training.stages.dpo import dpo

    return dpo(
        lesson.recipe, name=lesson.name, store=lesson.store, model=lesson.model, data=lesson.data
    )


def check_dpo(lesson: Lesson) -> None:
    from langwright.training.stages.dpo import DPOSettings

    given = {"model": lesson.model, "data": lesson.data}
    DPOSettings.build(read_recipe(lesson.recipe, "dpo", given))


TEACHERS: Mapping[str, Teacher] = {
    "sft": Teacher(teach_sft, check_sft),
    "dpo": Teacher(teach_dpo, check_dpo),
}
"""By the names of the stages."""


def stages_of(aim: Aim, teachers: Mapping[str, Teacher]) -> tuple[str, ...]:
    """The stages up to `aim`; raises `Unsupported` for one that nobody teaches."""
    stages = {"none": (), "sft": ("sft",), "dpo": ("sft", "dpo")}[aim]
    for stage in stages:
        if stage not in teachers:
            raise Unsupported(
                f"There is no training by {stage} yet.",
                remedy="train=sft stops before it; the comparisons are made all the same.",
            )
    return stages
