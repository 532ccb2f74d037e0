"""KTO: what its baseline is made of, what a step weighs, and that it learns."""

from __future__ import annotations

import json
import os
import random
import signal
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from langwright.errors import BadInput, BadSettings
from langwright.model import load_model
from langwright.store import Store
from langwright.training import dpo, pretrain, verify_resume
from langwright.training.answers import AnswerBatch, AnswerRow
from langwright.training.comparisons import Comparison
from langwright.training.judged import taken_apart
from langwright.training.preference_import import import_preferences
from langwright.training.stages.dpo import DPOSettings, prepare
from langwright.training.stages.kto import KTO
from langwright.training.views.show_batch import show_batch

pytestmark = pytest.mark.usefixtures("one_thread")

MINI = str(Path(__file__).parent.parent / "mini.toml")
WORDS = ["fox", "dog", "sees", "finds", "lazy", "quick", "old", "new"]
LOOP: dict[str, Any] = {
    "model": "base", "loss": "kto", "context_length": 64, "tokens_per_step": 512,
    "micro_batch_tokens": 256, "warmup_steps": 2, "checkpoint_every": 4, "eval_every": 16,
    "validation_fraction": 0.2, "learning_rate": 1e-3,
}  # fmt: skip


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("recipe") / "kto.toml"
    path.write_text("[dpo]\n" + "\n".join(f"{key} = {json.dumps(LOOP[key])}" for key in LOOP))
    return str(path)


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Foxes are good, dogs are bad; each prompt is answered once, or twice."""
    path = tmp_path_factory.mktemp("judged") / "judged.jsonl"
    draw = random.Random(1)
    lines = []
    for number in range(90):
        asked = [{"role": "user", "content": " ".join(draw.choices(WORDS, k=4))}]
        for good in (True, False) if number % 3 == 0 else (number % 2 == 0,):
            answer = "a quick fox" if good else "the lazy dog" + " and old" * (number % 2)
            said = [{"role": "assistant", "content": answer}]
            lines.append({"prompt": asked, "completion": said, "label": good})
    path.write_text("\n".join(map(json.dumps, lines)))
    return str(path)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, words: str, judged: str) -> Store:
    store = Store(tmp_path_factory.mktemp("home"))
    pretrain(MINI, name="base", store=store, corpus=words, steps=80, eval_every=80)
    import_preferences(judged, name="judged", store=store)
    return store


def losses(store: Store, name: str) -> list[float]:
    return [line["loss"] for line in store.run(name).read_metrics() if "loss" in line]


def stage_of(store: Store, **changed: Any) -> tuple[Any, KTO]:
    """A run's stage whose policy lies apart from its reference: so that the baseline is not 0, the
    noise is the reference's where there is one."""
    given = {"data": "judged", "steps": 2, "desirable_weight": 1.5, "undesirable_weight": 0.7}
    settings = DPOSettings.build(LOOP | given | changed)
    trained, stage = prepare(settings, store.get("base"), store.get("judged"), store)
    assert isinstance(stage, KTO)
    moved = trained.learnt.values() if stage._reference is None else stage._reference.parameters()
    with torch.no_grad():
        for number, weight in enumerate(moved):
            noise = torch.Generator().manual_seed(number)
            weight += 0.05 * torch.randn(weight.shape, generator=noise)
    stage.begin(trained.module, store.run("none"), fresh=True)
    trained.module.requires_grad_(False)
    for weight in trained.learnt.values():
        weight.requires_grad_(True)
    return trained, stage


def said(module: Any, row: AnswerRow) -> float:
    """The log-probability of one answer, by itself."""
    every = module(torch.from_numpy(row.ids)[None, :-1]).log_softmax(-1)[0]
    return sum(float(every[at - 1, row.ids[at]]) for at in range(row.start, len(row.ids)))


