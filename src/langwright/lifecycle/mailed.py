"""The last of a life: the model as one page, to mail to a friend."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from langwright.errors import LangwrightError
from langwright.lifecycle.export import export
from langwright.progress import say
from langwright.store import Store


def write_page(model: str, folder: Path, store: Store) -> dict[str, Any]:
    """Write `model.html` into `folder`, proved by node where that is installed; what it came to.
    A model that no page can hold has none, and the reason is told."""
    target = folder / "model.html"
    target.unlink(missing_ok=True)
    proved = shutil.which("node") is not None
    try:
        found = export(model, "html", target, unproved=not proved, store=store)
    except LangwrightError as error:
        say(f"There is no page of the model: {error}")
        return {"page": None, "why": error.message}
    return {"page": str(target), "bytes": target.stat().st_size, "proofs": found["proofs"]}
