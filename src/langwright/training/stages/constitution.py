"""Constitutional AI as a stage: revisions, comparisons, what is learnt from them, and a report."""

from __future__ import annotations

from langwright.store import Store
from langwright.training.constitutional.course import Course
from langwright.training.constitutional.lessons import Result
from langwright.training.constitutional.settings import ConstitutionSettings
from langwright.training.recipe import read_recipe


def constitution(
    recipe: str,
    *,
    name: str | None = None,
    store: Store | None = None,
    **settings: object,
) -> Result:
    """Constitutional AI (Bai et al. 2022): a model criticises and revises its answers by written
    principles and learns the revisions; a judge compares pairs of its answers.

    Leaves the artifacts NAME-transcripts, NAME-revisions (conversations) and NAME-comparisons, the
    models NAME-sft and so on, and a report in the run's folder. A killed run goes on with what it
    has generated. Returns what a training verb returns, with "data", "revisions", "feedback",
    "evaluation" and "report".

    Raises `BadSettings`, `BadInput`, `NotFound` for wrong settings, prompts or names, `Unsupported`
    where a model cannot chat or the scorer is not installed; all before anything is generated.
    """
    store = store or Store()
    chosen = ConstitutionSettings.build(read_recipe(recipe, "constitution", settings))
    name = name or recipe.rpartition("/")[2].removesuffix(".toml")
    return Course(recipe, store.run(name), chosen, store).take()
