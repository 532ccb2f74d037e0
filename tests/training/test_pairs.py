"""The 2017 Transformer learns, through the loop of all stages."""

from __future__ import annotations

import json
import math
import os
import random
import signal
import string
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from langwright.errors import BadInput, BadSettings, Damaged, NotFound, Unsupported
from langwright.model import weights_sha256
from langwright.model.pairs import NUM_MARKS, load_pairs_model
from langwright.model.transformer2017 import Transformer2017
from langwright.store import Store
from langwright.training import pairs
from langwright.training.stages.pairs import gather_pairs, nearest

SMALL: dict[str, Any] = {
    "hidden_size": 32, "intermediate_size": 64, "num_layers": 1, "num_heads": 2,
    "context_length": 14, "tokens_per_step": 256, "micro_batch_tokens": 128, "steps": 10,
    "learning_rate": 3e-3, "embedding_learning_rate": 3e-3, "warmup_steps": 4,
    "eval_every": 5, "checkpoint_every": 5, "precision": "float32",
}  # fmt: skip
# Without dropout and smoothing, whose noise a small model does not get over; the rate ends at zero.
REVERSAL: dict[str, Any] = SMALL | {
    "hidden_size": 64, "intermediate_size": 256, "num_layers": 2, "num_heads": 4,
    "tokens_per_step": 1500, "micro_batch_tokens": 4096, "steps": 1200, "learning_rate": 4e-3,
    "embedding_learning_rate": 4e-3, "warmup_steps": 100, "schedule": "wsd",
    "decay_fraction": 0.8, "final_learning_rate_fraction": 0.0, "dropout": 0.0,
    "label_smoothing": 0.0, "eval_every": 600, "checkpoint_every": 600,
    "validation_fraction": 0.025,
}  # fmt: skip

pytestmark = pytest.mark.usefixtures("one_thread")


def write_reversals(
    path: Path, count: int, longest: int, letters: str = string.ascii_lowercase, seed: int = 0
) -> str:
    """Different random strings, each with its reversal."""
    numbers = random.Random(seed)
    words: dict[str, None] = {}
    while len(words) < count:
        words["".join(numbers.choices(letters, k=numbers.randint(1, longest)))] = None
    lines = (json.dumps({"source": word, "target": word[::-1]}) for word in words)
    path.write_text("\n".join(lines))
    return str(path)


@pytest.fixture
def data(tmp_path: Path) -> str:
    return write_reversals(tmp_path / "reversals.jsonl", 400, 8)


@pytest.mark.slow
def test_short_strings_of_few_letters_are_reversed_without_error(
    store: Store, tmp_path: Path
) -> None:
    letters = "abcdefgh"
    data = write_reversals(tmp_path / "reversals.jsonl", 4000, 6, letters)
    given = REVERSAL | {"num_layers": 1, "steps": 700, "tokens_per_step": 800}
    result = pairs(name="run", store=store, data=data, **given)
    assert result["metrics"]["val_exact_match"] == 1.0
    assert result["metrics"]["val_symbol_error"] == 0.0
    model = load_pairs_model(store.path(store.get("run")))
    seen = Path(data).read_text()
    numbers = random.Random(99)
    words = ("".join(numbers.choices(letters, k=6)) for _ in range(200))
    new = [word for word in words if f'"{word}"' not in seen]
    for beams in (1, 4):
        written = model.write(new, beams=beams)
        assert ["".join(one) for one in written] == [word[::-1] for word in new]


def test_attention_is_the_share_that_each_written_symbol_takes_of_the_source(
    store: Store, data: str
) -> None:
    pairs(name="run", store=store, data=data, **SMALL)
    looks = load_pairs_model(store.path(store.get("run"))).attention("abcdef", "fed")
    assert looks.shape == (4, 6)  # the end is the fourth
    assert torch.allclose(looks.sum(-1), torch.ones(4))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_strings_of_up_to_twelve_letters_are_reversed_without_error(
    store: Store, tmp_path: Path, seed: int
) -> None:
    data = write_reversals(tmp_path / "reversals.jsonl", 40_000, 12, seed=seed)
    started = time.perf_counter()
    result = pairs(name="run", store=store, data=data, seed=seed, **REVERSAL)
    print(f"seed {seed}: {time.perf_counter() - started:.0f} s, {result['metrics']}")
    assert result["metrics"]["val_exact_match"] == 1.0


