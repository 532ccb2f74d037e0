"""MediaWiki's markup as plain text."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from langwright.errors import BadInput, Unsupported

_DROPPED = frozenset(
    {"gallery", "imagemap", "ref", "references", "score", "table", "td", "th", "timeline", "tr"}
)
_BLOCKS = frozenset(["p", "div", "blockquote", "center", "dl", "ul", "ol"])
_HEADING = re.compile(r"^(=+) (.*) \1$")
_EMPTY_BRACKETS = re.compile(r" ?\([\s,;:]*\)")
MAX_OPEN = 1_000
"""Brackets or elements without an end: the parser's time grows with their square, to hours."""
_BRACKET = re.compile(
    r"\{\{|\}\}|\[\[|\]\]|\{\||\|\}|\[(?=http)|\]|<(?!br\b|hr\b)[a-z]|</|/>", re.IGNORECASE
)
_CLOSES = {"}}": "{{", "]]": "[[", "|}": "{|", "]": "[", "</": "<", "/>": "<"}
_MAGIC_WORD = re.compile(r"__[A-Z]{3,30}__")


def plain_text(source: str, hidden: frozenset[str] = frozenset()) -> str:
    """What a reader sees of the running text: paragraphs, list items (after "- ") and headings.

    Left out are templates, tables, notes, pictures, formulas, and links into the namespaces
    `hidden` (lower case), which are those of files and categories; and headings with nothing
    below. Raises `BadInput` for a page with more than `MAX_OPEN` brackets that are not closed.
    """
    try:
        import mwparserfromhell
    except ImportError:
        raise Unsupported(
            "Reading a wiki's dump needs mwparserfromhell, which is not installed.",
            remedy="Install it: `pip install 'langwright[text]'`.",
        ) from None
    if _left_open(source) > MAX_OPEN:
        raise BadInput(
            f"The page leaves more than {MAX_OPEN:,} brackets or elements open.",
            remedy="Leave it out.",
        )
    text = "".join(_pieces(mwparserfromhell.parse(source), hidden))
    text = _EMPTY_BRACKETS.sub("", _MAGIC_WORD.sub("", text))
    lines = [" ".join(line.split()) for line in text.split("\n")]
    return _joined(_paragraphs(lines))


def _left_open(source: str) -> int:
    """How many brackets and elements have no end behind them."""
    depth = Counter[str]()
    for found in _BRACKET.finditer(source):
        mark = found[0]
        if mark in _CLOSES:
            depth[_CLOSES[mark]] = max(0, depth[_CLOSES[mark]] - 1)
        else:
            depth["<" if mark[0] == "<" else mark] += 1
    return depth.total()


def _pieces(code: Any, hidden: frozenset[str]) -> Iterator[str]:
    """The parser bounds how deep nodes lie in each other, so this may call itself."""
    from mwparserfromhell import nodes

    if code is None:
        return
    for node in code.nodes:
        if isinstance(node, nodes.Text):
            yield str(node.value)
        elif isinstance(node, nodes.HTMLEntity):
            yield node.normalize()
        elif isinstance(node, nodes.Wikilink):
            title = str(node.title)
            space = title.partition(":")[0].strip().lower()
            if ":" not in title or space not in hidden:
                yield from _pieces(node.text if node.text is not None else node.title, hidden)
        elif isinstance(node, nodes.ExternalLink):
            if node.brackets:
                yield from _pieces(node.title, hidden)
            else:
                yield str(node.url)
        elif isinstance(node, nodes.Heading):
            marks = "=" * node.level
            yield f"\n{marks} {''.join(_pieces(node.title, hidden)).strip()} {marks}\n"
        elif isinstance(node, nodes.Tag):
            yield from _of_tag(node, hidden)


def _of_tag(tag: Any, hidden: frozenset[str]) -> Iterator[str]:
    from mwparserfromhell.definitions import is_visible

    name = str(tag.tag).strip().lower()
    if name in _DROPPED or (not is_visible(name) and name not in ("nowiki", "pre")):
        return
    if name in ("br", "hr"):
        yield "\n"
    elif tag.wiki_markup and name in ("li", "dd", "dt"):
        yield "- " if name == "li" else ""
    elif name in _BLOCKS:
        yield "\n"
        yield from _pieces(tag.contents, hidden)
        yield "\n"
    else:
        yield from _pieces(tag.contents, hidden)


def _paragraphs(lines: list[str]) -> Iterator[str]:
    """Lines that are not empty; a heading waits for the text below it."""
    waiting: list[tuple[int, str]] = []
    for line in lines:
        heading = _HEADING.match(line)
        if heading:
            level = len(heading[1])
            waiting = [one for one in waiting if one[0] < level]
            waiting.append((level, heading[2]))
        elif line.strip("-*#:; "):
            yield from (title for _, title in waiting if title)
            waiting = []
            yield line


def _joined(lines: Iterator[str]) -> str:
    """An empty line between paragraphs, none between the items of a list."""
    text, before = "", ""
    for line in lines:
        together = line.startswith("- ") and before.startswith("- ")
        text += ("" if not before else "\n" if together else "\n\n") + line
        before = line
    return text
