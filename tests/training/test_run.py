"""Whole runs of the real program: exact resume, Ctrl-C, damage, other settings."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from langwright.errors import BadInput, BadSettings, Damaged, NotFound
from langwright.inference import Engine
from langwright.model import load_model
from langwright.store import Store, lineage
from langwright.text import clean
from langwright.training import pretrain, sft

Start = Callable[..., "subprocess.Popen[str]"]


def finish(process: subprocess.Popen[str]) -> dict[str, object]:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return json.loads(out)


def test_a_cleaned_corpus_trains_by_its_name(
    store: Store, recipe: str, capsys: pytest.CaptureFixture[str]
) -> None:
    told = clean(["python-docs"], "tidy", steps=["normalise", "exact"], processes=1, store=store)
    result = pretrain(recipe, name="run", store=store, corpus="tidy")
    assert "tidy" in {node["name"] for node in lineage(result["model"], store=store)["nodes"]}
    assert told["documents"] > 10
    assert "beside" not in capsys.readouterr().err  # the funnel is no text left out
    with pytest.raises(NotFound, match="tidi"):
        pretrain(recipe, name="other", store=store, corpus="tidi")


def test_killed_at_random_steps_ends_with_the_same_bits(
    start: Start, store: Store, recipe: str
) -> None:
    """SIGKILL at three random steps; the continued run's weights equal an uninterrupted one's."""
    whole = finish(start("pretrain", recipe, "--name", "whole", "--json"))
    steps = sorted(random.sample(range(2, 12), 3))
    metrics = store.run("broken").metrics_path
    for step in steps:
        process = start("pretrain", recipe, "--name", "broken", "--json")
        wait_for_step(process, metrics, step)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    done = finish(start("pretrain", recipe, "--name", "broken", "--json"))
    assert done["weights_sha256"] == whole["weights_sha256"], steps
    assert int(str(done["resumed_from_step"])) > 0
    losses = {
        name: [line["loss"] for line in store.run(name).read_metrics() if "loss" in line]
        for name in ("whole", "broken")
    }
    assert losses["broken"] == losses["whole"]


def wait_for_step(process: subprocess.Popen[str], metrics: Path, step: int) -> None:
    """Until the run has written the line of `step` (its own file is the only clock here)."""
    while process.poll() is None:
        lines = metrics.read_text().splitlines() if metrics.exists() else []
        if any(f'"step": {step},' in line and '"loss"' in line for line in lines):
            return
        os.sched_yield()
    pytest.fail(f"ended before step {step}: {process.communicate()}")


@pytest.mark.parametrize(
    "number", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGTERM]
)
def test_ctrl_c_and_sigterm_save_and_the_same_command_continues(
    start: Start, store: Store, recipe: str, number: signal.Signals
) -> None:
    words = ("pretrain", recipe, "--name", "run", "--json", "steps=60", "checkpoint_every=1000")
    process = start(*words)
    wait_for_step(process, store.run("run").metrics_path, 3)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    run = store.run("run")
    assert run.status == "stopped"
    last = max(line["step"] for line in run.read_metrics())
    done = finish(start(*words))
    assert done["resumed_from_step"] == last >= 3
    assert done["steps"] == 60


def test_finished_run_answers_at_once_and_other_settings_are_refused(
    store: Store, recipe: str
) -> None:
    first = pretrain(recipe, name="run", store=store)
    assert pretrain(recipe, name="run", store=store) == first
    with pytest.raises(BadSettings, match=r"learning_rate: 0.003 -> 0.001"):
        pretrain(recipe, name="run", store=store, learning_rate=1e-3)


def test_damaged_checkpoint_is_named_and_the_one_before_still_serves(
    store: Store, recipe: str
) -> None:
    whole = pretrain(recipe, name="whole", store=store)
    run = store.run("run")
    pretrain(recipe, name="run", store=store)
    run.update_state(status="stopped")
    newest = run.checkpoints / (run.checkpoints / "latest").read_text()
    (weights,) = (newest / "optimizer").iterdir()
    damaged = bytearray(weights.read_bytes())
    damaged[-1] ^= 1
    weights.write_bytes(damaged)
    with pytest.raises(Damaged, match=r"optimizer/.*safetensors is not what was written") as error:
        pretrain(recipe, name="run", store=store)
    before = "step-00000009"
    assert before in error.value.remedy
    (run.checkpoints / "latest").write_text(before)
    again = pretrain(recipe, name="run", store=store)
    assert again["resumed_from_step"] == 9
    assert again["weights_sha256"] == whole["weights_sha256"]


def test_micro_batches_change_the_memory_and_not_the_result(store: Store, recipe: str) -> None:
    runs = [
        pretrain(recipe, name=f"m{size}", store=store, micro_batch_tokens=size, precision="float32")
        for size in (128, 512)
    ]
    losses = [
        [line["loss"] for line in store.run(f"m{size}").read_metrics() if "loss" in line]
        for size in (128, 512)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    # What is trained is a little less than what is paid for: rows end with padding.
    assert runs[0]["tokens"] == runs[1]["tokens"]
    paid = 12 * 512
    assert runs[0]["tokens"] == round(runs[0]["metrics"]["packing_efficiency"] * paid) <= paid


def test_loss_falls_and_validation_counts_every_byte(store: Store, recipe: str) -> None:
    result = pretrain(recipe, name="run", store=store, steps=40)
    lines = [line for line in store.run("run").read_metrics() if "loss" in line]
    assert lines[-1]["loss"] < lines[0]["loss"] - 1.0
    shards = store.get("run-tokens")
    assert result["metrics"]["val_bytes"] == shards.metrics["validation_bytes"]


def test_corpus_smaller_than_a_window_is_refused(store: Store, recipe: str, tmp_path: Path) -> None:
    text = tmp_path / "short.txt"
    text.write_text("One line of text, and another.\n\n" * 3 + "End.\n\n" * 3000)
    with pytest.raises(BadInput, match="fewer than one context window"):
        pretrain(
            recipe,
            name="run",
            store=store,
            corpus=str(text),
            context_length=8192,
            tokens_per_step=8192,
            micro_batch_tokens=8192,
        )


@pytest.fixture
def talk(tmp_path: Path) -> str:
    path = tmp_path / "talk.jsonl"
    lines = [
        {
            "messages": [
                {"role": "user", "content": f"Say {word}"},
                {"role": "assistant", "content": f"{word}, as you wish."},
            ]
        }
        for word in ("yes", "no", "maybe", "never", "always", "often", "once", "twice")
    ]
    path.write_text("\n".join(json.dumps(line) for line in lines))
    return str(path)


def test_sft_learns_the_answers_and_keeps_its_lineage(store: Store, recipe: str, talk: str) -> None:
    pretrain(recipe, name="base", store=store)
    result = sft(
        recipe, name="tuned", store=store, model="base", data=talk, steps=80, learning_rate=5e-3
    )
    first = next(line["loss"] for line in store.run("tuned").read_metrics() if "loss" in line)
    assert result["metrics"]["train_loss"] < first - 2.0
    bundle = load_model(store.path(store.get("tuned")))
    assert Engine(bundle).capabilities().chat
    parents = {node["name"] for node in store.lineage("tuned")["nodes"]}
    assert {"base", "python-docs", "conversations-talk"} <= parents


def test_too_long_conversations_are_left_out_aloud(
    store: Store, recipe: str, talk: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pretrain(recipe, name="base", store=store)
    long = {
        "messages": [
            {"role": "user", "content": "word " * 400},
            {"role": "assistant", "content": "Yes."},
        ]
    }
    path = Path(talk)
    path.write_text(path.read_text() + "\n" + json.dumps(long))
    sft(recipe, name="tuned", store=store, model="base", data=talk)
    assert "Left out 1 conversations longer than 256 tokens (lines 9)" in capsys.readouterr().err


def test_bad_conversation_names_its_line(store: Store, recipe: str, talk: str) -> None:
    pretrain(recipe, name="base", store=store)
    path = Path(talk)
    path.write_text(path.read_text() + '\n{"text": "no messages"}')
    with pytest.raises(BadInput, match=r"talk\.jsonl, line 9: it has 'text'"):
        sft(recipe, name="tuned", store=store, model="base", data=talk)
