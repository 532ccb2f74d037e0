"""`describe` finds a model as `load` does, and says what it was made from."""

from __future__ import annotations

from pathlib import Path

import pytest

import langwright as lw
from langwright.errors import NotFound
from langwright.model import Adapters, LoRASettings, ModelBundle, save_adapter, save_folder
from langwright.store import Store


def test_licence_and_lineage(store: Store, model_a: ModelBundle, tmp_path: Path) -> None:
    with store.writing("stories", "corpus", licence="CC0") as draft:
        (draft.folder / "a.txt").write_text("once")
    with store.writing("grown", "model", parents=["stories"], licence="CC0") as draft:
        save_folder(draft.folder, model_a)
    told = lw.describe("grown", store=store)
    assert told["licence"] == "CC0"
    assert [(one["name"], one["kind"]) for one in told["lineage"]] == [("stories", "corpus")]
    assert told["parameters"]["total"] == model_a.module.shape.num_parameters
    save_folder(tmp_path, model_a)
    bare = lw.describe(str(tmp_path), store=store)
    assert (bare["licence"], bare["lineage"]) == (None, [])
    assert bare["parameters"] == told["parameters"]
    with pytest.raises(NotFound):
        lw.describe("grwn", store=store)


def test_an_adapter_is_told_beside_its_model(
    store: Store, model_a: ModelBundle, tmp_path: Path
) -> None:
    save_folder(tmp_path, model_a)
    adapters = Adapters(model_a.module)
    adapters.add("one", LoRASettings(rank=3, targets=("q_proj",)))
    save_adapter(tmp_path, adapters.take("one"))
    adapters.detach()
    told = lw.describe(f"{tmp_path}+{tmp_path}", store=store)["adapter"]
    shape = model_a.module.shape
    width = shape.hidden_size + shape.num_heads * shape.head_dim
    assert (told["rank"], told["parameters"]) == (3, 3 * width * shape.num_layers)
