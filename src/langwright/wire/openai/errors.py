"""Errors in OpenAI's form: https://platform.openai.com/docs/guides/error-codes."""

from __future__ import annotations

from typing import Any

from langwright.wire.failure import Failure, FailureKind

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
