"""The text of a LaTeX source."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path

from langwright.errors import BadInput
from langwright.text.reading.extracted import Extracted
from langwright.text.reading.rich.decoding import decode

MAX_BYTES = 4 * 2**20

_HEADINGS = {"part", "chapter", "section", "subsection", "subsubsection", "paragraph", "caption"}
_FLOATS = {"figure", "table", "wrapfigure", "algorithm", "sidewaystable", "sidewaysfigure"}
_DROPPED = {"thebibliography", "tikzpicture", "picture", "comment", "filecontents", "CCSXML"}
_MATH = {"equation", "align", "gather", "multline", "eqnarray", "displaymath", "math", "flalign"}
_VERBATIM = "verbatim|Verbatim|lstlisting|minted|alltt"
# Commands whose arguments are no text, with the number of arguments.
_NO_TEXT = {
    "label": 1, "ref": 1, "eqref": 1, "pageref": 1, "autoref": 1, "cref": 1, "Cref": 1, "nocite": 1,
    "bibliography": 1, "bibliographystyle": 1, "includegraphics": 1, "input": 1, "include": 1,
    "usepackage": 1, "documentclass": 1, "vspace": 1, "hspace": 1, "setlength": 2, "addtolength": 2,
    "setcounter": 2, "addtocounter": 2, "newcommand": 2, "renewcommand": 2, "providecommand": 2,
    "newenvironment": 3, "newtheorem": 2, "href": 1, "hypersetup": 1, "thanks": 1, "pagestyle": 1,
    "thispagestyle": 1, "index": 1, "color": 1, "textcolor": 1, "title": 1, "date": 1, "author": 1,
    "hyphenation": 1, "graphicspath": 1, "cline": 1, "multicolumn": 2, "rule": 2, "bibitem": 1,
}  # fmt: skip
_SYMBOLS = {
    "LaTeX": "LaTeX", "TeX": "TeX", "ldots": "…", "dots": "…", "ss": "ß", "ae": "æ", "AE": "Æ",
    "oe": "œ", "OE": "Œ", "o": "ø", "O": "Ø", "aa": "å", "AA": "Å", "l": "ł", "L": "Ł", "i": "ı",
    "S": "§", "P": "¶", "copyright": "©", "pounds": "£", "textendash": "–", "textemdash": "—",
    "textbackslash": "\\", "quad": " ", "qquad": " ", "par": "\n\n", "newline": "\x0b",
}  # fmt: skip
_ACCENTS = {
    "`": "\u0300", "'": "\u0301", "^": "\u0302", "~": "\u0303", "=": "\u0304", "u": "\u0306",
    ".": "\u0307", '"': "\u0308", "r": "\u030a", "H": "\u030b", "v": "\u030c", "c": "\u0327",
    "k": "\u0328",
}  # fmt: skip
_ESCAPED = {
    "\\": "\x0b", "-": "", "/": "", "@": "", "!": "", ",": " ", ";": " ", ":": " ", " ": " ",
}  # fmt: skip
_PLAIN = {"~": " ", "&": " | ", "---": "—", "--": "–", "``": "“", "''": "”"}

# Where literal text or a comment begins; an escaped sign begins neither.
_LITERAL = re.compile(
    r"\\[\\%]"
    rf"|\\begin\{{(?P<block>(?:{_VERBATIM})\*?)\}}(?:\[[^\]\n]*\])?(?:\{{[\w-]*\}})?"
    r"|\\(?:verb|lstinline)\*?(?P<inline>[^\w\s*{])"
    r"|(?P<comment>%[^\n]*(?:\n[ \t]*(?!\n))?)"
)
_TOKEN = re.compile(
    r"\\([a-zA-Z@]+)\*?[ \t]*|\\(.)|(\$\$?)|([{}])|(---?|``|''|[~&])|\ue000\d+\ue001", re.S
)
_BASE = re.compile(r"\s*(?:\{\\?(\w)\}|\\?([a-zA-Z]))")
_NAME = re.compile(r"\s*\{([\w@]+\*?)\}")
_OPTION = re.compile(r"[ \t]*\[([^\[\]]{0,500})\]")
_OPENING = re.compile(r"[ \t]*\n?[ \t]*\{")
_ROWS = {"tabular", "tabularx", "longtable", "array", "minipage"}

_BREAK = "\x0b"
"""A line end that was asked for; the source's own are spaces."""


