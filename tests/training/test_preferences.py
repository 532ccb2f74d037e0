"""Learning from comparisons: DPO and its kin, and reward models."""

from __future__ import annotations

import json
import math
import os
import random
import signal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from langwright.errors import BadInput, BadSettings
from langwright.model import load_model
from langwright.model.reward import SCORE, RewardBundle, load_reward
from langwright.store import Store
from langwright.training import dpo, guard, pretrain, read_recipe, reward, verify_resume
from langwright.training.answers import AnswerBatch, encode_answer, gather_answers
from langwright.training.learned_reward import Learned
from langwright.training.loop import train
from langwright.training.stages.dpo import DPO, DPOSettings
from langwright.training.stages.reward import Reward, RewardSettings, prepare
from langwright.training.views.show_batch import show_batch

pytestmark = pytest.mark.usefixtures("one_thread")

MINI = str(Path(__file__).parent.parent / "mini.toml")
WORDS = ["fox", "dog", "sees", "finds", "lazy", "quick", "old", "new"]
LOOP: dict[str, Any] = {
    "context_length": 64, "tokens_per_step": 512, "micro_batch_tokens": 256, "warmup_steps": 2,
    "checkpoint_every": 4, "keep_checkpoints": 9, "eval_every": 16, "validation_fraction": 0.2,
}  # fmt: skip


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("recipe") / "prefer.toml"
    lines = [f"{key} = {json.dumps(value)}" for key, value in LOOP.items()]
    tables = [f"[{stage}]\nmodel = 'base'\n" + "\n".join(lines) for stage in ("dpo", "reward")]
    path.write_text("\n\n".join(tables))
    return str(path)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Whatever is asked, to speak of foxes is better than to speak of dogs; sometimes there are
    three answers, the third about neither."""
    path = tmp_path_factory.mktemp("pairs") / "pairs.jsonl"
    draw = random.Random(1)
    lines = []
    for number in range(80):
        asked = [{"role": "user", "content": " ".join(draw.choices(WORDS, k=4))}]
        answers = ["a quick fox", "the lazy dog", "not new"][: 3 if number % 4 == 0 else 2]
        line = {"messages": asked, "answers": answers, "ranks": list(range(len(answers)))}
        if number % 2:
            line |= {"answers": answers[::-1], "ranks": line["ranks"][::-1]}
        lines.append(line)
    path.write_text("\n".join(map(json.dumps, lines)))
    return str(path)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, words: str) -> Store:
    store = Store(tmp_path_factory.mktemp("home"))
    pretrain(MINI, name="base", store=store, corpus=words, steps=80, eval_every=80)
    return store


def losses(store: Store, name: str) -> list[float]:
    return [line["loss"] for line in store.run(name).read_metrics() if "loss" in line]


@pytest.mark.parametrize("method", ["full", "lora"])
def test_dpo_begins_at_ln_2_and_comes_to_prefer_the_better(
    store: Store, recipe: str, pairs: str, method: str
) -> None:
    rate = {"full": 1e-3, "lora": 1e-2}[method]
    steps = {"full": 16, "lora": 30}[method]
    given = {"data": pairs, "steps": steps, "learning_rate": rate, "method": method}
    result = dpo(recipe, name=f"dpo-{method}", store=store, **given)
    assert losses(store, f"dpo-{method}")[0] == pytest.approx(math.log(2), abs=1e-6)
    lines = [line for line in store.run(f"dpo-{method}").read_metrics() if "accuracy" in line]
    assert lines[0]["margin"] == pytest.approx(0, abs=1e-5)
    accuracies = [line["accuracy"] for line in lines[-5:]]
    assert sum(accuracies) / 5 > 0.75
    assert lines[-1]["margin"] > 0.5
    assert result["metrics"]["val_accuracy"] > 0.7
    assert {"val_logprob_better", "val_logprob_worse", "val_margin"} <= result["metrics"].keys()


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_run_that_is_interrupted_ends_with_the_same_bits(
    store: Store, recipe: str, pairs: str, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reference is that of the beginning, not that of the interruption."""
    given = {"data": pairs, "steps": 10, "learning_rate": 1e-3, "method": method}
    whole = dpo(recipe, name=f"whole-{method}", store=store, **given)
    plain = DPO.loss

    def interrupted(self: DPO, module: Any, batch: AnswerBatch) -> torch.Tensor:
        if os.environ.pop("LANGWRIGHT_TEST_INTERRUPT", None):
            os.kill(os.getpid(), signal.SIGINT)
        return plain(self, module, batch)

    def at_step_6(self: Any, step: int) -> Any:
        if step == 6:
            os.environ["LANGWRIGHT_TEST_INTERRUPT"] = "1"
        return batches(self, step)

    batches = DPO.micro_batches
    with monkeypatch.context() as patched:
        patched.setattr(DPO, "loss", interrupted)
        patched.setattr(DPO, "micro_batches", at_step_6)
        with pytest.raises(KeyboardInterrupt):
            dpo(recipe, name=f"broken-{method}", store=store, **given)
    done = dpo(recipe, name=f"broken-{method}", store=store, **given)
    assert 0 < done["resumed_from_step"] < 10
    assert done["weights_sha256"] == whole["weights_sha256"]
    assert losses(store, f"broken-{method}") == losses(store, f"whole-{method}")


