"""What the pages say exists: commands with their options, links, imports, scripts."""

from __future__ import annotations

import ast
import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from langwright.cli.main import application

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
PAGES += sorted((ROOT / "docs").glob("*.md"))
PROGRAM = typer.main.get_command(application())


def pages() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        yield page.relative_to(ROOT).as_posix(), page.read_text()


def commands() -> Iterator[tuple[str, str]]:
    """The lines of code that call the program, without comment."""
    for name, text in pages():
        for line in re.findall(r"^(?:    |\$ )?(?:\.venv/bin/)?(langwright .*)$", text, re.M):
            yield name, line


def blocks() -> Iterator[tuple[str, str]]:
    for name, text in pages():
        for block in re.findall(r"^```python\n(.*?)^```", text, re.M | re.S):
            yield name, block


def test_the_pages_hold_commands_and_code() -> None:
    assert len(list(commands())) > 20
    assert len(list(blocks())) > 4


@pytest.mark.parametrize(("page", "line"), list(commands()))
def test_commands_are_understood(page: str, line: str) -> None:
    words = shlex.split(line, comments=True)[1:]
    with PROGRAM.make_context("langwright", words) as context:  # parses, runs nothing
        verb = PROGRAM.resolve_command(context, words)[1]  # type: ignore[attr-defined]
        with verb.make_context(words[0], words[1:], parent=context):
            pass


@pytest.mark.parametrize(("page", "block"), list(blocks()))
def test_code_imports_what_is_there(page: str, block: str) -> None:
    tree = ast.parse(block)
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                names[alias.asname or alias.name] = importlib.import_module(alias.name)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                assert hasattr(importlib.import_module(str(node.module)), alias.name), alias.name
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            module = names.get(node.value.id)
            assert module is None or hasattr(module, node.attr), f"{node.value.id}.{node.attr}"


@pytest.mark.parametrize(("page", "text"), list(pages()))
def test_links_and_scripts_lead_somewhere(page: str, text: str) -> None:
    folder = (ROOT / page).parent
    for link in re.findall(r"\]\(([^)#\s]+)", text):
        if not re.match(r"\w+:", link):
            assert (folder / link).exists(), link
    for script in re.findall(r"\bbenchmarks/\w+\.py", text):
        assert (ROOT / script).exists(), script
