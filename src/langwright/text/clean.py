"""Cleaning a corpus: the verb, its settings, and the artifact that it writes."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from langwright.errors import BadInput, BadSettings, suggest
from langwright.store import Store
from langwright.text.cleaning import (
    C4,
    FineWebQuality,
    GopherQuality,
    GopherRepetition,
    Repair,
    Step,
)
from langwright.text.contamination import ContaminationIndex, Decontaminate, evaluation_texts
from langwright.text.corpus import open_corpus
from langwright.text.dedup import Deduplicator, ExactDedup, MinHashDedup
from langwright.text.engines import LocalEngine, RayEngine
from langwright.text.funnel import funnel_page
from langwright.text.normalise import Normalise
from langwright.text.pipeline import run_pipeline
from langwright.text.reader import CORPUS_FILE

STEPS: dict[str, Callable[[], Step | Deduplicator]] = {
    "repair": Repair,
    "normalise": Normalise,
    "gopher_repetition": GopherRepetition,
    "gopher_quality": GopherQuality,
    "c4": C4,
    "fineweb_quality": FineWebQuality,
    "exact": ExactDedup,
    "minhash": MinHashDedup,
}
"""In the order of FineWeb's pipeline (Penedo et al. 2024): rules first, then duplicates."""


def clean(
    sources: Sequence[str],
    name: str,
    *,
    steps: Sequence[str] | None = None,
    against: Sequence[str] = (),
    engine: Literal["local", "ray"] = "local",
    processes: int | None = None,
    store: Store | None = None,
) -> dict[str, Any]:
    """`langwright clean`: a clean corpus `name` out of `sources` (names of corpora, or paths).

    `steps` are names out of `STEPS`, run in the order given; by default all. With `against`, files
    of evaluation sets, documents that hold their text are dropped last. The corpus holds
    `documents.jsonl` and the funnel, as `funnel.json` and `funnel.html`; its parents are the raw
    corpora. The result is the same for any `engine` and number of `processes` (default: all cores).

    With more than one process the script that calls this needs its `if __name__ == "__main__":`.

    Raises `BadSettings` for an unknown step, `BadInput` where nothing is left.
    """
    store = store or Store()
    chosen = list(STEPS if steps is None else steps)
    for step in chosen:
        if step not in STEPS:
            raise BadSettings(f"There is no step '{step}'.", remedy=suggest(step, STEPS))
    made = [STEPS[step]() for step in chosen]
    if against:
        made.append(_decontaminate([Path(path) for path in against]))
    if not sources:
        raise BadInput("There is nothing to clean.", remedy="Name a corpus, a file or a folder.")
    if not made:
        raise BadSettings("No step is named.", remedy=f"There are {', '.join(STEPS)}.")
    corpora = [open_corpus(source, store) for source in sources]
    licences = sorted({corpus.licence or "unknown" for corpus in corpora})
    with (
        store.writing(
            name,
            "corpus",
            parents=[corpus.digest for corpus in corpora],
            settings={"steps": chosen, "against": [str(path) for path in against]},
            licence=", ".join(licences),
        ) as draft,
        LocalEngine(processes) if engine == "local" else RayEngine() as running,
    ):
        inputs = [store.path(corpus) / CORPUS_FILE for corpus in corpora]
        funnel = run_pipeline(inputs, made, draft.folder / CORPUS_FILE, draft.scratch, running)
        told = [count.to_json() for count in funnel]
        if not funnel[-1].documents_out:
            worst = max(funnel, key=lambda count: count.documents_in - count.documents_out)
            raise BadInput(
                f"No document is left; '{worst.name}' took"
                f" {worst.documents_in - worst.documents_out:,} of {worst.documents_in:,}.",
                remedy="Leave that step out with --steps, or give other text.",
            )
        text = json.dumps(told, ensure_ascii=False, indent=1)
        (draft.folder / "funnel.json").write_text(text, encoding="utf-8")
        page = funnel_page(f"Cleaning: {name}", told)
        (draft.folder / "funnel.html").write_text(page, encoding="utf-8")
        draft.metrics |= {
            "documents_in": funnel[0].documents_in,
            "bytes_in": funnel[0].bytes_in,
            "documents": funnel[-1].documents_out,
            "bytes": funnel[-1].bytes_out,
        }
    return {
        "corpus": name,
        "report": str(store.path(draft.artifact) / "funnel.html"),
        **draft.artifact.metrics,
        "funnel": told,
    }


def _decontaminate(paths: Sequence[Path]) -> Decontaminate:
    texts = (item for path in paths for item in evaluation_texts(path))
    return Decontaminate(ContaminationIndex.build(texts))
