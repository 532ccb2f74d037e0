"""The whole life, made small: `grow` on the corpus that every Python carries."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from html import unescape
from pathlib import Path

import pytest

from langwright.errors import BadSettings
from langwright.lifecycle import grow
from langwright.store import Store
from langwright.training import comparisons_of

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
        "page",
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


FURTHER = """
[grow]
stages = ["reward", "ppo"]
prompts = 40
answers = 3

[reward]
context_length = 256
tokens_per_step = 512
steps = 4
learning_rate = 1e-3
warmup_steps = 1
validation_fraction = 0.3
eval_every = 4
checkpoint_every = 2

[ppo]
context_length = 256
max_tokens = 12
prompts_per_rollout = 8
epochs = 1
minibatches = 2
steps = 4
learning_rate = 1e-3
warmup_steps = 1
eval_every = 2
checkpoint_every = 2
validation_fraction = 0.3
"""


def test_what_follows_fine_tuning_is_measured_by_the_same_tests_and_gated(
    store: Store, recipe: str, tmp_path: Path
) -> None:
    preset = tmp_path / "mini.toml"
    preset.write_text(Path(recipe).read_text() + FURTHER)
    result = grow(preset=str(preset), store=store)
    stages = {stage["name"]: stage["metrics"] for stage in result["stages"]}
    assert list(stages)[-5:] == ["comparisons", "reward", "ppo", "report", "page"]
    before, ppo, after = stages["answers after"], stages["ppo"], store.get("mini")
    # The gate's figures are those of the tests, and its word is what the name means.
    language = {check["test"]: check for check in ppo["checks"]}["bits per byte"]
    assert language["before"] == pytest.approx(before["bits_per_byte"])
    assert language["after"] == pytest.approx(ppo["bits_per_byte"])
    assert ppo["kl_first"] == pytest.approx(0, abs=1e-4) != ppo["kl_last"]
    promoted = [one["model"] for one in stages.values() if one.get("promoted")]
    assert after.digest == store.get(["mini-sft", *promoted][-1]).digest
    report = Path(result["report"]).read_text(encoding="utf-8")
    assert "Every model on the same tests" in report
    assert ppo["why"] in report
    assert "PPO: distance" in report
    comparisons = comparisons_of(store.get("mini-comparisons"), store)
    assert len(comparisons) == stages["comparisons"]["comparisons"] <= 40
    assert {one.rater for one in comparisons} == {"rule: closeness"}
    # Nobody learns from what is asked in the tests.
    asked = {json.loads(line)["prompt"] for line in lines(store, "mini-prompts", "prompts.jsonl")}
    kept = json.loads((store.run("mini-grow").folder / "questions.json").read_text())
    assert not asked & {question["prompt"] for question in kept}
    assert grow(preset=str(preset), store=store) == result


@pytest.mark.slow
def test_a_life_ends_with_a_constitution(store: Store, recipe: str, tmp_path: Path) -> None:
    """So small a model criticises nothing, so what is left to learn is the judge's choice; harm and
    helpfulness join the other tests at the gate."""
    preset = tmp_path / "mini.toml"
    text = Path(recipe).read_text().replace("[constitution]\n", '[constitution]\ntrain = "dpo"\n')
    text = text.replace("context_length = 128", "context_length = 512")
    text = text.replace("micro_batch_tokens = 256", "micro_batch_tokens = 512")
    preset.write_text(text + FURTHER.replace('["reward", "ppo"]', '["dpo", "constitution"]') + DPO)
    stages = {
        one["name"]: one["metrics"] for one in grow(preset=str(preset), store=store)["stages"]
    }
    assert list(stages)[-5:] == ["comparisons", "dpo", "constitution", "report", "page"]
    found = stages["constitution"]
    if "checks" in found:
        assert {"harm", "helpfulness", "bits per byte"} <= {one["test"] for one in found["checks"]}
        assert found["model"] == "mini-constitution-dpo"
    else:
        assert found["why"]


DPO = """
[dpo]
context_length = 256
tokens_per_step = 512
steps = 2
learning_rate = 1e-3
warmup_steps = 1
validation_fraction = 0.3
eval_every = 2
checkpoint_every = 2
"""


def test_a_text_too_small_for_what_follows_still_gives_a_life(
    store: Store, recipe: str, tmp_path: Path
) -> None:
    """Three questions are too few for rewards: that is said in the report, and nothing is lost."""
    preset = tmp_path / "mini.toml"
    preset.write_text(Path(recipe).read_text() + FURTHER.replace("prompts = 40", "prompts = 3"))
    result = grow(preset=str(preset), store=store)
    stages = {stage["name"]: stage["metrics"] for stage in result["stages"]}
    assert stages["ppo"]["promoted"] is False
    assert stages["ppo"]["why"]
    assert store.get("mini").digest == store.get("mini-sft").digest
    report = unescape(Path(result["report"]).read_text(encoding="utf-8"))
    assert stages["ppo"]["why"] in report


def lines(store: Store, name: str, file: str) -> list[str]:
    path = store.path(store.get(name)) / file
    return path.read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize(
    ("stages", "problem"),
    [
        ('["ppo"]', "which stages lacks"),
        ('["ppo", "reward"]', "order reward"),
        ('["reward", "reward"]', "twice"),
        ('["rewards"]', "stages"),
        ('["reward", "dpo"]', r"no table \[dpo\]"),
        ('["constitution"]\n[constitution]\ntrain = "dpo"', r"no table \[dpo\]"),
    ],
)
def test_wrong_stages_are_named_before_anything_is_trained(
    store: Store, recipe: str, tmp_path: Path, stages: str, problem: str
) -> None:
    preset = tmp_path / "mini.toml"
    further = FURTHER.replace('["reward", "ppo"]', stages)
    text = Path(recipe).read_text()
    if "[constitution]" in further:  # its own table in place of the recipe's
        text = text.partition("[constitution]")[0] + "[sft]" + text.partition("[sft]")[2]
        further = further.replace("\nprompts = 40\nanswers = 3", "")
    preset.write_text(text + further)
    with pytest.raises(BadSettings, match=problem):
        grow(preset=str(preset), store=store)
    assert store.runs() == []


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
