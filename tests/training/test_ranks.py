"""Whole runs of several processes, through `langwright launch`."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from safetensors import safe_open

from langwright.errors import BadInput, BadSettings
from langwright.store import Store
from langwright.training import launch, pretrain

Start = Callable[..., "subprocess.Popen[str]"]


def result(process: subprocess.Popen[str]) -> dict[str, Any]:
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    found: dict[str, Any] = json.loads(out)  # of one process alone, then
    return found


def test_two_processes_train_the_model_of_one_and_either_goes_on_from_the_other(
    start: Start, store: Store, recipe: str
) -> None:
    kept = {"precision": "float32", "tokens_per_step": 512}
    words = [f"{key}={value}" for key, value in kept.items()]
    whole = pretrain(recipe, name="whole", store=store, **kept)
    two = ["launch", "--nproc", "2", "--restarts", "0", "pretrain", recipe, *words]
    found = result(start(*two, "--name", "two", "--json"))
    assert found["tokens"] == whole["tokens"]
    assert found["metrics"]["val_loss"] == pytest.approx(whole["metrics"]["val_loss"], rel=1e-4)
    (last, *_) = sorted(store.run("two").checkpoints.glob("step-*/optimizer"))
    parts = sorted(last.iterdir())
    assert len(parts) == 2  # each rank wrote its own
    for part in parts:
        with safe_open(part, "pt") as opened:
            assert opened.keys()
    # From the checkpoint before the last one: what two began, one ends; and the other way round.
    for name, ender in (("two", None), ("whole", two)):
        run = store.run(name)
        earlier = min(path.name for path in run.checkpoints.glob("step-*"))
        (run.checkpoints / "latest").write_text(earlier)
        run.update_state(status="stopped")
        if ender is None:
            again = pretrain(recipe, name=name, store=store, **kept)
        else:
            again = result(start(*ender, "--name", name, "--json"))
        assert again["resumed_from_step"] == int(earlier.removeprefix("step-")) > 0
        assert again["metrics"]["val_loss"] == pytest.approx(whole["metrics"]["val_loss"], rel=1e-4)


def test_what_several_processes_cannot_do(store: Store, recipe: str) -> None:
    with pytest.raises(BadInput, match="'chat' is not done by several"):
        launch(["chat", "x"], nproc=2)
    with pytest.raises(BadInput, match="place to meet"):
        launch(["pretrain", "tiny"], nodes=2)
    with pytest.raises(BadSettings, match="tensor_parallel=2 needs as many processes"):
        pretrain(recipe, store=store, tensor_parallel=2)
