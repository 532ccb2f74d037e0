"""One command for a model of one's own: what it foretells, what it leaves, what it says of it."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

import langwright as lw
from langwright.errors import BadInput, BadSettings, NotFound
from langwright.lifecycle import finetune
from langwright.store import Store
from langwright.training import pretrain

pytestmark = pytest.mark.usefixtures("one_thread")

MINI = str(Path(__file__).parent.parent / "mini.toml")
WORDS = ["fox", "dog", "sees", "finds", "lazy", "quick", "old", "new"]
FAST = {"learning_rate": 2e-2, "tokens_per_step": 512, "micro_batch_tokens": 512}


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Alpaca's shape; whatever is asked, the answer is the same."""
    path = tmp_path_factory.mktemp("talk") / "talk.json"
    draw = random.Random(1)
    rows = [
        {"instruction": " ".join(draw.choices(WORDS, k=5)), "input": "", "output": "a quick fox"}
        for _ in range(80)
    ]
    path.write_text(json.dumps(rows))
    return str(path)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, talk: str) -> Store:
    store = Store(tmp_path_factory.mktemp("home"))
    draw = random.Random(0)
    corpus = Path(talk).parent / "words.jsonl"
    lines = [{"text": " ".join(draw.choices(WORDS, k=30))} for _ in range(100)]
    corpus.write_text("\n".join(map(json.dumps, lines)))
    pretrain(MINI, name="base", store=store, corpus=str(corpus), steps=60, eval_every=60)
    return store


@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_file_and_a_model_make_a_better_one(store: Store, talk: str, method: str) -> None:
    settings = FAST | {"method": method}
    if method == "full":
        settings |= {"learning_rate": 3e-3}
    done = finetune("base", talk, name=f"mine-{method}", store=store, **settings)
    assert done["model"] == {"lora": "base+mine-lora", "full": "mine-full"}[method]
    stages = {stage["name"]: stage["metrics"] for stage in done["stages"]}
    assert list(stages) == ["forecast", "before", "fine-tune", "after"]
    assert stages["after"]["val_bits_per_byte"] < 0.7 * stages["before"]["val_bits_per_byte"]
    foretold = stages["forecast"]
    assert foretold["conversations"] == 80
    assert foretold["steps"] >= 20
    assert (foretold["trained_share"] < 0.5) == (method == "lora")
    assert lw.load(done["model"], store=store).chat("fox dog", max_tokens=20).text
    report = Path(done["report"]).read_text()
    assert "| bits per byte |" in report
    assert report.count("**Expected.** a quick fox") >= 1
    # Finished: the same command answers at once, and foretells nothing anew.
    again = finetune("base", talk, name=f"mine-{method}", store=store, **settings)
    assert again["model"] == done["model"]
    assert again["stages"][0] == done["stages"][0]
    assert again["stages"][2]["metrics"] == done["stages"][2]["metrics"]


def test_other_settings_under_a_name_are_refused(store: Store, talk: str) -> None:
    """None of them is passed over because the run is there already."""
    given = FAST | {"steps": 20}
    finetune("base", talk, name="once", store=store, **given)
    with pytest.raises(BadSettings, match="rank"):
        finetune("base", talk, name="once", store=store, **given, rank=4)
    with pytest.raises(BadSettings, match="begun with --epochs 3"):
        finetune("base", talk, name="once", epochs=1, store=store, **given)
    with pytest.raises(BadInput, match="none of finetune's"):
        finetune("base", talk, name="base", store=store, **given)


def test_what_cannot_be_is_said_before_anything_is_trained(store: Store, talk: str) -> None:
    with pytest.raises(NotFound, match="nobody"):
        finetune("nobody", talk, store=store)
    with pytest.raises(BadInput, match="epochs is 0"):
        finetune("base", talk, epochs=0, store=store)
