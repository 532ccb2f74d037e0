"""Anthropic's list of models: https://platform.claude.com/docs/en/api/models/list."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from langwright.wire.body import BadBody

MOST = 1000


def model_json(
    name: str,
    *,
    created: int = 0,
    shown: str | None = None,
    window: int | None = None,
) -> dict[str, Any]:
    """`created` in seconds since 1970, `shown` the name for people, `window` in tokens."""
    at = datetime.fromtimestamp(created, UTC)
    return {
        "type": "model",
        "id": name,
        "display_name": shown or name,
        "created_at": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "lifecycle": "active",
        "max_input_tokens": window,
        "max_tokens": window,
    }


def models_json(
    models: Sequence[dict[str, Any]],
    *,
    limit: int = 20,
    after_id: str | None = None,
    before_id: str | None = None,
) -> dict[str, Any]:
    """A page of at most `limit` models. Raises `BadBody` for a model that is not among them."""
    if not 1 <= limit <= MOST:
        raise BadBody(f"limit: it must lie between 1 and {MOST}.", "limit")
    names = [one["id"] for one in models]
    first, end = 0, len(models)
    for name, value in (("after_id", after_id), ("before_id", before_id)):
        if value is not None and value not in names:
            raise BadBody(f"{name}: there is no model '{value}'.", name)
    if after_id is not None:
        first = names.index(after_id) + 1
    if before_id is not None:
        end = names.index(before_id)
        first = max(first, end - limit)
    page = models[first : min(first + limit, end)]
    more = first > 0 if before_id is not None else first + limit < end
    return {
        "data": list(page),
        "has_more": more,
        "first_id": page[0]["id"] if page else None,
        "last_id": page[-1]["id"] if page else None,
    }
