"""A small trainable classifier of quality, and the step of cleaning that drops what it thinks bad.

Logistic regression over hashed words and pairs of words, the way of FineWeb-Edu's and DCLM's
filters with the smallest model that serves: what "good" means is what the two corpora say.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from langwright.errors import BadInput, BadSettings
from langwright.store import Artifact, Store
from langwright.text.cleaning.step import Dropped
from langwright.text.document import Document
from langwright.text.grams import gram_hashes, simple_words

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int32]

BUCKETS = 2**18
PENALTY = 1e-5
"""Of half the sum of the squared weights, beside the mean loss."""
TOLERANCE = 1e-4
"""Of the norm of the gradient at the end, beside that at the start."""
HELD_OUT = 0.2
MIN_DOCUMENTS = 20
RESAMPLES = 1000
_WEIGHTS_FILE, _SETTINGS_FILE = "classifier.safetensors", "classifier.json"
_SETTINGS = {"type": "quality", "features": "words and pairs of words", "buckets": BUCKETS}


@dataclass(frozen=True, eq=False)
class QualityClassifier:
    """`weights` [BUCKETS] and a `bias`; `metrics` say how good it is on what it has not seen."""

    weights: npt.NDArray[np.float32]
    bias: float
    metrics: dict[str, Any] = field(default_factory=dict)
    seed: int = 0

    def score(self, text: str) -> float:
        """How likely `text` is one of the good ones, if they were half of all."""
        row = features(text)
        total = self.weights[row].sum(dtype=np.float64) / np.sqrt(max(len(row), 1))
        return float(_sigmoid(total + self.bias))

    def save(
        self, name: str, *, parents: Sequence[Artifact | str] = (), store: Store | None = None
    ) -> Artifact:
        """The classifier as an artifact; `parents` are the corpora that it learned from."""
        from safetensors.numpy import save

        store = store or Store()
        settings = {**_SETTINGS, "seed": self.seed}
        with store.writing(
            name, "classifier", parents=parents, settings=settings, metrics=self.metrics
        ) as draft:
            tensors: dict[str, npt.NDArray[Any]] = {
                "weights": self.weights,
                "bias": np.array([self.bias], dtype=np.float64),
            }
            (draft.folder / _WEIGHTS_FILE).write_bytes(save(tensors))
            text = json.dumps(settings, indent=1)
            (draft.folder / _SETTINGS_FILE).write_text(text, encoding="utf-8")
        return draft.artifact


@dataclass(frozen=True)
class Quality:
    """Drops what the classifier in `folder` gives less than `threshold`."""

    folder: Path
    threshold: float = 0.5

    name: str = "quality"
    source: str = "Logistic regression over hashed words and pairs of words; trained by its user"

    def __call__(self, document: Document) -> Document | Dropped:
        score = _load(self.folder).score(document.text)
        if score >= self.threshold:
            return document
        return Dropped("quality", f"{score:.3g} < {self.threshold:g}")


def open_quality(name: str, store: Store) -> tuple[Quality, Artifact]:
    """The step for `NAME` or `NAME@threshold`, and the artifact of the classifier.

    Raises `NotFound`, `BadInput` for what is no classifier, `BadSettings` for a bad threshold.
    """
    name, _, given = name.partition("@")
    try:
        threshold = float(given or 0.5)
    except ValueError:
        threshold = -1
    if not 0 <= threshold <= 1:
        raise BadSettings(
            f"'{given}' is no threshold.", remedy="Give a number from 0 to 1: NAME@0.5."
        )
    artifact = store.get(name)
    if artifact.kind != "classifier":
        raise BadInput(
            f"'{name}' is a {artifact.kind}, not a classifier.",
            remedy="`langwright list` shows what there is; train_quality makes one.",
        )
    return Quality(store.path(artifact), threshold), artifact


@lru_cache(maxsize=4)
def _load(folder: Path) -> QualityClassifier:
    from safetensors.numpy import load_file

    settings = json.loads((folder / _SETTINGS_FILE).read_text("utf-8"))
    if {key: settings.get(key) for key in _SETTINGS} != _SETTINGS:
        raise BadInput(
            f"The classifier in {folder} counts other things than this version does.",
            remedy="Train it again with train_quality.",
        )
    tensors = load_file(folder / _WEIGHTS_FILE)
    return QualityClassifier(tensors["weights"], float(tensors["bias"][0]))


def features(text: str) -> Indices:
    """The buckets of the words and pairs of words that `text` has, rising, each once."""
    words = simple_words(text)
    hashes = np.concatenate([gram_hashes(words, 1), gram_hashes(words, 2)])
    return np.unique((hashes % np.uint64(BUCKETS)).astype(np.int32))


def train_quality(
    good: Iterable[Document], bad: Iterable[Document], *, seed: int = 0
) -> QualityClassifier:
    """Learn to tell `good` documents from `bad` ones.

    Both count the same, however many there are of each. A fifth of the documents, drawn by `seed`
    and their text, is held out: `metrics` has the area under the ROC curve (`auc`) and the
    balanced accuracy at 0.5 on these, each with a 95% interval (bootstrap over documents). The
    same documents and seed give the same classifier. Memory: 12 bytes for each different word or
    pair of words of a document.

    Raises `BadInput` for fewer than 20 documents of a kind to learn from, or none to hold out.
    """
    train, held_out = _Rows(), _Rows()
    for label, documents in ((1, good), (0, bad)):
        for document in documents:
            (held_out if _is_held_out(document.text, seed) else train).add(document.text, label)
    for rows, enough in ((train, MIN_DOCUMENTS), (held_out, 1)):
        for label, word in ((1, "good"), (0, "bad")):
            if rows.labels.count(label) < enough:
                raise BadInput(
                    f"There are too few {word} documents to learn from.",
                    remedy=f"Give {2 * MIN_DOCUMENTS} or more; thousands are better.",
                )
    weights, bias = fit(train.matrix(), np.array(train.labels))
    scores = _sigmoid(held_out.matrix().times(weights) + bias)
    metrics = {
        **_measure(np.array(held_out.labels), scores, seed),
        "train_documents": len(train.labels),
        "held_out_documents": len(held_out.labels),
    }
    return QualityClassifier(weights.astype(np.float32), bias, metrics, seed)


@dataclass
class _Rows:
    """What documents have, while they are read."""

    buckets: list[Indices] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)

    def add(self, text: str, label: int) -> None:
        self.buckets.append(features(text))
        self.labels.append(label)

    def matrix(self) -> Matrix:
        return Matrix(np.concatenate(self.buckets), np.array([len(row) for row in self.buckets]))


class Matrix:
    """Documents by buckets, sparse: each row is one over the root of its length where it is not
    zero, so that its own length is one. `columns` are those places, row after row."""

    def __init__(self, columns: Indices, lengths: npt.NDArray[np.int64]) -> None:
        self.columns, self.lengths = columns, lengths
        self._ends = np.cumsum(lengths)
        self._scale = 1 / np.sqrt(np.maximum(lengths, 1))

    def times(self, weights: Floats) -> Floats:
        sums = np.concatenate([[0.0], np.cumsum(weights[self.columns])])
        result: Floats = (sums[self._ends] - sums[self._ends - self.lengths]) * self._scale
        return result

    def transposed_times(self, rows: Floats) -> Floats:
        values = np.repeat(rows * self._scale, self.lengths)
        result: Floats = np.bincount(self.columns, values, minlength=BUCKETS).astype(np.float64)
        return result


def fit(matrix: Matrix, labels: npt.NDArray[np.int64]) -> tuple[Floats, float]:
    """The weights [BUCKETS] and the bias of the least penalised loss, both labels weighing the
    same, by Newton's method with conjugate gradients (Lin, Weng & Keerthi 2008)."""
    share = np.where(labels == 1, 0.5 / np.sum(labels == 1), 0.5 / np.sum(labels == 0))
    sign = 2.0 * labels - 1

    def loss(found: Floats) -> float:
        margin = sign * (matrix.times(found[:-1]) + found[-1])
        penalty = PENALTY / 2 * (found[:-1] @ found[:-1])
        return float(share @ np.logaddexp(0, -margin) + penalty)

    def back(rows: Floats, found: Floats) -> Floats:
        return np.append(matrix.transposed_times(rows) + PENALTY * found[:-1], rows.sum())

    found = np.zeros(BUCKETS + 1)
    first = 0.0
    while True:
        likely = _sigmoid(matrix.times(found[:-1]) + found[-1])
        gradient = back(share * (likely - labels), found)
        size = float(np.linalg.norm(gradient))
        first = first or size
        if size <= TOLERANCE * first:
            return found[:-1], float(found[-1])
        curve = share * likely * (1 - likely)

        def curved(step: Floats, curve: Floats = curve) -> Floats:
            return back(curve * (matrix.times(step[:-1]) + step[-1]), step)

        step = _conjugate_gradients(curved, -gradient, 0.1 * size)
        before, slope, length = loss(found), float(gradient @ step), 1.0
        while loss(found + length * step) > before + 1e-4 * length * slope:
            length /= 2
            if length < 1e-9:  # no better within the precision of numbers
                return found[:-1], float(found[-1])
        found = found + length * step


