"""What a verb works on: text from the command line, a file or standard input, and settings."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from langwright.cli.faults import WrongUsage
from langwright.errors import BadInput, BadSettings, NotFound


def given_text(text: str | None, file: str | None) -> str:
    """`text`, or what `file` holds ('-': standard input). Exactly one must be there."""
    if text is not None and file is not None:
        raise WrongUsage("There is a text and a --file.", remedy="Give one of the two.")
    if text is not None:
        return text
    if file is None:
        raise WrongUsage("There is no text.", remedy="Give it, or its path with --file.")
    return decoded(sys.stdin.buffer.read(), "standard input") if file == "-" else _read(file)


def decoded(data: bytes, where: str) -> str:
    """UTF-8 with every line end as it is; raises `BadInput` that names the first wrong byte."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadInput(
            f"{where} is not UTF-8: byte {data[error.start]:#04x} at offset {error.start}.",
            remedy="Convert it to UTF-8 first.",
        ) from None


def given_json(file: str) -> Any:
    """What a JSON file holds; raises `BadInput` that names the place of a mistake."""
    try:
        return json.loads(_read(file))
    except json.JSONDecodeError as error:
        raise BadInput(
            f"{file} is not JSON: {error.msg} in line {error.lineno}.", remedy="Correct it."
        ) from None


def given_settings(words: Iterable[str]) -> dict[str, Any]:
    """`key=value` words as a table; raises `BadSettings` for what an option of its own says."""
    from langwright.config import parse_overrides

    values = parse_overrides(words)
    for key in ("name", "recipe", "store"):
        if key in values:
            raise BadSettings(
                f"'{key}' is not a setting of the recipe.",
                remedy="The name is given with --name, the recipe first.",
            )
    return values


def _read(file: str) -> str:
    try:
        return decoded(Path(file).read_bytes(), file)
    except FileNotFoundError:
        raise NotFound(f"There is no file {file}.", remedy="Check the path.") from None
    except IsADirectoryError:
        raise BadInput(f"{file} is a folder.", remedy="Give a file.") from None