@pytest.mark.parametrize("method", ["full", "lora"])
def test_good_answers_gain_and_bad_ones_lose(
    store: Store, recipe: str, judged: str, method: str
) -> None:
    rate, steps = {"full": (4e-3, 12), "lora": (1e-3, 18)}[method]
    given = {"data": judged, "steps": steps, "learning_rate": rate, "method": method}
    result = dpo(recipe, name=f"kto-{method}", store=store, **given)
    # Policy and reference are one: the baseline is 0, and a loss of 1 - sigmoid(0).
    assert losses(store, f"kto-{method}")[0] == pytest.approx(0.5, abs=1e-5)
    assert losses(store, f"kto-{method}")[-1] < 0.48
    metrics = result["metrics"]
    assert metrics["val_accuracy"] > 0.8
    assert metrics["val_reward_desirable"] > metrics["val_reward_undesirable"] + 0.2
    assert metrics["val_kl"] >= 0
    assert metrics["val_bits_per_byte"] > 0
    line = [line for line in store.run(f"kto-{method}").read_metrics() if "accuracy" in line][-1]
    assert {"kl", "logprob_desirable", "logprob_undesirable"} <= line.keys()
    assert verify_resume(f"kto-{method}", store=store)["equal"]
    rows = show_batch(f"kto-{method}", store=store)["rows"]
    first = next(one for one in store.run(f"kto-{method}").read_metrics() if "loss" in one)
    assert len(rows) == first["tokens"]
    for row in rows:
        said = "".join(token["text"] for token in row["tokens"] if token["trained"])
        assert ("fox" in said) == (row["label"] == "good")


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_step_is_that_of_trl(store: Store, method: str) -> None:
    """Its loss over the whole step, of micro-batches of a few rows, against TRL's over one batch
    of the same rows; what the reference says is read anew."""
    trl = pytest.importorskip("trl", minversion="1.16")
    from accelerate import Accelerator

    trained, stage = stage_of(store, method=method)
    batches = stage.micro_batches(0)
    assert len(batches) > 2
    total = sum(float(stage.loss(trained.module, batch)) for batch in batches)
    units = sum(batch.units for batch in batches)

    numbers = stage._epochs.step(0)
    rows, others = [stage._all[n].row for n in numbers], stage.mismatched(numbers)
    reference = stage._reference or load_model(store.path(store.get("base"))).module

    def answering(module: Any) -> Any:
        def answer(input_ids: Tensor, labels: Tensor, **_: Any) -> Any:
            follows = labels[:, 1:]
            every = module(input_ids)[:, :-1].log_softmax(-1)
            chosen = every.gather(-1, follows.clamp(min=0)[..., None])[..., 0]
            logprobs = chosen * (follows >= 0)
            nothing = torch.zeros_like(logprobs)
            return SimpleNamespace(log_probs=logprobs, entropy=nothing, mean_logits=nothing)

        return answer

    trainer: Any = SimpleNamespace(
        accelerator=Accelerator(cpu=True), model=SimpleNamespace(training=False),
        _metrics={"eval": defaultdict(list)}, aux_loss_enabled=False, beta=0.1, loss_type="kto",
        desirable_weight=1.5, undesirable_weight=0.7, calculate_KL=True, _total_train_tokens=0,
        precompute_ref_logps=True,
    )  # fmt: skip
    theirs = trl.KTOTrainer
    trainer._compute_kl_logps = lambda *given: theirs._compute_kl_logps(trainer, *given)
    inputs = padded(rows) | {f"KL_{key}": held for key, held in padded(others).items()}
    inputs["label"] = torch.tensor([stage._all[n].desirable for n in numbers])
    with torch.no_grad():
        inputs["ref_logps"] = torch.tensor([said(reference, row) for row in rows])
        inputs["ref_KL_logps"] = torch.tensor([said(reference, row) for row in others])
        expected = theirs._compute_loss(trainer, answering(trained.module), inputs, False)
    assert total / units == pytest.approx(float(expected), abs=1e-5)
    assert trainer._metrics["eval"]["kl"][-1] > 0.01
    assert stage.figures()["kl"] == pytest.approx(trainer._metrics["eval"]["kl"][-1], abs=1e-4)


