"""An artifact: an immutable folder of files, known by the digest of what it holds."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from langwright.errors import BadInput

Files = dict[str, tuple[str, int]]
"""Path inside the artifact (with `/`) -> SHA-256 in hexadecimal, size in bytes."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")


class Artifact(BaseModel):
    """The record of one corpus, tokenizer, model, token shard, index or report."""

    model_config = ConfigDict(frozen=True, defer_build=True)  # or every import pays for it

    name: str
    kind: str
    digest: str
    bytes: int
    licence: str | None
    parents: list[str]
    settings: dict[str, Any]
    metrics: dict[str, Any]
    created: str
    """ISO 8601, UTC."""
    files: Files
    dropped: bool = False
    """The bytes were removed; the record stays because something was made from it."""

    def public(self) -> dict[str, Any]:
        """What `langwright list --json` shows of it."""
        return self.model_dump(mode="json", exclude={"files"})


def check_name(name: str) -> str:
    """`name`, if it can name an artifact or a run; raises `BadInput`."""
    if not _NAME.fullmatch(name):
        raise BadInput(
            f"{name[:120]!r} cannot be a name.",
            remedy="Use 1 to 100 letters, digits, '.', '_' or '-', not beginning with '.' or '-'.",
        )
    return name


def canonical_json(value: Any) -> str:
    """The one JSON text of `value`; raises `BadInput` for what JSON cannot say."""
    try:
        return json.dumps(
            value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
        )
    except (TypeError, ValueError) as error:
        raise BadInput(
            f"This cannot be recorded as JSON: {error}.",
            remedy="Use text, finite numbers, true, false, null, lists and tables.",
        ) from None


def digest_of(
    kind: str,
    files: Files,
    parents: Sequence[str],
    settings: Mapping[str, Any],
    licence: str | None,
) -> str:
    """SHA-256 (hexadecimal) over what an artifact is; its name, metrics and age do not count."""
    identity = {
        "kind": kind,
        "files": files,
        "parents": list(parents),
        "settings": settings,
        "licence": licence,
    }
    return hashlib.sha256(canonical_json(identity).encode()).hexdigest()


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def scan(folder: Path) -> Files:
    """Every file under `folder`; raises `BadInput` for links, whose bytes lie elsewhere."""
    return {name: (sha256_of(path), path.stat().st_size) for name, path in _walk(folder)}


def damage(folder: Path, files: Files) -> str | None:
    """The first way in which `folder` no longer is `files`, in words; None when it is whole."""
    there = dict(_walk(folder))
    for name, (digest, size) in files.items():
        if name not in there:
            return f"{name} is missing"
        if there[name].stat().st_size != size:
            return f"{name} has {there[name].stat().st_size:,} bytes instead of {size:,}"
        if sha256_of(there[name]) != digest:
            return f"{name} has other bytes than were written"
    for name in there.keys() - files.keys():
        return f"{name} was added"
    return None


def _walk(folder: Path) -> list[tuple[str, Path]]:
    found = []
    for here, folders, names in os.walk(folder):
        for name in (*folders, *names):
            path = Path(here, name)
            if path.is_symlink():
                raise BadInput(f"{path} is a link.", remedy="Put the file itself there.")
            if name in names:
                found.append((path.relative_to(folder).as_posix(), path))
    return sorted(found)
