"""Errors in Ollama's form: a text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langwright.wire.failure import Failure, kind_of


def error_json(failure: Failure) -> dict[str, Any]:
    return {"error": failure.message}


def error_read(
    status: int, answer: Mapping[str, Any] | None, *, retry_after: str | None = None
) -> Failure:
    """The failure that a status of HTTP and its JSON tell."""
    wait = retry_after or ""
    return Failure(
        kind_of(status),
        str((answer or {}).get("error") or f"status {status}"),
        retry_after=int(wait) if wait.isascii() and wait.isdigit() else None,
    )
