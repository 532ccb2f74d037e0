"""Corpora as artifacts of the store: by name, or read from a person's own files."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

from langwright.errors import BadInput
from langwright.store import Artifact, Store, pull
from langwright.store.catalog import catalog
from langwright.text.normalise import normalise
from langwright.text.reader import read_documents
from langwright.text.split import Side, split


def open_corpus(name: str, store: Store) -> Artifact:
    """The corpus artifact of a name in the store, of one that `pull` knows, or of a path.

    A path is read anew each time: the artifact's digest tells whether the files have changed. A
    data set of the Hugging Face hub is read once.
    """
    path = Path(name).expanduser()
    if path.exists() and ("/" in name or path.suffix or path.is_dir()):
        return _import(path.resolve(), path.resolve().stem, store)
    there = name not in catalog() and name in {one.name for one in store.artifacts()}
    artifact = store.get(name) if there else pull(name, store=store)
    if artifact.kind == "dataset":
        return _of_dataset(artifact, store)
    if artifact.kind != "corpus":
        raise BadInput(
            f"'{name}' is a {artifact.kind}, not a corpus.",
            remedy="Give a corpus from `langwright list`, a text file or a folder of them.",
        )
    return artifact


def _of_dataset(dataset: Artifact, store: Store) -> Artifact:
    for artifact in store.artifacts("corpus"):
        if artifact.parents == [dataset.digest] and not artifact.settings and not artifact.dropped:
            return artifact
    return _import(store.path(dataset), dataset.name, store, dataset)


def _import(path: Path, stem: str, store: Store, dataset: Artifact | None = None) -> Artifact:
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-.") or "corpus"
    parents, licence = ([dataset], dataset.licence) if dataset else ([], None)
    with (
        store.writing(f"corpus-{stem[:80]}", "corpus", parents=parents, licence=licence) as draft,
        (draft.folder / "documents.jsonl").open("w", encoding="utf-8") as file,
    ):
        for document in read_documents(path):
            fields = {
                "text": document.text,
                "title": document.title,
                "source": document.source,
                "licence": document.licence or licence,
            }
            kept = {key: value for key, value in fields.items() if value is not None}
            file.write(json.dumps(kept, ensure_ascii=False) + "\n")
    return draft.artifact


def load_split(corpus: Artifact, validation_fraction: float, store: Store) -> tuple[Side, Side]:
    """Training and validation documents of a corpus, normalised (see `split`)."""
    documents = (
        replace(document, text=normalise(document.text))
        for document in read_documents(store.path(corpus))
    )
    return split((d for d in documents if d.text), validation_fraction, store.home)
