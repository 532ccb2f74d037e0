"""Errors in Anthropic's form: https://platform.claude.com/docs/en/api/errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langwright.wire.failure import Failure, FailureKind, kind_of

TYPES: dict[FailureKind, str] = {
    "invalid": "invalid_request_error",
    "unauthorized": "authentication_error",
    "forbidden": "permission_error",
    "not_found": "not_found_error",
    "timeout": "timeout_error",
    "too_large": "request_too_large",
    "too_many": "rate_limit_error",
    "internal": "api_error",
    "unavailable": "overloaded_error",
}
_KINDS: dict[str, FailureKind] = {name: kind for kind, name in TYPES.items()}


def error_json(failure: Failure, request_id: str | None = None) -> dict[str, Any]:
    told = {"type": TYPES[failure.kind], "message": failure.message}
    return {"type": "error", "error": told, "request_id": request_id}


def error_read(
    status: int | None, answer: Mapping[str, Any] | None, *, retry_after: str | None = None
) -> Failure:
    """The failure that a status of HTTP (None within a stream) and its JSON tell."""
    told = (answer or {}).get("error") or {}
    if not isinstance(told, Mapping):
        told = {"message": str(told)}
    named = _KINDS.get(str(told.get("type")))
    kind = kind_of(status) if status is not None else named or "internal"
    wait = retry_after or ""
    return Failure(
        kind,
        str(told.get("message") or f"status {status}"),
        retry_after=int(wait) if wait.isascii() and wait.isdigit() else None,
    )
