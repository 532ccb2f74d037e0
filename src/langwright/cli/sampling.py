"""The options of an answer, which `generate` and `chat` share."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any, cast, get_type_hints

import typer

if TYPE_CHECKING:
    from langwright.providers import Options


def _asked(
    max_tokens: Annotated[int, typer.Option(help="Longest answer, in tokens.")] = 256,
    temperature: Annotated[
        float, typer.Option(help="0 takes the likeliest token; higher varies more.")
    ] = 0.7,
    top_k: Annotated[
        int, typer.Option(help="Draw from the K likeliest tokens only; 0 is off.")
    ] = 0,
    top_p: Annotated[
        float, typer.Option(help="Draw from the likeliest that hold this share; 1 is off.")
    ] = 1.0,
    min_p: Annotated[
        float, typer.Option(help="Drop what has less than this share of the likeliest; 0 is off.")
    ] = 0.0,
    repetition_penalty: Annotated[
        float, typer.Option(help="Over prompt and answer; 1 is off.")
    ] = 1.0,
    frequency_penalty: Annotated[
        float, typer.Option(help="Taken off for each time that a token was drawn; 0 is off.")
    ] = 0.0,
    presence_penalty: Annotated[
        float, typer.Option(help="Taken off once a token was drawn; 0 is off.")
    ] = 0.0,
    seed: Annotated[
        int | None, typer.Option(help="The same seed draws the same answer again.")
    ] = None,
    stop: Annotated[
        list[str] | None,
        typer.Option(metavar="TEXT", help="End before this text; may be given again."),
    ] = None,
    json_schema: Annotated[
        str | None, typer.Option(metavar="FILE", help="The answer is JSON of this schema.")
    ] = None,
    regex: Annotated[
        str | None, typer.Option(metavar="PATTERN", help="The whole answer matches this.")
    ] = None,
    choice: Annotated[
        list[str] | None,
        typer.Option(metavar="TEXT", help="The answer is one of these; give it again for each."),
    ] = None,
    logprobs: Annotated[
        int | None,
        typer.Option(metavar="K", help="With --json: log-probabilities, and K alternatives."),
    ] = None,
) -> Options:
    from langwright.cli.given import given_json
    from langwright.providers import Options

    return Options(
        max_tokens=max_tokens,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        min_p=min_p,
        repetition_penalty=repetition_penalty,
        frequency_penalty=frequency_penalty,
        presence_penalty=presence_penalty,
        seed=seed,
        stop=stop or (),
        json_schema=None if json_schema is None else given_json(json_schema),
        regex=regex,
        choice=choice,
        logprobs=logprobs,
    )


def changed(options: Options) -> Options:
    """Those that are not as they are where nothing is given."""
    usual = _asked()
    return cast("Options", {key: one for key, one in options.items() if one != usual.get(key)})


def with_sampling(verb: Callable[..., None]) -> Callable[..., None]:
    """Give `verb` the options above on the command line, and their values as `options`."""
    shared = _parameters(_asked)
    own = [one for one in _parameters(verb) if one.name != "options"]
    arguments = [one for one in own if not _is_option(one)]
    options = [one for one in own if _is_option(one)]

    @wraps(verb)
    def asked(**values: Any) -> None:
        verb(options=_asked(**{one.name: values.pop(one.name) for one in shared}), **values)

    together = [*arguments, *shared, *options]
    asked.__signature__ = inspect.Signature(together)  # type: ignore[attr-defined]
    asked.__annotations__ = {one.name: one.annotation for one in together}
    return asked


def _parameters(verb: Callable[..., Any]) -> list[inspect.Parameter]:
    """With annotations that are evaluated, but for that of `options`."""
    known = verb.__globals__ | {"Options": dict}
    hints = get_type_hints(verb, known, include_extras=True)
    given = inspect.signature(verb).parameters.values()
    return [one.replace(annotation=hints[one.name]) for one in given]


def _is_option(parameter: inspect.Parameter) -> bool:
    said = parameter.annotation.__metadata__
    return any(isinstance(one, typer.models.OptionInfo) for one in said)