def padded(rows: list[AnswerRow]) -> dict[str, Tensor]:
    longest = max(len(row.ids) for row in rows)
    ids, mask, answer = (torch.zeros(len(rows), longest, dtype=torch.long) for _ in range(3))
    for line, row in enumerate(rows):
        ids[line, : len(row.ids)] = torch.from_numpy(row.ids)
        mask[line, : len(row.ids)] = 1
        answer[line, row.start : len(row.ids)] = 1
    return {"input_ids": ids, "attention_mask": mask, "completion_mask": answer}


def test_the_baseline_is_of_the_whole_step_and_of_prompts_with_others_answers(
    store: Store,
) -> None:
    """Whatever the micro-batches; the answers are those of the step, each once."""
    found = []
    for width in (64, 4096):
        trained, stage = stage_of(store, micro_batch_tokens=width)
        batches = stage.micro_batches(0)
        total = sum(stage.loss(trained.module, batch) for batch in batches)
        total.backward()
        gradient = trained.module.layers[0].self_attn.q_proj.weight.grad
        assert stage._expected is not None
        found.append((float(total.detach()), gradient.clone(), float(stage._expected.baseline)))
    assert len(batches) == 1
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-5)
    assert found[0][2] == pytest.approx(found[1][2], rel=1e-4)
    torch.testing.assert_close(found[0][1], found[1][1], rtol=1e-4, atol=1e-5)

    numbers = stage._epochs.step(0)
    known = [stage._all[number] for number in numbers]
    others = stage.mismatched(numbers)
    pairs = [(row.ids[: row.start].tobytes(), tuple(row.ids[row.start :])) for row in others]
    assert sorted(prompt for prompt, _ in pairs) == sorted(one.prompt for one in known)
    assert sorted(text for _, text in pairs) == sorted(
        tuple(one.row.ids[one.row.start :]) for one in known
    )
    assert stage._reference is not None
    with torch.no_grad():
        ratios = [said(trained.module, row) - said(stage._reference, row) for row in others]
    assert found[1][2] == pytest.approx(max(0.0, sum(ratios) / len(ratios)), abs=1e-4)


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_run_that_is_interrupted_ends_with_the_same_bits(
    store: Store, recipe: str, judged: str, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"data": judged, "steps": 10, "method": method}
    whole = dpo(recipe, name=f"whole-{method}", store=store, **given)
    plain, seen = KTO.micro_batches, []

    def interrupted(self: KTO, step: int) -> Any:
        seen.append(step)
        if step == 5:
            os.kill(os.getpid(), signal.SIGINT)
        return plain(self, step)

    with monkeypatch.context() as patched:
        patched.setattr(KTO, "micro_batches", interrupted)
        with pytest.raises(KeyboardInterrupt):
            dpo(recipe, name=f"broken-{method}", store=store, **given)
    done = dpo(recipe, name=f"broken-{method}", store=store, **given)
    assert 0 < done["resumed_from_step"] < 10
    assert done["weights_sha256"] == whole["weights_sha256"]
    assert losses(store, f"broken-{method}") == losses(store, f"whole-{method}")


def test_an_answer_that_does_not_fit_behind_another_prompt_is_cut_in_the_baseline_alone(
    store: Store,
) -> None:
    _, stage = stage_of(store)
    rows = [one.row for one in stage._all]
    long, short = max(rows, key=lambda row: row.start), min(rows, key=lambda row: row.start)
    one, other = (next(x for x in stage._all if x.row is row) for row in (long, short))
    whole = one.answered_by(other, 64)
    assert whole.ids.tolist() == [*long.ids[: long.start], *short.ids[short.start :]]
    cut = one.answered_by(other, len(whole.ids) - 1)
    assert cut.ids.tolist() == whole.ids[:-1].tolist()
    assert isinstance(stage.micro_batches(0)[0], AnswerBatch)