def test_killed_and_continued_ends_with_the_same_bits(store: Store, home: Path, data: str) -> None:
    """With dropout, whose masks come back as well."""
    given = SMALL | {"data": data, "steps": 60, "eval_every": 60}
    whole = pairs(name="whole", store=store, **given)
    program = "import json, sys; from langwright.training import pairs; "
    program += "pairs(name='broken', **json.loads(sys.argv[1]))"
    metrics = store.run("broken").metrics_path
    process = subprocess.Popen(
        [sys.executable, "-c", program, json.dumps(given)],
        env={**os.environ, "LANGWRIGHT_HOME": str(home)},
        stderr=subprocess.DEVNULL,
    )
    while process.poll() is None:  # until step 13 is written; its file is the only clock here
        if metrics.exists() and '"step": 13,' in metrics.read_text():
            break
        os.sched_yield()
    process.kill()
    assert process.wait() == -signal.SIGKILL
    torch.manual_seed(12345)  # the masks are not those of this process's own state
    done = pairs(name="broken", store=store, **given)
    assert 10 <= done["resumed_from_step"] < 60
    assert done["weights_sha256"] == whole["weights_sha256"]
    losses = [
        [line["loss"] for line in store.run(name).read_metrics() if "loss" in line]
        for name in ("whole", "broken")
    ]
    assert losses[0] == losses[1]
    without = pairs(name="without", store=store, **given | {"dropout": 0.0})
    assert without["weights_sha256"] != whole["weights_sha256"]


def test_the_folder_holds_what_was_trained(store: Store, data: str) -> None:
    result = pairs(name="run", store=store, data=data, **SMALL)
    folder = store.path(store.get("run"))
    model = load_pairs_model(folder)
    assert weights_sha256(model.module) == result["weights_sha256"]
    config = json.loads((folder / "config.json").read_text())
    assert config["model_type"] == "transformer2017"
    assert config["exportable"] is False
    assert model.symbols == tuple(string.ascii_lowercase)
    assert {node["name"] for node in store.lineage("run")["nodes"]} >= {"pairs-reversals"}


def test_a_step_weighs_target_symbols_alike_in_whatever_pieces(store: Store, data: str) -> None:
    losses = []
    for size in (64, 4096):
        given = SMALL | {"micro_batch_tokens": size, "dropout": 0.0}
        pairs(name=f"m{size}", store=store, data=data, **given)
        lines = store.run(f"m{size}").read_metrics()
        losses.append([line["loss"] for line in lines if "loss" in line])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_pieces_hold_every_pair_once_within_their_bound() -> None:
    numbers = random.Random(0)
    rows = []
    for _ in range(300):
        source = [numbers.randint(3, 20) for _ in range(numbers.randint(1, 12))]
        target = [numbers.randint(3, 20) for _ in range(numbers.randint(0, 12))]
        rows.append((source, [1, *target, 2]))
    batches = gather_pairs(rows, 200)
    found = []
    for batch in batches:
        assert batch.source_BS.numel() + batch.target_BT.numel() <= 200
        for source, target in zip(batch.source_BS.tolist(), batch.target_BT.tolist(), strict=True):
            found.append(([i for i in source if i], [i for i in target if i]))
    assert sorted(found) == sorted(rows)
    assert sum(batch.units for batch in batches) == sum(len(target) - 1 for _, target in rows)


def test_the_nearest_of_several_targets_counts(store: Store, tmp_path: Path) -> None:
    """A source that may be answered by either of two, each learnt half of the time."""
    numbers = random.Random(0)
    words = {"".join(numbers.choices("abcd", k=numbers.randint(3, 5))) for _ in range(400)}
    lines = [
        json.dumps({"source": word, "target": target})
        for word in sorted(words)
        for target in ("xyxy", ["long", "long", "long", "long", "long", "long"])
    ]
    (tmp_path / "either.jsonl").write_text("\n".join(lines))
    given = SMALL | {"steps": 60, "learning_rate": 1e-2, "eval_every": 60}
    result = pairs(name="run", store=store, data=str(tmp_path / "either.jsonl"), **given)
    assert result["metrics"]["val_exact_match"] == 1.0
    assert result["metrics"]["val_symbol_error"] == 0.0
    # Both targets' symbols are paid for: between them the first symbol is a coin's throw.
    assert result["metrics"]["val_loss"] > math.log(2) / 6
    assert nearest("xyxx", ["xyxy", "aaaaaa"]) == (1, 4)