def read(path: Path) -> Iterator[Extracted]:
    """The document's text, its mathematics as source.

    Kept: text, headings, lists (after "- "), footnotes in brackets, tables in the text as rows,
    captions, verbatim listings, formulas as they are written. Dropped: the preamble, comments,
    citations, references, labels, figures and other floats, the bibliography. Macros of the author
    are not expanded: the name goes, the argument stays. Files of `\\input` are not followed.

    Raises `BadInput` for a file over `MAX_BYTES` and for one without text.
    """
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise BadInput(
            f"{path} has {size:,} bytes; of LaTeX at most {MAX_BYTES:,} are read.",
            remedy="Split it into several files.",
        )
    source, guessed = decode(path.read_bytes(), path)
    source = source.replace("\r\n", "\n")
    begin = re.search(r"^[^%\n]*?\\begin\{document\}", source, re.M)
    end = source.find("\\end{document}", begin.end() if begin else 0)
    body = source[begin.end() if begin else 0 : end if end >= 0 else len(source)]
    text = _Stripper(body).text()
    if not text:
        raise BadInput(f"{path} holds no text.", remedy="Leave it out.")
    yield Extracted(text, _title(source), encoding=guessed)


def _title(source: str) -> str | None:
    found = re.search(r"^[^%\n]*?\\title\s*(?:\[[^\]]{0,500}\]\s*)?(?=\{)", source, re.M)
    if not found:
        return None
    braced = source[found.end() : found.end() + 2000]  # no title is longer
    end = _closing_braces(braced).get(0)
    title = " ".join(_Stripper(braced[1:end]).text().split()) if end else ""
    return title or None


