"""A plan: what it chooses, what it reckons, and how that comes out."""

from __future__ import annotations

import importlib
import json
import math
import random
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch

import langwright as lw
from langwright.errors import BadInput, BadSettings, NotFound
from langwright.lifecycle.budget import Budget
from langwright.lifecycle.ladder import ladder, pace
from langwright.lifecycle.law import LAW, REPEATED, Law, worth
from langwright.lifecycle.machine import UTILISATION, machine
from langwright.lifecycle.memory import memory
from langwright.lifecycle.rehearsal import steepness, times_as_long
from langwright.model import Decoder
from langwright.store import Store
from langwright.training import read_recipe
from langwright.training.rebuilt import rebuild
from langwright.training.recipe import read_forecast
from langwright.training.stages.pretrain import PretrainSettings, shape_of

MINI = str(Path(__file__).parent.parent / "mini.toml")


@pytest.mark.parametrize(
    ("text", "kind", "amount"),
    [
        ("90s", "seconds", 90),
        ("10min", "seconds", 600),
        ("1.5 h", "seconds", 5400),
        ("2d", "seconds", 172_800),
        ("50USD", "usd", 50),
        ("1e18flops", "flops", 1e18),
    ],
)
def test_budget(text: str, kind: str, amount: float) -> None:
    assert Budget.parse(text) == Budget(kind, amount)


@pytest.mark.parametrize("text", ["10", "min", "0min", "-1h", "1e999flops", "10 minutes", ""])
def test_no_budget(text: str) -> None:
    with pytest.raises(BadInput, match="is no budget"):
        Budget.parse(text)


def test_machine() -> None:
    eight = machine("h100x8")
    assert (eight.device, eight.count, eight.here) == ("h100", 8, False)
    assert eight.usd(3600) == 24.0  # nanochat's README
    assert machine("h100x8", usd_per_hour=2.0).usd(1800) == 8.0
    assert machine("cpu").here
    assert machine("cpu").usd(3600) is None
    for wrong in ("cpux2", "h100x0", "h1000", "x8", ""):
        with pytest.raises(NotFound, match="no device"):
            machine(wrong)


def test_ladder() -> None:
    sizes = [rung.shape.num_parameters for rung in ladder()]
    assert sizes == sorted(sizes)
    for rung in ladder():
        shape = rung.shape
        assert shape.head_dim in (32, 64)
        assert shape.num_heads * shape.head_dim == shape.hidden_size
        assert shape.intermediate_size == pytest.approx(8 / 3 * shape.hidden_size, rel=0.13)
    (given,) = {rung.shape.vocab_size for rung in ladder(vocab_size=50_257)}
    assert given == 50_304


def test_pace_is_the_published_one() -> None:
    """DeepSeek LLM, section 3.1: 0.2920 C^0.3271 tokens in a batch, of which we take half, and
    0.3118 C^-0.125 as rate."""
    shape = ladder()[6].shape
    tokens = 1e17 / shape.flops_per_token(shape.context_length)
    paced = pace(shape, tokens)
    optimum = 0.2920 * 1e17**0.3271 / 2
    assert paced["tokens_per_step"] <= optimum < 2 * paced["tokens_per_step"]
    assert paced["learning_rate"] == pytest.approx(0.3118 * 1e17**-0.125, rel=0.05)
    assert paced["steps"] * paced["tokens_per_step"] == pytest.approx(tokens, rel=0.01)


def test_repeated_text_is_worth_less() -> None:
    assert worth(500, 1000) == 500
    assert worth(1000, 1000) == 1000
    assert 3700 < worth(4000, 1000) < 4000  # four epochs are nearly as good as fresh text
    assert worth(1e9, 1000) == pytest.approx(1000 * (1 + REPEATED))
    assert LAW.bits(1e6, 4000, 1000) > LAW.bits(1e6, 4000)


def test_the_law_is_kaplans_over_a_floor() -> None:
    """Equation 1.5 with the numbers of Kaplan et al. 2020, section 1.2, in nats a token."""
    law = Law(E=0.0, Nc=6.4e13, alpha_N=0.076, Dc=1.8e13, alpha_D=0.103)
    assert law.bits(1e9, 1e30) == pytest.approx((6.4e13 / 1e9) ** 0.076)
    assert law.bits(1e30, 1e9) == pytest.approx((1.8e13 / 1e9) ** 0.103)
    small, large = (LAW.bits(size, 1e5) - LAW.bits(size, 1e6) for size in (4e5, 6e6))
    assert small < 0.9 * large  # the same text teaches a small model less


