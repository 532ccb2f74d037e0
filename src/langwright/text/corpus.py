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
    """The corpus artifact of a name in the store (pulled when it is a built-in one) or of a path.

    A path is read anew each time: the artifact's digest tells whether the files have changed.
    """
    path = Path(name).expanduser()
    if path.exists() and ("/" in name or path.suffix or path.is_dir()):
        return _import(path.resolve(), store)
    there = name not in catalog() and name in {one.name for one in store.artifacts()}
    artifact = store.get(name) if there else pull(name, store=store)
    if artifact.kind != "corpus":
        raise BadInput(
            f"'{name}' is a {artifact.kind}, not a corpus.",
            remedy="Give a corpus from `langwright list`, a text file or a folder of them.",
        )
    return artifact


def _import(path: Path, store: Store) -> Artifact:
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem).strip("-.") or "corpus"
    with (
        store.writing(f"corpus-{stem[:80]}", "corpus") as draft,
        (draft.folder / "documents.jsonl").open("w", encoding="utf-8") as file,
    ):
        for document in read_documents(path):
            fields = {
                "text": document.text,
                "title": document.title,
                "source": document.source,
                "licence": document.licence,
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