def test_no_answer_comes_back_to_its_own_prompt(store: Store) -> None:
    """Not even where most of a step's answers are to one prompt."""
    _, stage = stage_of(store)
    first = stage._all[0]
    three = [replace(first, desirable=good) for good in (True, False, True)]
    other = next(one for one in stage._all if one.prompt != first.prompt)
    stage._all = [*three, other]
    prompts = [row.ids[: row.start].tobytes() for row in stage.mismatched([0, 1, 2, 3])]
    answers = [row.ids[row.start :].tobytes() for row in stage.mismatched([0, 1, 2, 3])]
    assert sorted(prompts) == sorted([first.prompt, other.prompt])
    for prompt, answer in zip(prompts, answers, strict=True):
        whose = other if prompt == first.prompt else first
        assert answer == whose.row.ids[whose.row.start :].tobytes()


def test_comparisons_are_taken_apart() -> None:
    asked = [{"role": "user", "content": "fox?"}]
    found = taken_apart(
        [
            Comparison(asked, ["a", "b"], [1, 0]),
            Comparison(asked, ["a", "b", "c"], [0, 1, 2]),
            Comparison(asked, ["a", "b"], [0, 0]),
            Comparison(asked, ["a", "b"], [0, 1], probability=0.8),
        ]
    )
    assert [(one.answer, one.label) for one in found] == [
        ("a", False), ("b", True), ("a", True), ("c", False), ("a", True), ("b", False)
    ]  # fmt: skip


def test_comparisons_are_learnt_from_and_judged_answers_by_kto_alone(
    store: Store, recipe: str, judged: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw = random.Random(4)
    lines = [
        {
            "messages": [{"role": "user", "content": " ".join(draw.choices(WORDS, k=4))}],
            "answers": ["a quick fox", "the lazy dog"],
            "ranks": [0, 1],
        }
        for _ in range(30)
    ]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, lines)))
    given = {"data": str(tmp_path / "pairs.jsonl"), "steps": 1}
    dpo(recipe, name="apart", store=store, **given)
    assert "30 comparisons are taken apart" in capsys.readouterr().err
    with pytest.raises(BadInput, match="kind judged") as caught:
        dpo(recipe, name="no", store=store, data=judged, steps=1, loss="sigmoid")
    assert "loss=kto" in str(caught.value.remedy)


def test_what_cannot_be(store: Store, recipe: str, judged: str, tmp_path: Path) -> None:
    for changed, message in (
        ({"label_smoothing": 0.1}, "kto has no label_smoothing"),
        ({"loss": "ipo", "desirable_weight": 2.0}, "ipo has no desirable_weight"),
        ({"loss": "sigmoid", "undesirable_weight": 2.0}, "sigmoid has no undesirable_weight"),
    ):
        with pytest.raises(BadSettings, match=message):
            dpo(recipe, name="x", store=store, **{"data": judged, "steps": 1} | changed)

    def lines(prompt: str, *answers: str) -> list[str]:
        asked = [{"role": "user", "content": prompt}]
        said = [[{"role": "assistant", "content": answer}] for answer in answers]
        rows = [{"prompt": asked, "completion": one, "label": True} for one in said]
        return list(map(json.dumps, rows))

    path = tmp_path / "one.jsonl"
    path.write_text("\n".join(lines("fox", *WORDS)))
    with pytest.raises(BadInput, match="0 is left to learn from"):
        dpo(recipe, name="y", store=store, data=str(path), steps=1)
    many = lines("old old", *(f"{one} {other}" for one in WORDS for other in WORDS))
    path.write_text("\n".join([*many, *(line for word in WORDS for line in lines(word, "fox"))]))
    given = {"data": str(path), "steps": 9, "tokens_per_step": 64, "validation_fraction": 0.4}
    with pytest.raises(BadSettings, match="answers to one prompt alone"):
        dpo(recipe, name="z", store=store, **given)