def test_how_steeply_the_loss_of_a_text_falls(tmp_path: Path) -> None:
    """Text of which a quarter tells all there is, and one whose words come back too seldom for
    that: at both ends of what is believed."""
    numbers = random.Random(0)
    words = ["".join(numbers.choices("abcdefghij", k=6)) for _ in range(3000)]
    texts = {
        "few": " ".join(numbers.choices(words[:20], k=20_000)),
        "many": " ".join(numbers.choices(words, k=20_000)),
    }
    found = {}
    store = Store(tmp_path / "home")
    for name, text in texts.items():
        folder = tmp_path / name
        folder.mkdir()
        for number in range(20):
            part = text[number * 7000 : (number + 1) * 7000]
            (folder / f"{number}.txt").write_text(part)
        lw.pretrain(MINI, name=name, corpus=str(folder), steps=1, store=store)
        found[name] = steepness(name, store)
    assert found["few"] == 0.5
    assert found["many"] == 1.5


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_memory_is_what_training_holds(optimizer: str) -> None:
    """By category, against the tensors of a real step."""
    from langwright.training.batch import MicroBatch, next_token_loss
    from langwright.training.learner import Learner

    values = tomllib.loads(Path(MINI).read_text())["pretrain"]
    values |= {"optimizer": optimizer, "hidden_size": 64, "intermediate_size": 160}
    settings = PretrainSettings.build(values)
    rung = ladder(vocab_size=320, context_length=128)[1]  # of three layers
    shape = rung.shape
    told = memory(shape, settings, torch.float32)
    module = Decoder(shape)
    module.initialise(0)
    learner = Learner(module, settings)
    ids = torch.zeros(2, 128, dtype=torch.long).numpy()
    batch = MicroBatch.of(ids, ids)
    kept: dict[int, Any] = {}
    weights = {weight.untyped_storage().data_ptr() for weight in module.parameters()}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = next_token_loss(module, batch)
    assert told["activations"] == sum(storage.nbytes() for storage in kept.values())
    loss.backward()
    learner.clip()
    learner.move(1.0)
    held = learner.optimizers.tensors().values()
    remembered = sum(one.numel() * one.element_size() for one in held if one.dim())
    assert told["optimizer"] == remembered
    assert told["weights"] == told["gradients"] == 4 * shape.num_parameters
    assert told["snapshots"] == 2 * told["saving"] == 2 * (told["weights"] + told["optimizer"])


def test_memory_is_shared_and_saved() -> None:
    shape = ladder(vocab_size=1024, context_length=128)[2].shape
    values = tomllib.loads(Path(MINI).read_text())["pretrain"]
    plain = memory(shape, PretrainSettings.build(values), torch.bfloat16)
    shared = memory(shape, PretrainSettings.build(values), torch.bfloat16, ranks=8)
    assert shared["optimizer"] == plain["optimizer"] // 8
    assert shared["activations"] == plain["activations"]
    again = PretrainSettings.build(values | {"activation_checkpointing": True})
    assert memory(shape, again, torch.bfloat16)["activations"] < plain["activations"] / 4


def test_another_machine_is_reckoned(tmp_path: Path) -> None:
    path = tmp_path / "big.toml"
    found = lw.plan(budget="50usd", device="h100x8", to=path, store=Store(tmp_path / "home"))
    forecast, recipe = found["forecast"], found["recipe"]
    assert found["rehearsal"] is None
    assert forecast["usd"] == pytest.approx(50, rel=0.01)
    assert forecast["usd"] <= 50
    speed = forecast["flops"] / forecast["seconds"]
    assert speed == pytest.approx(UTILISATION * 8 * 989e12, rel=1e-6)
    assert forecast["fits"]
    assert forecast["peak_memory_bytes"] < 80e9
    assert forecast["beyond_the_law"]
    bits = [one["val_bits_per_byte"] for one in found["considered"]]
    assert min(bits) == pytest.approx(forecast["val_bits_per_byte"], rel=0.01)
    assert {key: recipe[key] for key in recipe} == read_recipe(str(path), "pretrain", {})
    PretrainSettings.build(recipe)
    assert read_forecast(str(path))["val_bits_per_byte"] == forecast["val_bits_per_byte"]
    assert recipe["micro_batch_tokens"] > 2048  # what a GPU's memory holds
    asked = {"micro_batch_tokens": 2048, "compile": False}
    store = Store(tmp_path / "home")
    kept = lw.plan(budget="50usd", device="h100x8", store=store, **asked)["recipe"]
    assert kept | asked == kept
    with pytest.raises(BadInput, match="There is a file"):
        lw.plan(budget="50usd", device="h100x8", to=path, store=store)


def test_a_budget_of_compute(tmp_path: Path) -> None:
    found = lw.plan(budget="1e18flops", device="h100", store=Store(tmp_path))
    assert found["forecast"]["flops"] == pytest.approx(1e18, rel=0.01)
    twice = lw.plan(budget="1e20flops", device="h100", store=Store(tmp_path))
    assert twice["forecast"]["parameters"] > found["forecast"]["parameters"]
    assert twice["forecast"]["val_bits_per_byte"] < found["forecast"]["val_bits_per_byte"]


