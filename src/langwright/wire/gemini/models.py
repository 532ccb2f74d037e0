"""Gemini's list of models: https://ai.google.dev/api/models"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langwright.wire.body import BadBody

MOST = 1000
METHODS = ("generateContent", "streamGenerateContent", "countTokens", "embedContent")


def model_json(
    name: str,
    *,
    shown: str | None = None,
    description: str = "",
    version: str = "1",
    window: int | None = None,
    methods: Sequence[str] = METHODS,
) -> dict[str, Any]:
    """`shown` is the name for people, `window` in tokens."""
    limits = {} if window is None else {"inputTokenLimit": window, "outputTokenLimit": window}
    return {
        "name": f"models/{name}",
        "version": version,
        "displayName": shown or name,
        "description": description,
        **limits,
        "supportedGenerationMethods": list(methods),
    }


def models_json(
    models: Sequence[dict[str, Any]], *, page_size: int | None = None, page_token: str | None = None
) -> dict[str, Any]:
    """A page of at most `page_size` models (50), from the one that `page_token` tells. Raises
    `BadBody` for another token."""
    token = page_token or "0"
    if not (token.isascii() and token.isdigit() and int(token[:9]) <= len(models)):
        raise BadBody("pageToken: it is none of a page here.", "pageToken")
    if page_size is not None and page_size < 0:
        raise BadBody("pageSize: it must be 0 or more.", "pageSize")
    first, size = int(token[:9]), min(page_size or 50, MOST)
    told: dict[str, Any] = {"models": list(models[first : first + size])}
    if first + size < len(models):
        told["nextPageToken"] = str(first + size)
    return told
