"""Texts made of a row: Jinja templates and expressions, in its immutable sandbox."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

from langwright.errors import BadInput, BadSettings


def _regex_replace(text: str, pattern: str, by: str = "", count: int = 0) -> str:
    return re.sub(pattern, by, text, count=count)


# An unknown field is an error, and a template's last line end is part of it.
_ENVIRONMENT = ImmutableSandboxedEnvironment(
    undefined=jinja2.StrictUndefined, keep_trailing_newline=True, autoescape=False
)
_ENVIRONMENT.filters["regex_replace"] = _regex_replace


def render(template: str, row: Mapping[str, Any], where: str) -> str:
    """The text of a template over a row; `where` names both in errors."""
    return str(_run(_template(template).render, template, row, where))


def value_of(expression: str, row: Mapping[str, Any], where: str) -> Any:
    """The value of a Jinja expression over a row."""
    return _run(_expression(expression), expression, row, where)


def _run(run: Callable[..., Any], source: str, row: Mapping[str, Any], where: str) -> Any:
    try:
        return run(**row)
    except Exception as error:  # whatever a template's own operations raise
        raise BadInput(
            f"{where}: {source!r} cannot be filled in: {error or type(error).__name__}.",
            remedy=f"The row has the fields {', '.join(map(str, row))}.",
        ) from None


@lru_cache(512)
def _template(source: str) -> jinja2.Template:
    try:
        return _ENVIRONMENT.from_string(source)
    except jinja2.TemplateSyntaxError as error:
        raise _wrong(source, error) from None


@lru_cache(512)
def _expression(source: str) -> Callable[..., Any]:
    try:
        compiled = _ENVIRONMENT.compile_expression(source, undefined_to_none=False)
    except jinja2.TemplateSyntaxError as error:
        raise _wrong(source, error) from None

    def run(**row: Any) -> Any:
        value = compiled(**row)
        if isinstance(value, jinja2.Undefined):
            str(value)  # raises, with the name
        return value

    return run


def _wrong(source: str, error: jinja2.TemplateSyntaxError) -> BadSettings:
    return BadSettings(
        f"{source!r} is not valid Jinja: {error.message}.", remedy="Correct the task."
    )
