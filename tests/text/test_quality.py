"""The classifier of quality: what an independent one finds, found again."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from langwright.errors import BadInput, BadSettings, NotFound
from langwright.store import Store
from langwright.text import Document, QualityClassifier, read_documents, train_quality
from langwright.text import quality as module
from langwright.text.clean import STEPS, clean
from langwright.text.cleaning import Dropped
from langwright.text.quality import BUCKETS, PENALTY, Matrix, Quality, features, fit, open_quality


def documents(texts: list[str]) -> list[Document]:
    return [Document(text, f"d{number}") for number, text in enumerate(texts)]


@pytest.fixture(scope="module")
def good(data: Path) -> list[Document]:
    """Paragraphs of Wikipedia."""
    lines = (data / "wikitext2" / "valid.txt").read_text("utf-8").split("\n")
    return documents([line.strip() for line in lines if len(line) > 300])


@pytest.fixture(scope="module")
def bad(data: Path) -> list[Document]:
    """Pages of the web as they come."""
    rows = (data / "llamafactory_demo" / "c4_demo.jsonl").read_text("utf-8").splitlines()
    return documents([json.loads(row)["text"] for row in rows])


@pytest.fixture(scope="module")
def classifier(good: list[Document], bad: list[Document]) -> QualityClassifier:
    return train_quality(good, bad)


def matrix(made: list[Document]) -> Matrix:
    rows = [features(document.text) for document in made]
    return Matrix(np.concatenate(rows), np.array([len(row) for row in rows]))


def test_the_fit_is_that_of_scikit_learn(good: list[Document], bad: list[Document]) -> None:
    """The same loss, penalty and weights of the classes have one least point."""
    linear_model = pytest.importorskip("sklearn.linear_model")
    sparse = pytest.importorskip("scipy.sparse")
    both = [*good[:160], *bad[:60]]
    labels = np.array([1] * 160 + [0] * 60)
    ours = matrix(both)
    weights, bias = fit(ours, labels)
    values = np.repeat(1 / np.sqrt(np.maximum(ours.lengths, 1)), ours.lengths)
    ends = np.concatenate([[0], np.cumsum(ours.lengths)])
    theirs = sparse.csr_matrix((values, ours.columns, ends), shape=(len(both), BUCKETS))
    model = linear_model.LogisticRegression(
        C=1 / (PENALTY * len(both)), class_weight="balanced", tol=1e-8, max_iter=5000
    ).fit(theirs, labels)
    np.testing.assert_allclose(
        module._sigmoid(ours.times(weights) + bias), model.predict_proba(theirs)[:, 1], atol=2e-3
    )
    assert np.abs(weights - model.coef_[0]).max() < 2e-3 * np.abs(weights).max()


def test_the_matrix_multiplies_as_a_dense_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BUCKETS", 7)
    rows = [[0, 3, 6], [], [1], [0, 1, 2, 5]]
    dense = np.zeros((4, 7))
    for number, row in enumerate(rows):
        dense[number, row] = len(row) ** -0.5 if row else 0
    sparse = Matrix(np.array([0, 3, 6, 1, 0, 1, 2, 5], np.int32), np.array([3, 0, 1, 4]))
    drawn = np.random.default_rng(0)
    weights, back = drawn.normal(size=7), drawn.normal(size=4)
    np.testing.assert_allclose(sparse.times(weights), dense @ weights, atol=1e-12)
    np.testing.assert_allclose(sparse.transposed_times(back), dense.T @ back, atol=1e-12)


def test_wikipedia_is_told_from_the_web_as_well_as_by_scikit_learn(
    good: list[Document], bad: list[Document], classifier: QualityClassifier
) -> None:
    """On the documents that are held out, with its own words, hashes and solver."""
    text = pytest.importorskip("sklearn.feature_extraction.text")
    linear_model = pytest.importorskip("sklearn.linear_model")
    metrics = pytest.importorskip("sklearn.metrics")
    both = [*good, *bad]
    labels = np.array([1] * len(good) + [0] * len(bad))
    held_out = np.array([module._is_held_out(document.text, 0) for document in both])
    words = text.HashingVectorizer(
        ngram_range=(1, 2), n_features=BUCKETS, alternate_sign=False, binary=True
    )
    rows = words.transform([document.text for document in both])
    model = linear_model.LogisticRegression(
        C=1 / (PENALTY * sum(~held_out)), class_weight="balanced", max_iter=1000
    ).fit(rows[~held_out], labels[~held_out])
    theirs = metrics.roc_auc_score(labels[held_out], model.predict_proba(rows[held_out])[:, 1])
    scores = [classifier.score(document.text) for document in both]
    ours = metrics.roc_auc_score(labels[held_out], np.array(scores)[held_out])

    measured = classifier.metrics
    assert measured["auc"] == pytest.approx(ours, abs=1e-6)
    assert ours > theirs - 0.005
    assert theirs > 0.99
    assert measured["auc_interval"][0] <= ours <= measured["auc_interval"][1]
    assert measured["accuracy_interval"][0] > 0.9
    assert measured["held_out_documents"] == sum(held_out)
    assert measured["train_documents"] == sum(~held_out)
    assert all(0 <= score <= 1 for score in scores)


def test_the_area_and_the_accuracy_are_scikit_learns() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    drawn = np.random.default_rng(0)
    good, bad = np.round(drawn.beta(4, 3, 70), 2), np.round(drawn.beta(3, 4, 50), 2)  # with ties
    labels, scores = np.array([1] * 70 + [0] * 50), np.concatenate([good, bad])
    auc, accuracy = module._auc_and_accuracy(good, bad)
    assert auc == pytest.approx(metrics.roc_auc_score(labels, scores))
    assert accuracy == pytest.approx(metrics.balanced_accuracy_score(labels, scores >= 0.5))


def test_noise_is_not_learnt(good: list[Document]) -> None:
    """Two halves of the same: the interval of the area holds a half."""
    found = train_quality(good[::2], good[1::2]).metrics
    assert found["auc_interval"][0] < 0.5 < found["auc_interval"][1]


def test_a_document_that_comes_twice_is_on_one_side() -> None:
    """Random words: nothing to learn but the documents themselves."""
    drawn = np.random.default_rng(0)
    texts = [" ".join(map(str, drawn.integers(1000, 9999, 40))) for _ in range(300)]
    good, bad = documents(texts[:150] * 3), documents(texts[150:] * 3)
    assert train_quality(good, bad).metrics["auc"] < 0.7


def test_the_same_seed_gives_the_same_classifier_and_another_one_another(
    good: list[Document], bad: list[Document], classifier: QualityClassifier
) -> None:
    again = train_quality(iter(good), iter(bad))
    assert np.array_equal(again.weights, classifier.weights)
    assert (again.bias, again.metrics) == (classifier.bias, classifier.metrics)
    other = train_quality(good, bad, seed=1)
    assert not np.array_equal(other.weights, classifier.weights)


def test_a_classifier_is_kept_in_the_store_and_cleans(
    tmp_path: Path,
    store: Store,
    good: list[Document],
    bad: list[Document],
    classifier: QualityClassifier,
) -> None:
    with store.writing("wiki", "corpus") as draft:
        (draft.folder / "documents.jsonl").write_bytes(good[0].to_line())
    artifact = classifier.save("good-english", parents=["wiki"], store=store)
    assert (artifact.kind, artifact.metrics) == ("classifier", classifier.metrics)
    assert artifact.parents == [store.get("wiki").digest]
    step, found = open_quality("good-english", store)
    assert found.digest == artifact.digest
    pile = [*good[:60], *bad[:60]]
    for document in pile:
        kept = not isinstance(step(document), Dropped)
        assert kept == (classifier.score(document.text) >= 0.5)
    assert pickle.loads(pickle.dumps(step)) == step

    path = tmp_path / "pile.jsonl"
    path.write_bytes(b"\n".join(document.to_line() for document in pile) + b"\n")
    for threshold in (0, 0.2, 0.9):
        name = f"good-english@{threshold}"
        result = clean(
            [str(path)], "tidy", steps=["quality"], quality=name, store=store, processes=1
        )
        kept_texts = [document.text for document in read_documents(store.path(store.get("tidy")))]
        assert kept_texts == [d.text for d in pile if classifier.score(d.text) >= threshold]
        assert artifact.digest in store.get("tidy").parents
    assert result["documents"] < 120
    assert result["funnel"][0]["rules"][0]["examples"][0]["detail"].endswith("< 0.9")


def test_a_classifier_of_other_features_is_refused(
    tmp_path: Path, store: Store, classifier: QualityClassifier
) -> None:
    folder = store.path(classifier.save("older", store=store))
    copied = tmp_path / "copy"
    shutil.copytree(folder, copied)
    settings = json.loads((copied / "classifier.json").read_text("utf-8"))
    (copied / "classifier.json").write_text(json.dumps(settings | {"buckets": 7}), "utf-8")
    assert Quality(folder, 0)(Document("Text.", "test")) == Document("Text.", "test")
    with pytest.raises(BadInput, match="counts other things"):
        Quality(copied, 0)(Document("Text.", "test"))


def test_by_default_all_steps_run_that_have_their_settings(
    tmp_path: Path, store: Store, bad: list[Document], classifier: QualityClassifier
) -> None:
    pytest.importorskip("ftfy")
    pytest.importorskip("py3langid")
    classifier.save("wiki-or-web", store=store)
    path = tmp_path / "pile.jsonl"
    path.write_bytes(b"\n".join(document.to_line() for document in bad[:40]) + b"\n")
    found = clean(
        [str(path)],
        "tidy",
        languages=["en"],
        quality="wiki-or-web@0.001",
        store=store,
        processes=1,
    )
    assert [step["name"] for step in found["funnel"]] == list(STEPS)


def test_mistakes_are_named(tmp_path: Path, store: Store, good: list[Document]) -> None:
    with store.writing("wiki", "corpus") as draft:
        (draft.folder / "documents.jsonl").write_bytes(good[0].to_line())
    with pytest.raises(BadInput, match="corpus, not a classifier"):
        open_quality("wiki", store)
    with pytest.raises(NotFound):
        open_quality("wikki", store)
    for threshold in ("1.5", "-1", "x", "nan"):
        with pytest.raises(BadSettings, match="no threshold"):
            open_quality(f"wiki@{threshold}", store)
    with pytest.raises(BadInput, match="too few bad"):
        train_quality(good, good[:5])
    with pytest.raises(BadInput, match="too few good"):
        train_quality([], good)
