"""Token ids on disk, mapped into memory rather than read."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from langwright.errors import BadInput, Damaged
from langwright.text.document import Document


def _paths(folder: Path | str, split_name: str) -> tuple[Path, Path, Path]:
    folder = Path(folder)
    return (
        folder / f"{split_name}.bin",
        folder / f"{split_name}.offsets.npy",
        folder / f"{split_name}.documents.jsonl",
    )


def write_shards(
    folder: Path | str,
    split_name: str,
    encoded: Iterable[tuple[Document, list[int]]],
    vocab_size: int,
    end_of_document: int,
) -> None:
    """Write documents and their token ids as they come, never holding more than one of them.

    - `<split_name>.bin`: the ids of each document followed by `end_of_document`, little-endian,
      uint16 where `vocab_size` is at most 65536, else uint32.
    - `<split_name>.offsets.npy`: int64 [documents + 1], in tokens: where each document begins, and
      the end.
    - `<split_name>.documents.jsonl`: a line for each document: source, title, licence, bytes (of
      `full_text` in UTF-8), digest, token_bytes (its share of the `.bin`).

    Raises `BadInput` for an id outside the vocabulary, or when there is no document.
    """
    tokens_path, offsets_path, documents_path = _paths(folder, split_name)
    tokens_path.parent.mkdir(parents=True, exist_ok=True)
    # Gone first and written last: without it nothing opens, so half a write is never read.
    offsets_path.unlink(missing_ok=True)
    dtype = np.dtype("<u2" if vocab_size <= 2**16 else "<u4")
    offsets = array("q", [0])
    with tokens_path.open("wb") as tokens, documents_path.open("w", encoding="utf-8") as rows:
        for document, ids in encoded:
            span = np.array([*ids, end_of_document], dtype=np.int64)
            outside = span[(span < 0) | (span >= vocab_size)]
            if len(outside):
                raise BadInput(
                    f"{document.source} has the token id {outside[0]}, outside the vocabulary of"
                    f" {vocab_size}.",
                    remedy="Encode the corpus with the tokenizer that the vocabulary belongs to.",
                )
            tokens.write(span.astype(dtype).tobytes())
            offsets.append(offsets[-1] + len(span))
            row = {
                "source": document.source,
                "title": document.title,
                "licence": document.licence,
                "bytes": len(document.full_text.encode()),
                "digest": document.digest,
                "token_bytes": len(span) * dtype.itemsize,
            }
            rows.write(json.dumps(row) + "\n")
    if len(offsets) == 1:
        raise BadInput(f"There is no document for '{split_name}'.", remedy="Add text.")
    np.save(offsets_path, np.array(offsets, dtype=np.int64))


class TokenShards:
    """What `write_shards` wrote, opened for reading.

    `tokens` is the whole stream, uint16 or uint32 [num_tokens], with the end-of-document token
    after each document; `offsets` int64 [num_documents + 1]; `document_bytes` are the documents'
    bytes of UTF-8, `num_bytes` their sum, the denominator of bits per byte.

    Raises `Damaged`, naming the file, where one is missing or they do not agree.
    """

    def __init__(self, folder: Path | str, split_name: str) -> None:
        tokens_path, offsets_path, documents_path = _paths(folder, split_name)
        try:
            offsets: npt.NDArray[Any] = np.load(offsets_path, allow_pickle=False)
        except (OSError, EOFError, ValueError) as error:
            raise _damaged(offsets_path, f"it cannot be read ({error})") from None
        if offsets.dtype != np.int64 or offsets.ndim != 1 or len(offsets) < 2:
            raise _damaged(offsets_path, "it holds no offsets")
        if offsets[0] != 0 or np.any(np.diff(offsets) < 1):
            raise _damaged(offsets_path, "the offsets do not rise from 0")
        self.offsets: npt.NDArray[np.int64] = offsets
        self.num_documents = len(offsets) - 1
        self.num_tokens = int(offsets[-1])

        self._documents_path = documents_path
        self._sources: list[str] = []
        self.document_bytes: list[int] = []
        token_bytes = 0
        try:
            with documents_path.open(encoding="utf-8") as rows:
                for line in rows:
                    row = json.loads(line)
                    self._sources.append(row["source"])
                    self.document_bytes.append(row["bytes"])
                    token_bytes += row["token_bytes"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise _damaged(documents_path, f"it cannot be read ({error})") from None
        self.num_bytes = sum(self.document_bytes)
        if len(self._sources) != self.num_documents:
            raise _damaged(
                documents_path,
                f"it lists {len(self._sources)} documents and the offsets {self.num_documents}",
            )

        width, rest = divmod(token_bytes, self.num_tokens)
        if width not in (2, 4) or rest:
            raise _damaged(documents_path, f"it and {offsets_path.name} do not agree")
        size = tokens_path.stat().st_size if tokens_path.is_file() else 0
        if size != token_bytes:
            raise _damaged(tokens_path, f"it has {size} bytes instead of {token_bytes}")
        self.tokens: np.memmap[Any, np.dtype[Any]] = np.memmap(
            tokens_path, dtype=f"<u{width}", mode="r"
        )

    def document(self, index: int) -> npt.NDArray[np.int64]:
        """The token ids of a document, without the end-of-document token, int64 [tokens]."""
        self._check(index)
        start, end = self.offsets[index], self.offsets[index + 1]
        return np.asarray(self.tokens[start : end - 1], dtype=np.int64)

    def records(self) -> Iterator[dict[str, Any]]:
        """What is written down of each document: source, title, digest and so on."""
        with self._documents_path.open(encoding="utf-8") as rows:
            yield from map(json.loads, rows)

    def source(self, index: int) -> str:
        """Where a document comes from."""
        self._check(index)
        return self._sources[index]

    def _check(self, index: int) -> None:
        if not 0 <= index < self.num_documents:
            raise IndexError(f"document {index} of {self.num_documents}")


def _damaged(path: Path, how: str) -> Damaged:
    return Damaged(
        f"{path} is damaged or was never finished: {how}.", remedy="Prepare the corpus again."
    )
