"""Fine-tuning an adapter: the base stays, the rest is as for all weights."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

import pytest
import torch

import langwright as lw
from langwright.errors import BadInput, BadSettings, NotFound, Unsupported
from langwright.inference import score_rows
from langwright.model import Adapters, LoRASettings, load_adapter, load_model, tensors_sha256
from langwright.model.lora import TARGETS
from langwright.store import Store
from langwright.training import dpo, forget, pretrain, sft, verify_resume
from langwright.training.answers import encode_answer
from langwright.training.learner import Learner
from langwright.training.stages.sft import SFTSettings
from langwright.training.trained import TrainedAdapter
from langwright.training.tuning import TuningSettings, require_alone

pytestmark = pytest.mark.usefixtures("one_thread")

RECIPE = str(Path(__file__).parent.parent / "mini.toml")
STEPS = 16
TUNING: dict[str, Any] = {
    "model": "base", "method": "lora", "rank": 4, "steps": STEPS, "learning_rate": 3e-2,
    "tokens_per_step": 256, "warmup_steps": 2, "checkpoint_every": 4, "keep_checkpoints": STEPS,
    "eval_every": STEPS, "embedding_learning_rate": None,
}  # fmt: skip


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Whatever is asked, the answer is one of two."""
    path = tmp_path_factory.mktemp("talk") / "talk.jsonl"
    draw = random.Random(1)
    words = ["fox", "dog", "sees", "finds", "lazy", "quick", "old", "new"]
    lines = [
        {
            "messages": [
                {"role": "user", "content": " ".join(draw.choices(words, k=4))},
                {"role": "assistant", "content": draw.choice(["the lazy dog", "a quick fox"])},
            ]
        }
        for _ in range(60)
    ]
    path.write_text("\n".join(map(json.dumps, lines)))
    return str(path)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, words: str, talk: str) -> Store:
    """A small base, and one adapter trained on it."""
    store = Store(tmp_path_factory.mktemp("home"))
    pretrain(RECIPE, name="base", store=store, corpus=words, steps=80, eval_every=80)
    sft(RECIPE, name="polite", store=store, data=talk, **TUNING)
    return store


def test_an_adapter_is_trained_and_the_base_stays(store: Store, talk: str) -> None:
    before = store.get("base").digest
    result = sft(RECIPE, name="polite", store=store, data=talk, **TUNING)
    assert result["model"] == "base+polite"
    artifact = store.get("polite")
    assert artifact.kind == "adapter"
    assert store.get("base").digest == before
    parents = [store.get(digest).name for digest in store.run("polite").parents]
    assert parents == ["base", "conversations-talk"]
    losses = [line["loss"] for line in store.run("polite").read_metrics() if "loss" in line]
    assert losses[-1] < 0.75 * losses[0]
    adapter = load_adapter(store.path(artifact))
    assert (adapter.settings.rank, set(adapter.settings.targets)) == (4, set(TARGETS))
    tensors = {
        f"{path}.adapters.trained.{key}": values
        for path, parts in adapter.parts.items()
        for key, values in parts.items()
    }
    assert tensors_sha256(tensors) == result["weights_sha256"]


def test_the_trained_adapter_is_the_one_that_answers(store: Store) -> None:
    """What the run measured at its end is what the engine says of MODEL+ADAPTER, merged."""
    model = lw.load("base+polite", store=store)
    ids = model.template.encode(
        [{"role": "user", "content": "fox dog"}], add_generation_prompt=True
    )
    (merged,) = score_rows(model.module, [ids], 64, 63)
    bundle = load_model(store.path(store.get("base")))
    adapters = Adapters(bundle.module)
    adapters.load("x", load_adapter(store.path(store.get("polite"))))
    (alone,) = score_rows(bundle.module, [ids], 64, 63)
    with adapters.use("x"):
        (beside,) = score_rows(bundle.module, [ids], 64, 63)
    assert beside[1:] == pytest.approx(merged[1:], abs=1e-5)
    assert alone[1:] != pytest.approx(merged[1:], abs=1e-2)


def test_a_run_of_an_adapter_resumes_to_the_bit(store: Store) -> None:
    found = verify_resume("polite", store=store)
    assert found["equal"]
    assert (
        found["tensors"] == 7 * 2 * 4 * 2
    )  # A and B; 7 matrices; 2 layers; weights, means, squares, steps


