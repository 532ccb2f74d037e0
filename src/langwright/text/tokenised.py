"""From a corpus to a tokenizer and to token shards, each an artifact with its parents."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from langwright.errors import BadInput
from langwright.store import Artifact, Store
from langwright.text.corpus import load_split
from langwright.text.document import Document
from langwright.text.shards import write_shards
from langwright.tokens import (
    END_OF_TEXT,
    SPECIAL_TOKENS,
    JsonTokenizer,
    RankTokenizer,
    Tokenizer,
    read_tokenizer,
    train_bpe,
)

ENCODE_TOGETHER = 1024


def build_tokenizer(
    name: str,
    corpora: Sequence[Artifact],
    vocab_size: int,
    validation_fraction: float,
    store: Store,
) -> Artifact:
    """Train byte-level BPE on the training sides of `corpora`; made before, it is used again."""
    settings = {"vocab_size": vocab_size, "validation_fraction": validation_fraction}

    def write(folder: Path) -> dict[str, Any]:
        sides = (load_split(corpus, validation_fraction, store)[0] for corpus in corpora)
        texts = (document.full_text for train in sides for document in train)
        tokenizer = train_bpe(texts, vocab_size)
        tokenizer.save(folder / "tokenizer.json")
        return {"vocab_size": tokenizer.vocab_size}

    return _made(store, name, "tokenizer", [*corpora], settings, write)


def adopt_tokenizer(name: str, given: Artifact, tokenizer: Tokenizer, store: Store) -> Artifact:
    """The tokenizer of the artifact `given` with the special tokens that training needs: itself
    where it has them, else another with them behind its own; made before, it is used again.

    Raises `BadInput` for one that loses text, whose loss a byte would say nothing.
    """
    if not tokenizer.lossless:
        raise BadInput(
            f"The tokenizer of {given.name} does not give every text back.",
            remedy="Choose one of bytes, or with byte fallback; or train one: leave out tokenizer.",
        )
    vocabulary = tokenizer.as_json if isinstance(tokenizer, RankTokenizer) else tokenizer
    assert isinstance(vocabulary, JsonTokenizer)
    adopted = vocabulary.with_special(*SPECIAL_TOKENS)
    if adopted is tokenizer and (store.path(given) / "tokenizer.json").exists():
        return given

    def write(folder: Path) -> dict[str, Any]:
        adopted.save(folder / "tokenizer.json")
        return {"vocab_size": adopted.vocab_size}

    return _made(store, name, "tokenizer", [given], {}, write)


def build_shards(
    name: str, corpus: Artifact, tokenizer: Artifact, validation_fraction: float, store: Store
) -> Artifact:
    """Tokenise both sides of `corpus`; made before, the shards are used again."""

    def write(folder: Path) -> dict[str, Any]:
        encoder = read_tokenizer(store.path(tokenizer) / "tokenizer.json")
        end = encoder.special[END_OF_TEXT]
        metrics = {}
        sides = load_split(corpus, validation_fraction, store)
        for side, documents in zip(("train", "validation"), sides, strict=True):
            write_shards(folder, side, _encoded(documents, encoder), encoder.vocab_size, end)
            metrics[f"{side}_documents"] = len(documents)
            metrics[f"{side}_bytes"] = sum(len(d.full_text.encode()) for d in documents)
        return metrics

    settings = {"validation_fraction": validation_fraction}
    return _made(store, name, "tokens", [corpus, tokenizer], settings, write)


def _encoded(
    documents: Sequence[Document], tokenizer: Tokenizer
) -> Iterator[tuple[Document, list[int]]]:
    for start in range(0, len(documents), ENCODE_TOGETHER):
        group = documents[start : start + ENCODE_TOGETHER]
        rows = tokenizer.encode_batch([document.full_text for document in group])
        yield from zip(group, rows, strict=True)


def _made(
    store: Store,
    name: str,
    kind: str,
    parents: list[Artifact],
    settings: dict[str, Any],
    write: Callable[[Path], dict[str, Any]],
) -> Artifact:
    digests = [parent.digest for parent in parents]
    for artifact in store.artifacts(kind):
        same = artifact.parents == digests and artifact.settings == settings
        if same and artifact.name == name and not artifact.dropped:
            return artifact
    licence = parents[0].licence
    with store.writing(name, kind, parents=digests, settings=settings, licence=licence) as draft:
        draft.metrics |= write(draft.folder)
    return draft.artifact
