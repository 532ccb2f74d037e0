from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from langwright.errors import BadInput, Damaged
from langwright.text import Document, TokenShards, write_shards

SIZES = st.sampled_from([300, 65_536, 65_537, 200_000])


def write(folder: Path, vocab_size: int = 100_000) -> None:
    encoded = [(Document("Öl", "a", "T", "MIT"), [5, 6]), (Document("b", "b"), [7])]
    write_shards(folder, "train", encoded, vocab_size, 0)


@given(st.data(), SIZES)
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, vocab_size: int
) -> None:
    ids = st.integers(0, vocab_size - 1)
    documents = data.draw(st.lists(st.tuples(st.text(), st.lists(ids)), min_size=1))
    end = data.draw(ids)
    folder = tmp_path_factory.mktemp("shards")
    encoded = [(Document(text, f"s{i}"), row) for i, (text, row) in enumerate(documents)]
    write_shards(folder, "train", encoded, vocab_size, end)
    shards = TokenShards(folder, "train")
    assert shards.tokens.dtype == (np.uint16 if vocab_size <= 65_536 else np.uint32)
    assert shards.tokens.tolist() == [token for _, row in documents for token in [*row, end]]
    assert shards.num_tokens == len(shards.tokens)
    assert shards.num_documents == len(documents)
    assert shards.num_bytes == sum(len(text.encode()) for text, _ in documents)
    for i, (_, row) in enumerate(documents):
        assert shards.document(i).tolist() == row
        assert shards.source(i) == f"s{i}"


def rewrite_first_row(folder: Path, **changes: int) -> None:
    file = folder / "train.documents.jsonl"
    first, rest = file.read_text().split("\n", 1)
    file.write_text(json.dumps(json.loads(first) | changes) + "\n" + rest)


def test_the_files_are_as_promised(tmp_path: Path) -> None:
    write(tmp_path)
    offsets = np.load(tmp_path / "train.offsets.npy")
    assert offsets.dtype == np.int64
    assert offsets.tolist() == [0, 3, 5]
    rows = (tmp_path / "train.documents.jsonl").read_text().splitlines()
    assert json.loads(rows[0]) == {
        "source": "a",
        "title": "T",
        "licence": "MIT",
        "bytes": len("T\n\nÖl".encode()),
        "digest": Document("Öl", "x", "T").digest,
        "token_bytes": 12,
    }
    assert np.fromfile(tmp_path / "train.bin", "<u4").tolist() == [5, 6, 0, 7, 0]


def test_writing_streams(tmp_path: Path) -> None:
    def encoded() -> Iterator[tuple[Document, list[int]]]:
        for _ in range(500):
            yield Document("x", "a"), [3] * 10_000

    tracemalloc.start()
    write_shards(tmp_path, "train", encoded(), 300, 0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < (tmp_path / "train.bin").stat().st_size / 10


@pytest.mark.parametrize("index", [-1, 2])
def test_a_document_that_is_not_there(tmp_path: Path, index: int) -> None:
    write(tmp_path)
    with pytest.raises(IndexError):
        TokenShards(tmp_path, "train").document(index)
    with pytest.raises(IndexError):
        TokenShards(tmp_path, "train").source(index)


@pytest.mark.parametrize("token", [-1, 300, 2**16])
def test_an_id_outside_the_vocabulary_is_an_error(tmp_path: Path, token: int) -> None:
    with pytest.raises(BadInput, match=f"token id {token}, outside the vocabulary of 300"):
        write_shards(tmp_path, "train", [(Document("a", "a"), [1, token])], 300, 0)
    with pytest.raises(BadInput, match=f"token id {token}, outside"):
        write_shards(tmp_path, "train", [(Document("a", "a"), [1])], 300, token)


def test_no_document_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no document for 'train'"):
        write_shards(tmp_path, "train", [], 300, 0)


@pytest.mark.parametrize("name", ["train.bin", "train.offsets.npy", "train.documents.jsonl"])
@pytest.mark.parametrize("vocab_size", [300, 100_000])
def test_a_file_cut_at_any_byte_or_lengthened_or_lost_is_named(
    tmp_path: Path, name: str, vocab_size: int
) -> None:
    write(tmp_path, vocab_size)
    file = tmp_path / name
    whole = file.read_bytes()
    # A last line without its line end still is the whole line.
    lengths = range(len(whole) - (1 if name.endswith("jsonl") else 0))
    for length in lengths:
        file.write_bytes(whole[:length])
        with pytest.raises(Damaged, match=r"train\.") as error:
            TokenShards(tmp_path, "train")
        assert name in str(error.value)
    if name != "train.offsets.npy":
        file.write_bytes(whole * 2)
        with pytest.raises(Damaged, match=name):
            TokenShards(tmp_path, "train")
    file.unlink()
    with pytest.raises(Damaged, match=name):
        TokenShards(tmp_path, "train")


@pytest.mark.parametrize(
    "offsets",
    [
        np.array([1, 3, 5]),
        np.array([0, 5, 5]),
        np.array([0, 6, 5]),
        np.array([0]),
        np.array([[0, 3, 5], [0, 3, 5]]),
        np.array([0.0, 3.0, 5.0]),
    ],
)
def test_wrong_offsets_are_named(tmp_path: Path, offsets: np.ndarray) -> None:
    write(tmp_path)
    np.save(tmp_path / "train.offsets.npy", offsets)
    with pytest.raises(Damaged, match=r"train\.offsets\.npy"):
        TokenShards(tmp_path, "train")


@pytest.mark.parametrize("offsets", [[0, 3, 6], [0, 3], [0, 2, 4, 5]])
def test_offsets_of_another_corpus_are_an_error(tmp_path: Path, offsets: list[int]) -> None:
    write(tmp_path)
    np.save(tmp_path / "train.offsets.npy", np.array(offsets))
    with pytest.raises(Damaged, match=r"train\.offsets|offsets"):
        TokenShards(tmp_path, "train")


@pytest.mark.parametrize("token_bytes", [15, 16, 21])
def test_a_width_that_no_token_has_is_an_error(tmp_path: Path, token_bytes: int) -> None:
    write(tmp_path)
    rewrite_first_row(tmp_path, token_bytes=token_bytes - 8)
    with pytest.raises(Damaged, match=r"train\.documents\.jsonl .*do not agree"):
        TokenShards(tmp_path, "train")


@pytest.mark.parametrize("row", ["{}", "[]", "3", '{"source": "a", "bytes": "1"}'])
def test_a_row_that_is_not_one_of_ours_is_an_error(tmp_path: Path, row: str) -> None:
    write(tmp_path)
    (tmp_path / "train.documents.jsonl").write_text(row)
    with pytest.raises(Damaged, match=r"train\.documents\.jsonl .*cannot be read"):
        TokenShards(tmp_path, "train")


def test_half_a_write_over_an_old_one_does_not_open(tmp_path: Path) -> None:
    def stops() -> Iterator[tuple[Document, list[int]]]:
        yield Document("Öl", "a", "T", "MIT"), [5, 6]
        yield Document("c", "c"), [8]
        raise KeyboardInterrupt

    write(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        write_shards(tmp_path, "train", stops(), 100_000, 0)
    with pytest.raises(Damaged, match="never finished"):
        TokenShards(tmp_path, "train")
