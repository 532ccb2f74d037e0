"""Errors in Google's form: https://cloud.google.com/apis/design/errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langwright.wire.failure import Failure, FailureKind, kind_of

STATUSES: dict[FailureKind, str] = {
    "invalid": "INVALID_ARGUMENT",
    "unauthorized": "UNAUTHENTICATED",
    "forbidden": "PERMISSION_DENIED",
    "not_found": "NOT_FOUND",
    "timeout": "DEADLINE_EXCEEDED",
    "too_large": "INVALID_ARGUMENT",
    "too_many": "RESOURCE_EXHAUSTED",
    "internal": "INTERNAL",
    "unavailable": "UNAVAILABLE",
}


def error_json(failure: Failure) -> dict[str, Any]:
    told = {"code": failure.status, "message": failure.message, "status": STATUSES[failure.kind]}
    return {"error": told}


def error_read(
    status: int, answer: Mapping[str, Any] | None, *, retry_after: str | None = None
) -> Failure:
    """The failure that a status of HTTP and its JSON tell; in a stream the JSON's own code."""
    told = (answer or {}).get("error") or {}
    if not isinstance(told, Mapping):
        told = {"message": str(told)}
    code, wait = told.get("code"), retry_after or ""
    return Failure(
        kind_of(code if isinstance(code, int) else status),
        str(told.get("message") or f"status {status}"),
        retry_after=int(wait) if wait.isascii() and wait.isdigit() else None,
    )
