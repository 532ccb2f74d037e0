"""Cleaning a corpus: the verb, its settings, and the artifact that it writes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
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
from langwright.text.language import Language
from langwright.text.normalise import Normalise
from langwright.text.pii import Scrub
from langwright.text.pipeline import run_pipeline
from langwright.text.quality import open_quality
from langwright.text.reader import CORPUS_FILE, FUNNEL_FILES

STEPS: dict[str, Callable[[], Step | Deduplicator] | None] = {
    "repair": Repair,
    "normalise": Normalise,
    "language": None,
    "gopher_repetition": GopherRepetition,
    "gopher_quality": GopherQuality,
    "c4": C4,
    "fineweb_quality": FineWebQuality,
    "exact": ExactDedup,
    "minhash": MinHashDedup,
    "quality": None,
    "pii": Scrub,
}
"""In the order of FineWeb's pipeline (Penedo et al. 2024): language, rules, duplicates, and in
FineWeb-Edu a classifier; personal data last. None: it needs a setting of its own, and is there
when that is given."""


def clean(
    sources: Sequence[str],
    name: str,
    *,
    steps: Sequence[str] | None = None,
    languages: Sequence[str] = (),
    quality: str | None = None,
    against: Sequence[str] = (),
    engine: Literal["local", "ray"] = "local",
    processes: int | None = None,
    store: Store | None = None,
) -> dict[str, Any]:
    """`langwright clean`: a clean corpus `name` out of `sources` (names of corpora, or paths).

    `steps` are names out of `STEPS`, run in the order given; by default all. `languages` (codes of
    ISO 639) makes the step `language`, and `quality`, a classifier of `train_quality` as `NAME` or
    `NAME@threshold`, the step `quality`; without them these do not run. With `against`, files of
    evaluation sets, documents that hold their text are dropped last. The corpus holds
    `documents.jsonl` and the funnel, as `funnel.json` and `funnel.html`; its parents are the raw
    corpora and the classifier. The result is the same for any `engine` and number of `processes`
    (default: all cores).

    With more than one process the script that calls this needs its `if __name__ == "__main__":`.

    Raises `BadSettings` for an unknown step, or one without its setting; `BadInput` where nothing
    is left.
    """
    store = store or Store()
    given: dict[str, Step] = {}
    classifiers = []
    if languages:
        given["language"] = Language(tuple(languages))
    if quality is not None:
        given["quality"], classifier = open_quality(quality, store)
        classifiers.append(classifier.digest)
    default = [step for step, make in STEPS.items() if make or step in given]
    chosen = default if steps is None else list(steps)
    made = _make(chosen, given)
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
            parents=[*(corpus.digest for corpus in corpora), *classifiers],
            settings={
                "steps": chosen,
                "languages": list(languages),
                "quality": quality,
                "against": [str(path) for path in against],
            },
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
        (draft.folder / FUNNEL_FILES[0]).write_text(text, encoding="utf-8")
        page = funnel_page(f"Cleaning: {name}", told)
        (draft.folder / FUNNEL_FILES[1]).write_text(page, encoding="utf-8")
        draft.metrics |= {
            "documents_in": funnel[0].documents_in,
            "bytes_in": funnel[0].bytes_in,
            "documents": funnel[-1].documents_out,
            "bytes": funnel[-1].bytes_out,
        }
    return {
        "corpus": name,
        "report": str(store.path(draft.artifact) / FUNNEL_FILES[1]),
        **draft.artifact.metrics,
        "funnel": told,
    }


def _make(chosen: Sequence[str], given: Mapping[str, Step]) -> list[Step | Deduplicator]:
    made: list[Step | Deduplicator] = []
    for step in chosen:
        if step not in STEPS:
            raise BadSettings(f"There is no step '{step}'.", remedy=suggest(step, STEPS))
        make = STEPS[step]
        if make is None and step not in given:
            raise BadSettings(
                f"The step '{step}' does not know what to keep.",
                remedy=f"Give --{step}, or leave it out of --steps.",
            )
        made.append(make() if make else given[step])
    for step in given:
        if step not in chosen:
            raise BadSettings(
                f"There is --{step}, but --steps has no '{step}'.",
                remedy=f"Add it to --steps, or leave --{step} out.",
            )
    return made


def _decontaminate(paths: Sequence[Path]) -> Decontaminate:
    texts = (item for path in paths for item in evaluation_texts(path))
    return Decontaminate(ContaminationIndex.build(texts))
