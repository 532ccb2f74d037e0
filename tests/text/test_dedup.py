"""Near duplicates are found at the rate that the formula gives, exact ones always."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from langwright.text import Document
from langwright.text.dedup import Deduplicator, ExactDedup, MinHashDedup, shingles


def _drops(deduplicator: Deduplicator, texts: list[str], scratch: Path) -> list[tuple[int, int]]:
    signatures = (deduplicator.signature(Document(text, "x")) for text in texts)
    return list(deduplicator.drops(signatures, scratch))


def _texts(data: Path) -> list[str]:
    rows = (data / "llamafactory_demo" / "c4_demo.jsonl").read_text("utf-8").splitlines()
    return [json.loads(row)["text"] for row in rows]


def test_exact_duplicates_name_the_first(tmp_path: Path) -> None:
    texts = ["a b", "c", "a  b\n", "d", "c", "c"]
    assert _drops(ExactDedup(), texts, tmp_path) == [(2, 0), (4, 1), (5, 1)]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("similarity", "published"),
    [(0.5, 0.0533), (0.7, 0.564), (0.75, 0.772), (0.8, 0.924), (0.85, 0.988), (0.9, 0.9996)],
)
def test_pairs_of_known_similarity_are_found_at_the_published_rate(
    similarity: float, published: float
) -> None:
    """P = 1 - (1 - s^8)^14, here on sets of shingles whose Jaccard similarity is s exactly."""
    pairs, size = 1000, 140
    shared = round(2 * size * similarity / (1 + similarity))
    exact = shared / (2 * size - shared)
    expected = 1 - (1 - exact**8) ** 14
    assert expected == pytest.approx(published, abs=0.02)
    random = np.random.default_rng(int(similarity * 100))
    minhash = MinHashDedup()
    found = 0
    estimates = []
    for _ in range(pairs):
        drawn = random.integers(0, 2**63, 2 * size - shared).astype(np.uint64)
        one = minhash.minima(drawn[:size])
        other = minhash.minima(np.concatenate([drawn[:shared], drawn[size:]]))
        assert one is not None
        assert other is not None
        equal = (one == other).reshape(minhash.bands, minhash.rows)
        found += bool(equal.all(axis=1).any())
        estimates.append(equal.mean())
    deviation = math.sqrt(expected * (1 - expected) / pairs)
    assert found / pairs == pytest.approx(expected, abs=3 * deviation + 1e-3)
    spread = math.sqrt(exact * (1 - exact) / 112 / pairs)
    assert np.mean(estimates) == pytest.approx(exact, abs=4 * spread)


def test_the_estimate_is_as_near_as_datasketchs(data: Path) -> None:
    datasketch = pytest.importorskip("datasketch", reason="datasketch is not installed")
    texts = _texts(data)
    for text in texts[:20]:
        words = text.split()
        changed = " ".join([*words[: len(words) // 2], "and now for other things", *words[-40:]])
        one, other = shingles(text, 5), shingles(changed, 5)
        true = len(np.intersect1d(one, other)) / len(np.union1d(one, other))
        ours = np.mean(MinHashDedup().minima(one) == MinHashDedup().minima(other))
        sketches = []
        for grams in (one, other):
            sketch = datasketch.MinHash(num_perm=112)
            sketch.update_batch([gram.tobytes() for gram in grams])
            sketches.append(sketch)
        allowed = 4 * math.sqrt(max(true * (1 - true), 0.01) / 112)
        assert abs(ours - true) <= allowed
        assert abs(sketches[0].jaccard(sketches[1]) - true) <= allowed


def test_planted_near_duplicates_are_found_and_nothing_else(tmp_path: Path, data: Path) -> None:
    texts = [text for text in _texts(data) if len(text.split()) > 200][:60]
    assert _drops(MinHashDedup(), texts, tmp_path) == []
    planted = [f"{text.upper()} — and one more sentence stands here." for text in texts[:10]]
    found = _drops(MinHashDedup(), texts + planted, tmp_path)
    assert found == [(len(texts) + index, index) for index in range(10)]


def test_likeness_is_passed_on_and_the_first_stays(tmp_path: Path, data: Path) -> None:
    """A chain in which each link changes a twelfth of the words: all of it is one cluster."""
    words = max(_texts(data), key=len).split()[:600]
    chain = [" ".join(words[start : start + 400]) for start in range(0, 121, 12)]
    found = _drops(MinHashDedup(), chain, tmp_path)
    assert found == [(index, 0) for index in range(1, len(chain))]


def test_texts_shorter_than_a_shingle_and_without_words(tmp_path: Path) -> None:
    texts = ["Hello, world", "hello world!", "hello there", "!!!", "???", ""]
    assert _drops(MinHashDedup(), texts, tmp_path) == [(1, 0)]