def _conjugate_gradients(
    product: Callable[[Floats], Floats], target: Floats, enough: float
) -> Floats:
    """A solution of `product(x) = target` (positive definite), but for `enough`."""
    found = np.zeros_like(target)
    rest, direction = target, target
    square = float(rest @ rest)
    while square > enough**2:
        curved = product(direction)
        length = square / float(direction @ curved)
        found = found + length * direction
        rest = rest - length * curved
        square, last = float(rest @ rest), square
        direction = rest + square / last * direction
    return found


def _sigmoid(values: Floats) -> Floats:
    result: Floats = 0.5 * (1 + np.tanh(values / 2))  # overflows nowhere
    return result


def _is_held_out(text: str, seed: int) -> bool:
    """Equal texts are on the same side, so that none is seen before it is asked."""
    digest = hashlib.sha256(f"{seed}:{' '.join(text.split())}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < HELD_OUT * 2**64


def _measure(labels: npt.NDArray[np.int64], scores: Floats, seed: int) -> dict[str, Any]:
    good, bad = scores[labels == 1], scores[labels == 0]
    draws = np.random.default_rng(seed)
    resampled = np.array(
        [
            _auc_and_accuracy(draws.choice(good, len(good)), draws.choice(bad, len(bad)))
            for _ in range(RESAMPLES)
        ]
    )
    low, high = np.percentile(resampled, [2.5, 97.5], axis=0)
    auc, accuracy = _auc_and_accuracy(good, bad)
    return {
        "auc": auc,
        "auc_interval": [float(low[0]), float(high[0])],
        "accuracy": accuracy,
        "accuracy_interval": [float(low[1]), float(high[1])],
    }


def _auc_and_accuracy(good: Floats, bad: Floats) -> tuple[float, float]:
    """How often a good one scores above a bad one (a tie is half), and the mean of the shares of
    good ones at 0.5 or above and of bad ones below."""
    bad = np.sort(bad)
    below = np.searchsorted(bad, good, "left") + np.searchsorted(bad, good, "right")
    auc = float(below.sum()) / (2 * len(good) * len(bad))
    return auc, float(np.mean(good >= 0.5) + np.mean(bad < 0.5)) / 2
