"""Recipes: what their comments say is so; wrong keys are named; a copy is made with care."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from langwright.errors import BadInput, BadSettings, NotFound
from langwright.lifecycle import grow
from langwright.lifecycle.further import GrowSettings
from langwright.model import Architecture
from langwright.store import Store
from langwright.training import pairs, pretrain, read_recipe, recipes, sft
from langwright.training.constitutional.settings import ConstitutionSettings
from langwright.training.recipe import recipe as recipe_verb
from langwright.training.stages.dpo import DPOSettings
from langwright.training.stages.grpo import GRPOSettings
from langwright.training.stages.ppo import PPOSettings
from langwright.training.stages.pretrain import PretrainSettings
from langwright.training.stages.reward import RewardSettings
from langwright.training.stages.sft import SFTSettings

GIVEN: dict[str, dict[str, Any]] = {
    "pretrain": {"corpus": "c"},
    "constitution": {"model": "m"},
    "grow": {},
    **{key: {"model": "m", "data": "d"} for key in ("sft", "reward", "dpo", "ppo", "grpo")},
}
GIVEN["ppo"]["rewards"] = [{"name": "short", "rule": {"kind": "length", "most": 40}}]
SETTINGS: dict[str, Any] = {
    "pretrain": PretrainSettings,
    "sft": SFTSettings,
    "reward": RewardSettings,
    "dpo": DPOSettings,
    "ppo": PPOSettings,
    "grpo": GRPOSettings,
    "constitution": ConstitutionSettings,
    "grow": GrowSettings,
}
LINE = re.compile(
    r"(?P<off># )?(?P<key>[a-z_]+) = (?P<value>.+?) +"
    r"# (?P<type>[^,]+), (?:no default|default (?P<default>.+?)): (?P<effect>.+)"
)


@pytest.mark.parametrize("name", recipes())
def test_every_key_is_explained_with_its_own_default(name: str) -> None:
    text = recipe_verb("show", name)["text"]
    explained: dict[str, set[str]] = {}
    for table in recipe_verb("show", name)["tables"]:
        part = text.partition(f"\n[{table}]\n")[2].partition("\n[")[0]
        fields = SETTINGS[table].model_fields
        found = {match["key"]: match for match in LINE.finditer(part)}
        explained[table] = set(found)
        for key, match in found.items():
            default = fields[key].get_default()
            if match["default"] is None:
                assert fields[key].is_required(), key
            elif match["default"] != "none":
                assert toml(match["default"]) == plain(default), key
                assert not match["off"] or toml(match["value"]) == plain(default), key
            else:
                assert default is None, key
            for option in re.findall(r'"(\w+)"', match["type"]):
                assert option in repr(fields[key].annotation), key
        assert set(tomllib.loads(text)[table]) <= set(found)
    # The first table explains the loop for those behind it.
    for table, own in explained.items():
        derived = {"tokens_per_step"} if table in ("ppo", "grpo") else set()
        known = set().union(*explained.values()) if table != "pretrain" else own
        assert known >= set(SETTINGS[table].model_fields) - derived, table


def toml(value: str) -> Any:
    return tomllib.loads(f"value = {value}")["value"]


def plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


@pytest.mark.parametrize("name", recipes())
def test_every_built_in_recipe_is_valid(name: str) -> None:
    for stage in recipe_verb("show", name)["tables"]:
        assert SETTINGS[stage].build(GIVEN[stage] | read_recipe(name, stage, {}))


@pytest.mark.parametrize(
    ("name", "millions"), [("tiny", 1.3), ("small", 3.0), ("medium", 11.5), ("gpu", 123.6)]
)
def test_the_sizes_that_the_recipes_tell(name: str, millions: float) -> None:
    shape = read_recipe(name, "pretrain", {})
    keys = ("hidden_size", "intermediate_size", "num_layers", "num_heads", "num_kv_heads")
    words = -(-shape.get("vocab_size", 50_259) // 64) * 64  # GPT-2's, and the marks of a turn
    built = Architecture.build(
        {key: shape[key] for key in (*keys, "context_length")}
        | {"vocab_size": words, "head_dim": shape["hidden_size"] // shape["num_heads"]}
    )
    assert built.num_parameters / 1e6 == pytest.approx(millions, abs=0.06)


def test_list_names_all_with_what_they_are() -> None:
    found = {one["name"]: one for one in recipe_verb("list")["recipes"]}
    assert set(found) == {"tiny", "small", "medium", "gpu", "smollm2"}
    assert found["tiny"]["about"].startswith("A life in six minutes")
    assert found["gpu"]["tables"] == [
        "pretrain",
        "sft",
        "grow",
        "reward",
        "ppo",
        "constitution",
    ]


def test_a_copy_is_the_file_and_nothing_is_overwritten(tmp_path: Path) -> None:
    text = recipe_verb("show", "small")["text"]
    told = recipe_verb("copy", "small", tmp_path)
    assert told["path"] == str(tmp_path / "small.toml")
    assert (tmp_path / "small.toml").read_text() == text
    (tmp_path / "small.toml").write_text("mine")
    with pytest.raises(BadInput, match="already"):
        recipe_verb("copy", "small", tmp_path / "small.toml")
    assert (tmp_path / "small.toml").read_text() == "mine"
    recipe_verb("copy", "small", tmp_path / "small.toml", force=True)
    assert [path.read_text() for path in tmp_path.iterdir()] == [text]
    with pytest.raises(NotFound, match="no folder"):
        recipe_verb("copy", "small", tmp_path / "nowhere" / "x.toml")
    with pytest.raises(NotFound, match="tiny"):
        recipe_verb("show", "tinny")


def test_a_wrong_key_names_the_nearest_in_every_training_verb(
    store: Store, recipe: str, tmp_path: Path
) -> None:
    """On the command line and in the file; `grow` before anything is trained."""
    named = {"name": "x", "store": store}
    wrong = tmp_path / "wrong.toml"
    for stage, train in (("pretrain", pretrain), ("sft", sft)):
        with pytest.raises(BadSettings, match="Did you mean 'learning_rate'"):
            train(recipe, **named, **GIVEN[stage], lerning_rate=1.0)
        wrong.write_text(Path(recipe).read_text().replace("steps =", "stepps ="))
        with pytest.raises(BadSettings, match=r"'stepps' is not a setting.*'steps'"):
            train(str(wrong), **named, **GIVEN[stage])
    with pytest.raises(BadSettings, match="Did you mean 'num_heads'"):
        pairs(**named, data="d", num_headds=1)
    text = Path(recipe).read_text()
    before, table, after = text.partition("[sft]")
    wrong.write_text(before + table + after.replace("seed", "") + "\nstepps = 3\n")
    with pytest.raises(BadSettings, match=r"'stepps' is not a setting.*'steps'"):
        grow(preset=str(wrong), name="x", store=store)
    assert store.runs() == []


def test_a_wrong_key_without_a_near_one_lists_them_all(recipe: str, store: Store) -> None:
    with pytest.raises(BadSettings, match=r"Known: activation_checkpointing, .* weight_decay"):
        pretrain(recipe, name="x", store=store, zzz=1)


def test_a_wrong_key_of_a_share_names_those_of_shares(recipe: str, store: Store) -> None:
    share = {"name": "kjv", "wieght": 1, "epochs": 1}
    with pytest.raises(BadSettings, match=r"'corpus\.0\.wieght' is not .*'weight'") as error:
        pretrain(recipe, name="x", store=store, corpus=[share])
    assert "'corpus.0.weight' is not set" in error.value.message


def test_what_no_stage_would_read_is_an_error(recipe: str, store: Store, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.toml"
    wrong.write_text("steps = 3\n" + Path(recipe).read_text())
    with pytest.raises(BadSettings, match=r"'steps' .* outside of its tables"):
        pretrain(str(wrong), name="x", store=store)
    wrong.write_text(Path(recipe).read_text().replace("[sft]", "[stf]"))
    with pytest.raises(BadSettings, match=r"\[stf\].*'sft'"):
        pretrain(str(wrong), name="x", store=store)


def test_a_life_of_a_preset_without_a_corpus_asks_for_one(store: Store) -> None:
    with pytest.raises(BadSettings, match="--corpus"):
        grow(preset="gpu", store=store)