class _Stripper:
    """One pass over a source: what is never closed reaches to the end, so time grows linearly."""

    def __init__(self, source: str) -> None:
        self.literal: list[str] = []
        self.source = self._set_aside(re.sub("[\ue000\ue001\x0b]", "", source))
        self.closing = _closing_braces(self.source)

    def text(self) -> str:
        text = self._strip(0, len(self.source))
        text = re.sub(r"[ \t]*\n[ \t\n]*\n[ \t]*", _BREAK * 2, text)
        text = re.sub(r"[ \t\n]+", " ", text)
        text = re.sub(rf" *{_BREAK} *", "\n", text)
        text = re.sub(r"\n{3,}", "\n\n", text).strip()
        return re.sub("\ue000(\\d+)\ue001", lambda match: self.literal[int(match[1])], text)

    def _set_aside(self, source: str) -> str:
        """The source without comments, its literal text replaced by numbers."""
        out: list[str] = []
        at = 0
        while found := _LITERAL.search(source, at):
            out.append(source[at : found.start()])
            close = f"\\end{{{found['block']}}}" if found["block"] else found["inline"]
            at = found.end()
            if close:
                end = _find(close, source, at, len(source))
                text = source[at:end].strip("\n")
                gap = _BREAK * 2 if found["block"] else ""
                out.append(f"{gap}\ue000{len(self.literal)}\ue001{gap}")
                self.literal.append(text)
                at = min(end + len(close), len(source))
            elif not found["comment"]:
                out.append(found[0])
        out.append(source[at:])
        return "".join(out)

    def _strip(self, at: int, stop: int, *, captions: bool = True) -> str:
        source = self.source
        out: list[str] = []
        after: dict[int, str] = {}  # what to write where a group closes
        while token := _TOKEN.search(source, at, stop):
            out.append(source[at : token.start()])
            at = token.end()
            command, escaped, dollars, brace, plain = token.groups()
            accent = _ACCENTS.get(command or escaped or "")
            if dollars or escaped in ("(", "["):
                close = dollars or ("\\)" if escaped == "(" else "\\]")
                at = min(_find(close, source, at, stop) + len(close), stop)
                out.append(_formula(source[token.start() : at]))
            elif accent and (base := _BASE.match(source, at, stop)):
                at = base.end()
                out.append(unicodedata.normalize("NFC", (base[1] or base[2]) + accent))
            elif command == "begin":
                at = self._environment(token.start(), at, stop, out, captions)
            elif command == "end":
                at = self._skip_arguments(at, stop, 1)
                out.append(_BREAK)
            elif command == "item":
                label = _OPTION.match(source, at, stop)
                at = label.end() if label else at
                out.append(f"{_BREAK}- {label[1] + ' ' if label else ''}")
            elif command in _HEADINGS or command == "footnote":
                before, behind = (" (", ")") if command == "footnote" else (_BREAK * 2, _BREAK * 2)
                at = self._skip_arguments(at, stop, 0)
                if at in self.closing:
                    out.append(before)
                    after[self.closing[at]] = behind
            elif command is not None:
                cites = command.lower().endswith(("cite", "citep", "citet", "citeauthor"))
                arguments = 1 if cites else _NO_TEXT.get(command, 0)
                if cites:  # with the space before
                    while out and not out[-1].strip(" "):
                        out.pop()
                    out[-1:] = [piece.rstrip(" ") for piece in out[-1:]]
                out.append(_SYMBOLS.get(command, ""))
                if command not in _SYMBOLS:
                    at = self._skip_arguments(at, stop, arguments)
            elif escaped is not None:
                out.append(_ESCAPED.get(escaped, escaped))
                if escaped == "\\" and (option := _OPTION.match(source, at, stop)):
                    at = option.end()
            elif brace:
                out.append(after.get(token.start(), ""))
            else:
                out.append(_PLAIN[plain] if plain else token[0])
        out.append(source[at:stop])
        return "".join(out)

    def _environment(self, start: int, at: int, stop: int, out: list[str], captions: bool) -> int:
        """Where to go on after the `\\begin` at `start`, whose argument is at `at`."""
        named = _NAME.match(self.source, at, stop)
        if named is None:
            return at
        name, at = named[1].rstrip("*"), named.end()
        if name in _MATH | _FLOATS | _DROPPED:
            close = f"\\end{{{named[1]}}}"
            end = _find(close, self.source, at, stop)
            past = min(end + len(close), stop)
            out.append(_BREAK * 2)
            if name in _MATH:
                out.append(_formula(self.source[start:past]).replace("\n", _BREAK) + _BREAK * 2)
            elif name in _FLOATS and captions:
                for caption in re.finditer(
                    r"\\caption\*?\s*(?:\[[^\]]{0,500}\])?", self.source[at:end]
                ):
                    opening = at + caption.end()
                    if opening in self.closing:
                        text = self._strip(opening, self.closing[opening], captions=False)
                        out.append(text + _BREAK * 2)
            return past
        out.append(_BREAK * (1 if name in _ROWS else 2))
        return self._skip_arguments(at, stop, 1 if name in _ROWS else 0)

    def _skip_arguments(self, at: int, stop: int, number: int) -> int:
        """Past the options in brackets and `number` arguments in braces, as many as there are."""
        while True:
            option = _OPTION.match(self.source, at, stop)
            opening = _OPENING.match(self.source, at, stop)
            if option:
                at = option.end()
            elif opening and number and opening.end() - 1 in self.closing:
                at = self.closing[opening.end() - 1] + 1
                number -= 1
            else:
                return at


def _find(close: str, source: str, at: int, stop: int) -> int:
    end = source.find(close, at, stop)
    return end if end >= 0 else stop


def _closing_braces(source: str) -> dict[int, int]:
    """Where the group that each opening brace begins is closed."""
    opened: list[int] = []
    closing: dict[int, int] = {}
    for token in re.finditer(r"\\.|[{}]", source, re.S):
        if token[0] == "{":
            opened.append(token.start())
        elif token[0] == "}" and opened:
            closing[opened.pop()] = token.start()
    return closing


def _formula(source: str) -> str:
    """As it is written, but for the names that references use."""
    return re.sub(r"[ \t]*\\label\{[^{}\n]{0,200}\}", "", source)
