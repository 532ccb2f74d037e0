"""Source code, as it stands."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from langwright.errors import BadInput
from langwright.text.reading.extracted import Extracted
from langwright.text.reading.rich.decoding import decode

CODE_SUFFIXES = {
    ".adb": "Ada", ".asm": "Assembly", ".bash": "Shell", ".c": "C", ".cc": "C++", ".clj": "Clojure",
    ".cpp": "C++", ".cs": "C#", ".css": "CSS", ".cu": "CUDA", ".cxx": "C++", ".dart": "Dart",
    ".el": "Emacs Lisp", ".erl": "Erlang", ".ex": "Elixir", ".exs": "Elixir", ".f90": "Fortran",
    ".fs": "F#", ".go": "Go", ".groovy": "Groovy", ".h": "C", ".hh": "C++", ".hpp": "C++",
    ".hs": "Haskell", ".java": "Java", ".jl": "Julia", ".js": "JavaScript", ".jsx": "JavaScript",
    ".kt": "Kotlin", ".lisp": "Common Lisp", ".lua": "Lua", ".m": "Objective-C",
    ".mjs": "JavaScript", ".ml": "OCaml", ".mli": "OCaml", ".pas": "Pascal", ".php": "PHP",
    ".pl": "Perl", ".pm": "Perl", ".proto": "Protocol Buffer", ".ps1": "PowerShell",
    ".py": "Python", ".pyi": "Python", ".r": "R", ".rb": "Ruby", ".rs": "Rust", ".s": "Assembly",
    ".scala": "Scala", ".scm": "Scheme", ".sh": "Shell", ".sol": "Solidity", ".sql": "SQL",
    ".swift": "Swift", ".tcl": "Tcl", ".ts": "TypeScript", ".tsx": "TypeScript", ".v": "Verilog",
    ".vhd": "VHDL", ".vim": "Vim Script", ".zig": "Zig", ".zsh": "Shell",
}  # fmt: skip
"""Suffix, in lower case, to language (named as GitHub's linguist names it)."""

MAX_BYTES = 16 * 2**20

_SPDX = re.compile(r"SPDX-License-Identifier:[ \t]*([\w.+:() \t-]+)")


def read(path: Path) -> Iterator[Extracted]:
    """The file to the character, but for a byte-order mark.

    The licence is the expression after `SPDX-License-Identifier:` among the first 50 lines.
    Minified and generated files are read like others; to drop them is cleaning's part.

    Raises `BadInput` for a binary file, one over `MAX_BYTES`, and an empty one.
    """
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise BadInput(
            f"{path} has {size:,} bytes; of source code at most {MAX_BYTES:,} are read.",
            remedy="Leave it out: it is generated, or data.",
        )
    raw = path.read_bytes()
    if 0 in raw:
        raise BadInput(f"{path} is binary, not source code.", remedy="Leave it out.")
    text, guessed = decode(raw, path)
    if not text.strip():
        raise BadInput(f"{path} is empty: it holds no text.", remedy="Remove it or fill it.")
    found = _SPDX.search("\n".join(text.split("\n", 50)[:50]))
    # A comment may end on the same line.
    licence = re.split(r"\s+-|\*", found[1])[0].strip() if found else None
    yield Extracted(text, licence=licence or None, encoding=guessed)