def test_a_checkpoint_of_an_adapter_is_an_adapter(store: Store) -> None:
    early = lw.load("base+polite@4", store=store)
    assert early.name == "base+polite@4"


def test_a_conversation_is_forgotten_from_an_adapter(store: Store, talk: str) -> None:
    """As a run that never saw it, to the bit."""
    forgotten = forget("polite", "conversations.jsonl:7", store=store)
    digest = store.run(forgotten["run"]).settings["forget"]
    never = sft(RECIPE, name="never", store=store, data=talk, **TUNING, forget=digest)
    assert forgotten["weights_sha256"] == never["weights_sha256"]
    assert (
        forgotten["weights_sha256"]
        != sft(RECIPE, name="polite", store=store, data=talk, **TUNING)["weights_sha256"]
    )


@pytest.mark.parametrize("held", ["int8", "nf4"])
def test_an_adapter_learns_on_a_quantised_base(store: Store, talk: str, held: str) -> None:
    name = f"on-{held}"
    given = TUNING | {"base_dtype": held}
    sft(RECIPE, name=name, store=store, data=talk, **given)
    losses = [line["loss"] for line in store.run(name).read_metrics() if "loss" in line]
    assert losses[-1] < 0.85 * losses[0]


def test_only_the_adapter_has_gradients_and_an_optimizer(store: Store) -> None:
    bundle = load_model(store.path(store.get("base")))
    before = {name: held.clone() for name, held in bundle.module.named_parameters()}
    trained = TrainedAdapter.fresh(bundle, LoRASettings(rank=4, dora=True), "base", 0)
    settings = TuningSettings.build(
        {"steps": 1, "tokens_per_step": 64, "context_length": 32, "learning_rate": 1e-2}
        | {"model": "base", "method": "lora", "precision": "float32", "warmup_steps": 0}
    )
    learner = Learner(trained.module, settings, learnt=trained.learnt)
    ids = torch.arange(1, 65).view(2, 32)
    trained.module.nll(ids[:, :-1], ids[:, 1:]).backward()
    learner.clip()
    learner.move(1.0)
    assert set(learner.masters.weights) == set(trained.learnt)
    assert {name.rpartition(".")[2] for name in trained.learnt} == {"lora_A", "lora_B", "magnitude"}
    after = dict(trained.module.named_parameters())
    assert all(torch.equal(after[name], held) for name, held in before.items())
    assert all(after[name].grad is None for name in before)
    moved = [name for name, held in trained.learnt.items() if held.abs().max() > 0]
    assert any(name.endswith("lora_B") for name in moved)


def test_gradients_are_those_of_peft(store: Store, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    transformers = pytest.importorskip("transformers")
    folder = store.path(store.get("base"))
    bundle = load_model(folder)
    trained = TrainedAdapter.fresh(bundle, LoRASettings(rank=4), "base", 0)
    generator = torch.Generator().manual_seed(1)
    for parameter in trained.learnt.values():
        parameter.data.normal_(0, 0.05, generator=generator)
    trained.save(tmp_path)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    theirs = peft.PeftModel.from_pretrained(theirs, tmp_path, is_trainable=True)
    ids = torch.randint(0, 300, (3, 40), generator=generator)
    targets = ids[:, 1:].clone()
    targets[0, :20] = -100
    trained.module.requires_grad_(False)
    for parameter in trained.learnt.values():
        parameter.requires_grad_(True)
    ours = trained.module.nll(ids[:, :-1], targets)
    ours.backward()
    logits = theirs(ids[:, :-1]).logits
    loss = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), targets.flatten(), reduction="sum"
    )
    loss.backward()
    torch.testing.assert_close(ours, loss, rtol=1e-5, atol=1e-4)
    for name, parameter in theirs.named_parameters():
        if parameter.requires_grad:
            path = name.removeprefix("base_model.model.model.").removesuffix(".default.weight")
            place, _, key = path.rpartition(".")
            mine = trained.learnt[f"{place}.adapters.trained.{key}"].grad
            torch.testing.assert_close(mine, parameter.grad, rtol=1e-4, atol=1e-4)


