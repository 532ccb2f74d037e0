from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file, save_file

from langwright.errors import NotFound, Unsupported
from langwright.store import Store
from langwright.training import pretrain, verify_resume
from langwright.training.replay import checkpoint_steps, folder_of


def test_a_run_resumes_to_the_bit_and_a_changed_bit_is_found(store: Store, recipe: str) -> None:
    pretrain(recipe, name="run", store=store)
    run = store.run("run")
    before = {path: path.stat().st_mtime_ns for path in run.folder.rglob("*")}
    found = verify_resume("run", store=store)
    assert found["equal"], found["differ"]
    assert (found["from_step"], found["to_step"]) == (9, 12)
    weights = folder_of(run, 12) / "model" / "model.safetensors"
    assert found["tensors"] > 3 * len(load_file(weights)) - 3  # the optimizer's among them
    assert {path: path.stat().st_mtime_ns for path in run.folder.rglob("*")} == before

    tensors = load_file(weights)
    name = min(tensors)
    tensors[name].view(torch.int32).flatten()[0] ^= 1  # the last bit of one number
    save_file(tensors, weights, metadata={"format": "pt"})
    found = verify_resume("run", store=store)
    assert not found["equal"]
    assert list(found["differ"]) == [f"model/{name}"]


def test_which_checkpoints_stay(store: Store, recipe: str) -> None:
    pretrain(recipe, name="few", store=store, checkpoint_every=2)
    assert checkpoint_steps(store.run("few")) == [10, 12]
    kept = {"checkpoint_every": 2, "keep_checkpoints": 1, "keep_every": 4}
    pretrain(recipe, name="some", store=store, **kept)
    assert checkpoint_steps(store.run("some")) == [4, 8, 12]


def test_what_cannot_be_verified(store: Store, recipe: str) -> None:
    with pytest.raises(NotFound, match="no run 'none'"):
        verify_resume("none", store=store)
    pretrain(recipe, name="run", store=store, checkpoint_every=100)
    with pytest.raises(Unsupported, match="has 1 checkpoint; two"):
        verify_resume("run", store=store)