def test_a_step_that_was_refused_is_in_no_figure(
    store: Store, recipe: str, pairs: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each step tells of its own pairs, not of those that the guard has left out before it."""
    plain, told, judged = DPO.figures, [], []

    def refused_once(*given: Any) -> guard.Verdict:
        judged.append(None)
        decision: Any = "skip" if len(judged) == 3 else "accept"
        return guard.Verdict(decision, 0.0, 0.0)

    def counted(self: DPO) -> dict[str, float]:
        told.append(len(self._told["accuracy"]))
        return plain(self)

    monkeypatch.setattr(guard, "judge", refused_once)
    monkeypatch.setattr(DPO, "figures", counted)
    dpo(recipe, name="refused", store=store, data=pairs, steps=4, learning_rate=1e-4)
    lines = [line for line in store.run("refused").read_metrics() if "accuracy" in line]
    units = [line["tokens"] for line in lines]
    each = [after - before for before, after in pairwise([0, *units])]
    assert len(judged) == 5
    del told[2]  # asked of the refused one, and thrown away
    assert told == each


def test_a_soft_label_of_a_half_teaches_nothing(store: Store, recipe: str, tmp_path: Path) -> None:
    draw = random.Random(2)
    lines = [
        {
            "messages": [{"role": "user", "content": " ".join(draw.choices(WORDS, k=4))}],
            "answers": ["a quick fox", "the lazy dog"],
            "ranks": [0, 0],
            "probability": 0.5,
        }
        for _ in range(20)
    ]
    (tmp_path / "ties.jsonl").write_text("\n".join(map(json.dumps, lines)))
    with pytest.raises(BadInput, match="left to learn from"):
        dpo(recipe, name="ties", store=store, data=str(tmp_path / "ties.jsonl"), steps=1,
            learning_rate=1e-3)  # fmt: skip


@pytest.mark.parametrize(("loss", "first"), [("ipo", 25.0), ("hinge", 1.0)])
def test_the_kin_of_dpo_begin_at_their_own_values(
    store: Store, recipe: str, pairs: str, loss: str, first: float
) -> None:
    """(1 / (2 * 0.1))^2, and max(0, 1 - 0)."""
    dpo(recipe, name=loss, store=store, data=pairs, loss=loss, steps=1, learning_rate=1e-4)
    assert losses(store, loss)[0] == pytest.approx(first, abs=1e-4)


def test_settings_that_do_not_go_together(recipe: str, store: Store, pairs: str) -> None:
    with pytest.raises(BadSettings, match="ipo has no label_smoothing"):
        dpo(recipe, name="x", store=store, data=pairs, loss="ipo", label_smoothing=0.1, steps=1,
            learning_rate=1e-3)  # fmt: skip


def test_micro_batches_do_not_change_the_loss_of_pairs(store: Store, pairs: str) -> None:
    """A pair stays together; its gradient is the same whoever else is in the batch."""
    base = store.get("base")
    bundle = load_model(store.path(base))
    data = store.get("comparisons-pairs")
    found = []
    for width in (64, 4096):
        settings = DPOSettings.build(
            {"model": "base", "data": "d", "steps": 1, "learning_rate": 1e-3, "context_length": 64}
            | {"tokens_per_step": 512, "micro_batch_tokens": width}
        )
        stage = DPO.build(settings, bundle.text, data, store)
        stage._reference[:] = torch.arange(2.0)
        batches = stage.micro_batches(0)
        bundle.module.requires_grad_(True).zero_grad()
        total = sum(stage.loss(bundle.module, batch) for batch in batches)
        total.backward()
        gradient = bundle.module.layers[0].self_attn.q_proj.weight.grad
        assert gradient is not None
        found.append(
            (float(total.detach()), gradient.clone(), sum(batch.units for batch in batches))
        )
    assert len(batches) == 1
    assert found[0][2] == found[1][2]
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-5)
    torch.testing.assert_close(found[0][1], found[1][1], rtol=1e-4, atol=1e-5)


def test_the_logprobs_of_an_answer_are_those_of_its_own_tokens(store: Store) -> None:
    """The prompt's are not among them, the end of the turn is; padding changes nothing."""
    bundle = load_model(store.path(store.get("base")))
    template = bundle.template
    asked = [{"role": "user", "content": "fox sees dog"}]
    rows = [encode_answer(template, asked, text) for text in ("a quick fox", "no")]
    assert bundle.tokenizer.decode(rows[0].ids[rows[0].start :].tolist()) == "a quick fox<|im_end|>"
    (_, taken), *_ = gather_answers([rows], [0], 4096)
    batch = AnswerBatch.of(taken, 1)
    logprobs, _ = bundle.module.logprobs(batch.ids_BT, batch.tokens_BT, batch.places_N)
    sums = batch.sums(logprobs)
    for row, value in zip(rows, sums, strict=True):
        ids = torch.from_numpy(row.ids)[None]
        every = bundle.module(ids[:, :-1]).log_softmax(-1)[0]
        own = sum(float(every[at - 1, row.ids[at]]) for at in range(row.start, len(row.ids)))
        assert float(value) == pytest.approx(own, abs=1e-4)


def test_a_reward_model_ranks_what_it_was_not_shown(store: Store, recipe: str, pairs: str) -> None:
    result = reward(recipe, name="judge", store=store, data=pairs, steps=20, learning_rate=2e-3)
    assert losses(store, "judge")[0] == pytest.approx(math.log(2), abs=0.1)
    assert result["metrics"]["val_accuracy"] > 0.9
    assert 0 <= result["metrics"]["val_calibration_error"] <= 1
    artifact = store.get("judge")
    assert artifact.kind == "reward"
    held = load_reward(store.path(artifact))
    learned = Learned(held)
    asked = [{"role": "user", "content": "dog finds"}]
    better, worse = (learned(asked, text, {}) for text in ("a quick fox", "the lazy dog"))
    assert better > worse
    # On the scale of the held-out answers.
    assert -4 < worse < better < 4


def test_a_head_alone_learns_and_leaves_the_model_beneath_as_it_is(
    store: Store, recipe: str, pairs: str
) -> None:
    """What it reads of the answers once gives the scores of a pass through all of the model."""
    given = {"store": store, "data": pairs, "head_only": True, "learning_rate": 2e-2}
    reward(recipe, name="head", **given, steps=40, weight_decay=0.0)
    assert sum(losses(store, "head")[-8:]) < 0.97 * sum(losses(store, "head")[:8])
    held = load_reward(store.path(store.get("head")))
    assert held.module.score.weight.abs().sum() > 0
    base = load_model(store.path(store.get("base"))).module.state_dict()
    for name, weight in held.module.state_dict().items():
        assert name == SCORE or torch.equal(weight, base[name]), name
    first = losses(store, "head")
    # Killed at step 20 and gone on with: the same bits.
    run = store.run("again")
    settings = RewardSettings.build(
        read_recipe(recipe, "reward", {k: v for k, v in given.items() if k != "store"})
        | {"steps": 40, "weight_decay": 0.0}
    )
    base_model, data = (store.get(digest) for digest in store.run("head").parents)

    def prepared(working: RewardSettings) -> tuple[RewardBundle, Reward]:
        return prepare(working, base_model, data, store)

    run.open(settings.model_dump(mode="json"), [])
    train(run, *prepared(settings), settings, until=20)
    again, _ = train(run, *prepared(settings), settings)
    assert losses(store, "again") == first
    assert torch.equal(again.module.score.weight, held.module.score.weight)


def test_a_reward_model_is_a_sequence_classifier_of_transformers(store: Store) -> None:
    transformers = pytest.importorskip("transformers")
    folder = store.path(store.get("judge"))
    held = load_reward(folder)
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(
        folder, dtype=torch.float32
    )
    ids = torch.randint(0, 200, (2, 20), generator=torch.Generator().manual_seed(0))
    ours = held.module.scores(ids, torch.tensor([19, 19]))
    found = theirs(ids).logits[:, 0]
    torch.testing.assert_close(ours, found, rtol=1e-4, atol=1e-4)


def test_padding_and_a_common_shift_change_no_reward(store: Store) -> None:
    bundle = load_model(store.path(store.get("base")))
    held = RewardBundle.on(bundle, 3)
    ids = torch.randint(0, 200, (1, 12), generator=torch.Generator().manual_seed(1))
    padded = torch.cat((ids, torch.full((1, 9), 7)), dim=1)
    alone = held.module.scores(ids, torch.tensor([11]))
    torch.testing.assert_close(held.module.scores(padded, torch.tensor([11])), alone)
    torch.testing.assert_close(held.module.values(padded)[:, 11], alone)
    deviation = float(held.module.score.weight.std())
    assert deviation == pytest.approx((held.module.shape.hidden_size + 1) ** -0.5, rel=0.3)


@pytest.mark.parametrize("method", ["full", "lora", "reward"])
def test_a_run_is_trained_again_and_its_batches_are_shown(
    store: Store, recipe: str, pairs: str, method: str, tmp_path: Path
) -> None:
    """What a step is said to learn from is what it counted; the answers are weighed, with their
    ends, and no prompt is."""
    name = f"again-{method}"
    given: dict[str, Any] = {"data": pairs, "steps": 8, "learning_rate": 1e-3}
    if method == "reward":
        reward(recipe, name=name, store=store, **given)
    else:
        dpo(recipe, name=name, store=store, **given, method=method)
    verified = verify_resume(name, store=store)
    assert (verified["from_step"], verified["to_step"], verified["differ"]) == (4, 8, {})
    assert verified["tensors"] > 0

    lines = [line for line in store.run(name).read_metrics() if "loss" in line]
    units = [after - before for before, after in pairwise([0, *(one["tokens"] for one in lines)])]
    for step in (1, 2):
        shown = show_batch(name, step=step, html=tmp_path / "page.html", store=store)
        rows = shown["rows"]
        assert sum(row["label"] in ("better", "rank 0") for row in rows) == units[step - 1]
        for row in rows:
            text = "".join(token["text"] for token in row["tokens"] if token["trained"])
            whole = "".join(token["text"] for token in row["tokens"])
            if method == "reward":
                assert text == "<|im_end|>"
                assert ("a quick fox<|im_end|>" in whole) == (row["label"] == "rank 0")
            else:
                said = {
                    "better": ("a quick fox", "the lazy dog"),
                    "worse": ("the lazy dog", "not new"),
                }
                assert text.removesuffix("<|im_end|>") in said[row["label"]]
    if method != "reward":
        assert [row["label"] for row in rows[:2]] == ["better", "worse"]
    assert ("better" if method != "reward" else "rank 0") in (tmp_path / "page.html").read_text()