def test_settings_of_an_adapter_alone_are_refused_without_one() -> None:
    given = {"model": "m", "data": "d", "steps": 1, "learning_rate": 1e-3}
    given |= {"tokens_per_step": 64, "context_length": 32}
    with pytest.raises(BadSettings, match="method full has no rank"):
        SFTSettings.build(given | {"rank": 8})
    with pytest.raises(BadSettings, match="its tables stay"):
        SFTSettings.build(given | {"method": "lora", "embedding_learning_rate": 1e-3})
    with pytest.raises(Unsupported, match="one process"):
        require_alone("sft with method=lora", 2)
    require_alone("sft with method=lora", 1)


def test_a_run_starts_from_a_model_with_an_adapter(store: Store, talk: str, tmp_path: Path) -> None:
    """Fine-tuned by an adapter, then taught preferences by another one on top of it: what the run
    starts from is the model with the first adapter, and both are in what is served."""
    asked = [[{"role": "user", "content": f"{one} sees {one}"}] for one in ("fox", "dog", "old")]
    lines = [
        {
            "messages": [{"role": "user", "content": f"{one} {other}"}],
            "answers": ["the lazy dog", "a quick fox"],
            "ranks": [0, 1],
        }
        for one in ("fox", "dog", "sees", "finds", "lazy", "quick", "old", "new")
        for other in ("fox", "dog", "sees", "finds")
    ]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, lines)))
    recipe = tmp_path / "dpo.toml"
    recipe.write_text("[dpo]\n")
    given: dict[str, Any] = {
        "model": "base+polite", "data": str(tmp_path / "pairs.jsonl"), "method": "lora", "rank": 4,
        "steps": 24, "learning_rate": 1e-2, "context_length": 64, "tokens_per_step": 512,
        "warmup_steps": 2, "eval_every": 24, "validation_fraction": 0.2, "beta": 0.1,
    }  # fmt: skip
    done = dpo(str(recipe), name="preferred", store=store, **given)
    assert done["model"] == "base-polite+preferred"
    losses = [line["loss"] for line in store.run("preferred").read_metrics() if "loss" in line]
    assert losses[0] == pytest.approx(math.log(2), abs=1e-5)
    merged = store.get("base-polite")
    assert merged.parents == [store.get("base").digest, store.get("polite").digest]
    assert store.get("preferred").parents[0] == merged.digest

    # The model beneath is the one that MODEL+ADAPTER serves.
    ids = torch.randint(0, 200, (1, 20), generator=torch.Generator().manual_seed(0))
    bundles = [lw.load(name, store=store).bundle for name in ("base+polite", "base-polite")]
    served, held = (bundle.module for bundle in bundles if bundle is not None)
    torch.testing.assert_close(served(ids), held(ids), rtol=0, atol=0)

    # What was trained on top of it is what answers.
    before, after = (lw.load(name, store=store) for name in ("base+polite", done["model"]))

    def likes(model: Any) -> float:
        own = model.bundle
        rows = [encode_answer(own.template, one, text) for one in asked for text in
                ("the lazy dog", "a quick fox")]  # fmt: skip
        scores = [sum(score_rows(own.module, [row.ids.tolist()], 64, 63)[0][row.start :])
                  for row in rows]  # fmt: skip
        return sum(scores[::2]) - sum(scores[1::2])

    assert likes(after) > likes(before) + 3
    said = after.chat([{"role": "user", "content": "fox sees"}], max_tokens=8, temperature=0)
    assert said.text

    # Begun again it is the same run, and the model beneath is not made anew.
    assert dpo(str(recipe), name="preferred", store=store, **given) == done
    assert len(store.artifacts("model")) == len({one.name for one in store.artifacts("model")})


def test_what_no_run_can_start_from(store: Store, talk: str) -> None:
    for model, message in (
        ("polite", r"is an adapter, which is nothing without its model"),
        ("base+base", "kind model, not an adapter"),
        ("base+nobody", "no artifact 'nobody'"),
    ):
        with pytest.raises((BadInput, NotFound), match=message):
            sft(RECIPE, name="x", store=store, data=talk, **TUNING | {"model": model})
    with store.writing("base-thin", "corpus") as draft:
        (draft.folder / "text.txt").write_text("x")
    sft(RECIPE, name="thin", store=store, data=talk, **TUNING | {"steps": 1})
    with pytest.raises(BadInput, match="something else already"):
        sft(RECIPE, name="x", store=store, data=talk, **TUNING | {"model": "base+thin"})
