"""`langwright reward`."""

from __future__ import annotations

from typing import Annotated

import typer

from langwright.cli.options import Json, Name, Words


def reward(
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE", help="A built-in recipe, or a TOML file.")
    ],
    words: Words = None,
    name: Name = None,
    as_json: Json = False,
) -> None:
    """Train a reward model on comparisons of answers.

    The same command continues an unfinished run, or shows the finished one.
    """
    import langwright as lw
    from langwright.cli.given import given_settings
    from langwright.cli.output import answer, facts

    answer(lw.reward(recipe, name=name, **given_settings(words or [])), as_json, facts)