def test_what_stays_as_given(tmp_path: Path) -> None:
    fixed = {"hidden_size": 512, "vocab_size": 1000, "seed": 7, "learning_rate": 0.5}
    found = lw.plan(budget="1e18flops", device="h100", store=Store(tmp_path), **fixed)
    assert {key: found["recipe"][key] for key in fixed} == fixed
    with pytest.raises(BadSettings, match="No size"):
        lw.plan(budget="1e18flops", device="h100", store=Store(tmp_path), hidden_size=500)


def test_wrong_questions(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(BadInput, match="for a recipe or for a budget"):
        lw.plan(store=store)
    with pytest.raises(BadInput, match="for a recipe or for a budget"):
        lw.plan("tiny", budget="10min", store=store)
    with pytest.raises(BadInput, match="hour of a100 costs is not known"):
        lw.plan(budget="5usd", device="a100", store=store)
    with pytest.raises(BadInput, match="is spent after"):
        lw.plan(budget="1e9flops", device="h100", store=store)


@pytest.fixture
def words(tmp_path: Path) -> str:
    draw, known = random.Random(0), ["the", "red", "blue", "old", "fox", "dog", "sees", "finds"]
    texts = [" ".join(draw.choices(known, k=draw.randint(5, 60))) for _ in range(200)]
    file = tmp_path / "words.jsonl"
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return str(file)


def test_a_step_of_another_batch_is_timed_beside_the_runs_own(
    tmp_path: Path, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Were a target's work a second, one of 16 times the tokens would take 16 times as long."""
    store = Store(tmp_path / "home")
    given = {"corpus": words, "steps": 1, "vocab_size": 300}
    lw.pretrain(MINI, name="run", store=store, **given)
    own = rebuild(store.run("run"), store).settings
    assert isinstance(own, PretrainSettings)
    assert times_as_long("run", own, store, 0.0) == 1.0
    assert times_as_long("run", own.model_copy(update={"steps": 9}), store, 0.0) == 1.0
    timing = importlib.import_module("langwright.lifecycle.rehearsal")
    real, asked = timing._step, []

    def counted(learner: Any, batches: Any) -> float:
        asked.append(sum(batch.units for batch in batches))
        assert real(learner, batches) > 0
        return float(asked[-1])

    monkeypatch.setattr(timing, "_step", counted)
    larger = own.model_copy(update={"tokens_per_step": 16 * 512})
    assert times_as_long("run", larger, store, 0.0) == pytest.approx(16, rel=0.05)
    assert len(asked) == 2 * 4  # in turns
    assert max(asked[::2]) < min(asked[1::2])


def test_a_recipe_rehearsed_and_run(
    tmp_path: Path, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The forecast goes with the recipe into the run, which says how it came out."""
    planning = importlib.import_module("langwright.lifecycle.plan")
    monkeypatch.setattr(planning, "FEWEST", 8_000)  # or it would take half a minute
    store = Store(tmp_path / "home")
    path = tmp_path / "planned.toml"
    given = {"steps": 100, "corpus": words, "vocab_size": 300}
    found = lw.plan(MINI, name="short", to=path, store=store, **given)
    assert found["forecast"]["tokens"] == 100 * 512
    rehearsal = found["rehearsal"]
    assert rehearsal["tokens"] >= 7_000
    assert found["forecast"]["tokens_per_second"] == pytest.approx(512 / rehearsal["step_seconds"])
    assert rehearsal["steepness"] == 0.5  # a quarter of it tells which eight words there are
    matrices = shape_of(PretrainSettings.build(found["recipe"]), 300).matrices
    law = [LAW.bits(matrices, n, rehearsal["unique"]) for n in (rehearsal["tokens"], 100 * 512)]
    expected = rehearsal["bits_per_byte"] - 0.5 * (law[0] - law[1])
    assert found["forecast"]["val_bits_per_byte"] == pytest.approx(expected)
    assert not store.run("short-rehearsal").exists
    assert not [one for one in store.artifacts() if "rehearsal" in one.name]
    few = {"steps": 20}
    result = lw.pretrain(str(path), name="real", store=store, **few)
    held = result["forecast"]
    assert held.keys() == {
        "seconds",
        "peak_memory_bytes",
        "tokens_per_second",
        "val_bits_per_byte",
    }
    for key, one in held.items():
        assert one["forecast"] == found["forecast"][key]
        assert one["error"] == pytest.approx(one["actual"] / one["forecast"] - 1)
    assert held["val_bits_per_byte"]["actual"] == result["metrics"]["val_bits_per_byte"]
    assert math.isfinite(held["seconds"]["actual"])
