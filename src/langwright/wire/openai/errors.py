"""Errors in OpenAI's form: https://platform.openai.com/docs/guides/error-codes."""

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
    "too_large": "invalid_request_error",
    "too_many": "rate_limit_error",
    "internal": "server_error",
    "unavailable": "unavailable_error",
}


def error_json(failure: Failure) -> dict[str, Any]:
    """With llama.cpp's `n_prompt_tokens` and `n_ctx` where a prompt is too long."""
    told: dict[str, Any] = {
        "message": failure.message,
        "type": TYPES[failure.kind],
        "param": failure.param,
        "code": failure.code,
    }
    if failure.window is not None:
        told |= {"n_prompt_tokens": failure.prompt_tokens, "n_ctx": failure.window}
    return {"error": told}


def error_read(
    status: int, answer: Mapping[str, Any] | None, *, retry_after: str | None = None
) -> Failure:
    """The failure that a status of HTTP and its JSON tell; some servers leave the envelope out, or
    tell a text alone."""
    told = (answer or {}).get("error") or {}
    if not isinstance(told, Mapping):
        told = {"message": str(told)}
    message = told.get("message") or (answer or {}).get("message") or f"status {status}"
    kind, code = str(told.get("type")), told.get("code")
    if not isinstance(code, str):  # llama.cpp's is the status
        code = kind if "context" in kind else None
    wait = retry_after or ""
    return Failure(
        kind_of(status),
        str(message),
        told.get("param"),
        code,
        int(wait) if wait.isascii() and wait.isdigit() else None,
        told.get("n_prompt_tokens"),
        told.get("n_ctx"),
    )
