"""The Jinja of chat templates: what models' templates are written for, in a sandbox."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NoReturn

import jinja2
from jinja2 import nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from langwright.errors import Damaged
from langwright.tokens.disguise import BEGIN, END


class _Generation(Extension):
    """`{% generation %}…{% endgeneration %}`: what the assistant says (transformers' tag)."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_wrap"), [], [], body).set_lineno(line)

    def _wrap(self, caller: Callable[[], str]) -> str:
        return BEGIN + caller() + END


class _Sandbox(ImmutableSandboxedEnvironment):
    """Jinja's own sandbox renders an unsafe attribute as nothing; this one refuses it."""

    def unsafe_undefined(self, obj: Any, attribute: str) -> NoReturn:
        raise SecurityError(
            f"it asks for the attribute '{attribute}' of a {type(obj).__name__}, which is unsafe"
        )


def _raise_exception(message: str) -> NoReturn:
    raise jinja2.TemplateRuntimeError(message)


def compiled(source: str) -> jinja2.Template:
    """The template of a model's Jinja text; raises `Damaged` for what is none."""
    environment = _Sandbox(
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.loopcontrols", _Generation],
    )
    environment.globals["raise_exception"] = _raise_exception
    environment.filters["tojson"] = lambda value, **options: json.dumps(
        value, ensure_ascii=False, **options
    )
    try:
        return environment.from_string(source)
    except jinja2.TemplateSyntaxError as error:
        raise Damaged(
            f"The chat template is not valid Jinja (line {error.lineno}: {error.message}).",
            remedy="Correct the model's chat template.",
        ) from None
    except Exception as error:  # nesting too deep, a number too large …
        raise Damaged(
            f"The chat template cannot be read: {error or type(error).__name__}.",
            remedy="Correct the model's chat template.",
        ) from None
