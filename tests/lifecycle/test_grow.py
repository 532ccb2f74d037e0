"""The whole life, made small: `grow` on the corpus that every Python carries."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from langwright.errors import BadSettings
from langwright.lifecycle import grow
from langwright.store import Store

Start = Callable[..., "subprocess.Popen[str]"]


def test_grows_a_model_with_report_and_lineage(store: Store, recipe: str, tmp_path: Path) -> None:
    """By a recipe that a plan has written, whose forecast the report holds against what came."""
    planned = tmp_path / "mini.toml"
    forecast = "\n[forecast]\nval_bits_per_byte = 2.5\ntokens_per_second = 1000.0\n"
    planned.write_text(Path(recipe).read_text() + forecast)
    recipe = str(planned)
    result = grow(preset=recipe, store=store)
    assert result["model"] == "mini"
    stages = {stage["name"]: stage["metrics"] for stage in result["stages"]}
    assert list(stages) == [
        "baselines", "pretrain", "questions", "answers before", "fine-tune", "answers after",
        "report",
    ]  # fmt: skip
    report = Path(result["report"]).read_text(encoding="utf-8")
    for figure in (
        stages["pretrain"]["val_bits_per_byte"],
        stages["baselines"]["ngram_bits_per_byte"],
    ):
        assert f"{figure:.3f}" in report
    held = store.run("mini-base").state["result"]["forecast"]["val_bits_per_byte"]
    assert held["actual"] == stages["pretrain"]["val_bits_per_byte"]
    assert f"2.5 foretold, {held['actual']:.4g} came ({held['error']:+.1%})" in report
    nodes = store.lineage("mini")["nodes"]
    kinds = sorted(node["kind"] for node in nodes)
    assert kinds == ["conversations", "corpus", "model", "model", "tokenizer", "tokens"]
    # Finished: nothing is done again.
    assert grow(preset=recipe, store=store) == result


def test_killed_in_the_middle_it_goes_on_where_it_was(
    start: Start, store: Store, recipe: str
) -> None:
    process = start("grow", "--preset", recipe, "--json")
    saved = store.run("mini-base").checkpoints / "latest"
    while process.poll() is None and not saved.exists():
        pass
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = store.run("mini-grow").state["stages"]
    assert list(before) == ["baselines"]
    process = start("grow", "--preset", recipe, "--json")
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    stages = json.loads(out)["stages"]
    assert {"name": "baselines", **before["baselines"]} == stages[0]
    assert store.run("mini-base").state["result"]["resumed_from_step"] >= 3


def test_own_files_are_read_anew_and_a_change_is_noticed(
    store: Store, recipe: str, tmp_path: Path
) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    for number in range(12):
        text = " ".join(f"Line {number} number {i} is here. It is short." for i in range(60))
        (notes / f"{number}.txt").write_text(text)
    result = grow(preset=recipe, corpus=str(notes), store=store)
    assert result["model"] == "mini-notes"
    (notes / "0.txt").write_text("Something else. Entirely.")
    with pytest.raises(BadSettings, match="parents"):
        grow(preset=recipe, corpus=str(notes), store=store)
