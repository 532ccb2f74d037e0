"""The verb `transcripts`: what a model said, how it was criticised, and what it made of it."""

from __future__ import annotations

from typing import Any

from langwright.errors import BadInput, NotFound
from langwright.store import Store
from langwright.training.constitutional.transcript import counts, read_transcripts


def transcripts(
    run: str, *, set_aside: bool = False, limit: int | None = None, store: Store | None = None
) -> dict[str, Any]:
    """The transcripts of a run of `constitution`, in the order of its prompts: with `set_aside`
    those alone of which no revision could be used; the first `limit`.

    Returns {"run", "counts", "transcripts"}. Raises `NotFound` for an unknown run and for one that
    has none yet.
    """
    store = store or Store()
    if limit is not None and limit < 1:
        raise BadInput(f"The limit is {limit}.", remedy="Give at least 1, or leave it out.")
    settings = store.run(run).settings
    name = f"{run}-transcripts"
    try:
        artifact = store.get(name)
    except NotFound:
        if "constitution" not in settings:
            remedy = "Name a run of `langwright constitution`."
        else:
            remedy = "They are there when its first stage is done: start it again, it goes on."
        raise NotFound(f"The run '{run}' has no transcripts.", remedy=remedy) from None
    found = read_transcripts(store.path(artifact) / "transcripts.jsonl")
    shown = [one for one in found if one.revised is None] if set_aside else found
    return {
        "run": run,
        "counts": counts(found),
        "transcripts": [one.to_json() for one in shown[:limit]],
    }