def test_validation_loss_is_plain_and_counts_each_symbol(store: Store, data: str) -> None:
    """Without training, the loss of a smoothed model is that of the same without smoothing."""
    figures = [
        pairs(name=f"s{number}", store=store, data=data, **SMALL | {"label_smoothing": smoothing})
        for number, smoothing in enumerate((0.0, 0.3))
    ]
    first = [
        next(line["val_loss"] for line in store.run(f"s{number}").read_metrics())
        for number in range(2)
    ]
    assert first[0] == first[1]
    assert figures[0]["metrics"]["train_loss"] != figures[1]["metrics"]["train_loss"]


@pytest.mark.parametrize(
    "line", ["{}", '{"source": "a"}', '{"source": "", "target": "b"}', '{"source": 3, "target": 4}',
             '{"source": ["a", 1], "target": "b"}', "no"]
)  # fmt: skip
def test_what_is_no_pair_names_its_line(store: Store, data: str, line: str) -> None:
    path = Path(data)
    path.write_text(path.read_text() + "\n" + line)
    with pytest.raises(BadInput, match=r"Line 401 of pairs\.jsonl is not a pair"):
        pairs(name="run", store=store, data=data, **SMALL)


def test_too_long_pairs_and_unknown_symbols_are_refused(store: Store, data: str) -> None:
    with pytest.raises(BadInput, match="more than 5 symbols"):
        pairs(name="short", store=store, data=data, **SMALL | {"context_length": 6})
    pairs(name="run", store=store, data=data, **SMALL)
    model = load_pairs_model(store.path(store.get("run")))
    with pytest.raises(BadInput, match="'A'"):
        model.write(["abA"])
    with pytest.raises(BadInput, match="empty"):
        model.write([""])
    with pytest.raises(BadInput, match="more than the model's 13"):
        model.write(["a" * 14])


def test_folders_that_are_not_as_written_are_refused(
    store: Store, data: str, tmp_path: Path
) -> None:
    pairs(name="run", store=store, data=data, **SMALL)
    model = load_pairs_model(store.path(store.get("run")))

    def broken(name: str, text: str | None) -> Path:
        folder = tmp_path / f"copy-{random.random()}"
        folder.mkdir()
        model.save(folder)
        if text is None:
            (folder / name).unlink()
        else:
            (folder / name).write_text(text)
        return folder

    config = json.loads((broken("x", "") / "config.json").read_text())
    other = json.dumps(config | {"hidden_size": 64})
    cases = [
        ("config.json", None, NotFound, "no model"),
        ("config.json", "{", Damaged, "not JSON"),
        ("config.json", json.dumps(config | {"model_type": "qwen3"}), Unsupported, "does not hold"),
        ("config.json", json.dumps(config | {"num_heads": 5}), Damaged, "multiple"),
        ("config.json", json.dumps(config | {"context_length": 10**30}), Damaged, "context_length"),
        ("config.json", json.dumps(config | {"colour": "red"}), Damaged, "colour"),
        ("config.json", other, BadInput, "in the shape"),
        ("config.json", json.dumps(config | {"num_layers": 10**9}), BadInput, "another size"),
        ("vocabulary.json", None, Damaged, "vocabulary"),
        ("vocabulary.json", "{}", Damaged, "list of symbols"),
        ("vocabulary.json", '["a", "b"]', BadInput, "do not fit"),
        ("model.safetensors", "none", Damaged, "cannot be read"),
        ("model.safetensors", None, NotFound, "no weights"),
    ]
    for name, text, error, match in cases:
        with pytest.raises(error, match=match):
            load_pairs_model(broken(name, text))
    assert isinstance(load_pairs_model(broken("x", "")).module, Transformer2017)
    assert model.module.shape.vocab_size == len(model.symbols) + NUM_MARKS


def test_noam_takes_no_settings_of_a_decay(store: Store, data: str) -> None:
    with pytest.raises(BadSettings, match="noam has no decay_fraction"):
        pairs(name="run", store=store, data=data, **SMALL | {"decay_fraction": 0.5})
