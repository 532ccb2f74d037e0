"""Learning from rewards: what the rollouts are, what is learnt from them, where a run goes on."""

from __future__ import annotations

import json
import os
import random
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import langwright as lw
from langwright.errors import BadInput, BadSettings
from langwright.evaluation.rewards import Asked, Combined, Length
from langwright.model import LoRASettings, load_model
from langwright.model.reward import load_reward
from langwright.store import Store
from langwright.training import grpo, ppo, pretrain, reward
from langwright.training.conversations import lessons
from langwright.training.conversations.opened import FILE
from langwright.training.epochs import Epochs
from langwright.training.learned_reward import Learned
from langwright.training.learner import Learner
from langwright.training.objectives import gae, token_rewards, whiten
from langwright.training.rollout import draw, logprobs_of
from langwright.training.stages.policy import PolicyStage
from langwright.training.stages.ppo import PPO, PPOSettings
from langwright.training.trained import TrainedAdapter, TrainedDecoder, as_reference
from langwright.training.transcripts import FILE as TRANSCRIPTS
from langwright.training.tuning import begin

pytestmark = pytest.mark.usefixtures("one_thread")

MINI = str(Path(__file__).parent.parent / "mini.toml")
WORDS = ["fox", "dog", "sees", "finds", "lazy", "quick", "old", "new"]
# To speak of a fox twice is worth 1.
FOX = {
    "name": "fox",
    "rule": {"kind": "graded", "grader": {"kind": "regex", "pattern": r"\bfox\b.*\bfox\b"}},
}
LOOP: dict[str, Any] = {
    "model": "base", "context_length": 64, "micro_batch_tokens": 1024, "warmup_steps": 1,
    "eval_every": 99, "validation_fraction": 0.2, "max_tokens": 12, "rewards": [FOX],
    "learning_rate": 8e-3, "weight_decay": 0.0, "prompts_per_rollout": 8,
}  # fmt: skip


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("recipe") / "reward.toml"
    path.write_text("[grpo]\n\n[ppo]\n\n[reward]\n")
    return str(path)


@pytest.fixture(scope="module")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("prompts") / "prompts.jsonl"
    draw = random.Random(3)
    lines = [{"prompt": " ".join(draw.choices(WORDS, k=4)), "number": n} for n in range(30)]
    path.write_text("\n".join(map(json.dumps, lines)))
    return str(path)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, words: str) -> Store:
    store = Store(tmp_path_factory.mktemp("home"))
    pretrain(MINI, name="base", store=store, corpus=words, steps=120, eval_every=120)
    return store


def lines_of(store: Store, name: str, key: str = "loss") -> list[dict[str, Any]]:
    return [line for line in store.run(name).read_metrics() if key in line]


@pytest.mark.parametrize(
    "algorithm",
    [
        "grpo",
        "rloo",
        pytest.param("dr_grpo", marks=pytest.mark.slow),
        pytest.param("dapo", marks=pytest.mark.slow),
    ],
)
def test_what_is_rewarded_is_said_more_often(
    store: Store, recipe: str, prompts: str, algorithm: str
) -> None:
    given = LOOP | {"data": prompts, "steps": 6, "checkpoint_every": 6, "algorithm": algorithm}
    done = grpo(recipe, name=algorithm, store=store, **given)
    rewards = [line["reward"] for line in lines_of(store, algorithm, "reward")]
    assert rewards[-1] > rewards[0] + 0.25
    first = lines_of(store, algorithm)[0]
    # The first pass over a rollout is by the policy that drew it.
    assert first["ratio"] == pytest.approx(1, abs=1e-5)
    assert first["clip_fraction"] == 0
    assert first["kl"] == 0
    assert first["engine_apart"] < 1e-4
    assert done["metrics"]["val_reward"] > 0.3
    kept = (store.run(algorithm).folder / TRANSCRIPTS).read_text().splitlines()
    assert [json.loads(line)["rollout"] for line in kept[::64]] == [0, 1, 2, 2, 3, 4, 5]
    told = json.loads(kept[0])
    assert set(told) == {"rollout", "messages", "answer", "ended", "reward", "rewards", "kl"}


@pytest.mark.parametrize("method", ["full", "lora"])
def test_ppo_learns_with_a_model_of_the_value(
    store: Store, recipe: str, prompts: str, method: str
) -> None:
    steps = {"full": 24, "lora": 8}[method]
    given = LOOP | {"data": prompts, "steps": steps, "checkpoint_every": steps, "group_size": 4}
    given |= {"epochs": 2, "minibatches": 2, "beta": 0.01, "method": method}
    given |= {"value_weight": 0.5, "learning_rate": 4e-3}
    done = ppo(recipe, name=f"ppo-{method}", store=store, **given)
    told = lines_of(store, f"ppo-{method}", "reward")
    assert told[-1]["kl"] > 0.05
    assert method == "lora" or told[-1]["reward"] > told[0]["reward"] + 0.2
    first = lines_of(store, f"ppo-{method}")[0]
    assert first["ratio"] == pytest.approx(1, abs=1e-5)
    assert first["clip_fraction"] == 0
    assert done["model"] == {"full": "ppo-full", "lora": "base+ppo-lora"}[method]
    assert lw.load(done["model"], store=store).generate("fox", max_tokens=3).text is not None


def test_a_run_goes_on_from_the_edge_of_a_rollout(
    store: Store, recipe: str, prompts: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted in the middle of one, it ends with the bits of a run that was not; the adaptive
    price of the divergence goes on where it was."""
    given = LOOP | {"data": prompts, "steps": 12, "checkpoint_every": 4, "group_size": 2}
    given |= {"epochs": 2, "minibatches": 2, "kl_target": 0.5, "kl_horizon": 20, "beta": 0.1}
    whole = ppo(recipe, name="whole", store=store, **given)
    plain, seen = PolicyStage._watch, []

    def interrupted(self: PPO, *tensors: Any) -> None:
        seen.append(None)
        if len(seen) == 6:  # the second step of the second rollout
            os.kill(os.getpid(), signal.SIGINT)
        plain(self, *tensors)

    with monkeypatch.context() as patched:
        patched.setattr(PolicyStage, "_watch", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ppo(recipe, name="broken", store=store, **given)
    done = ppo(recipe, name="broken", store=store, **given)
    assert done["resumed_from_step"] in (4, 8)
    assert done["weights_sha256"] == whole["weights_sha256"]
    betas = [
        [line["beta"] for line in lines_of(store, name, "beta")] for name in ("whole", "broken")
    ]
    assert betas[0] == betas[1]
    assert len(set(betas[0])) > 1


def test_a_run_ends_where_its_answers_are_too_far_from_the_reference(
    store: Store, recipe: str, prompts: str
) -> None:
    given = LOOP | {"data": prompts, "steps": 40, "checkpoint_every": 40, "max_kl": 0.5}
    given |= {"learning_rate": 1e-2, "group_size": 4}
    done = grpo(recipe, name="far", store=store, **given)
    assert done["steps"] < 40
    kls = [line["kl"] for line in lines_of(store, "far", "kl")]
    assert kls[-1] > 0.5 >= max(kls[:-1])


# What is learnt from: foxes, at least one and better three. What is meant: exactly one.
CHEATED: list[dict[str, Any]] = [
    {"name": name, "weight": weight}
    | {"rule": {"kind": "graded", "grader": {"kind": "regex", "pattern": pattern}}}
    for name, weight, pattern in (
        ("some", 0.5, r"\bfox\b"),
        ("many", 0.5, r"\bfox\b(.*\bfox\b){2}"),
        ("one", 0.0, r"^(?!.*\bfox\b.*\bfox\b).*\bfox\b"),
    )
]  # fmt: skip
WATCHED = LOOP | {
    "rewards": CHEATED, "steps": 40, "checkpoint_every": 4, "eval_every": 2, "gold": "one",
    "validation_fraction": 0.5, "learning_rate": 5e-3,
}  # fmt: skip


@pytest.fixture(scope="module")
def many_prompts(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("prompts") / "many.jsonl"
    draw = random.Random(4)
    lines = [{"prompt": " ".join(draw.choices(WORDS, k=4)), "number": n} for n in range(100)]
    path.write_text("\n".join(map(json.dumps, lines)))
    return str(path)


@pytest.fixture(scope="module")
def watched(store: Store, recipe: str, many_prompts: str) -> dict[str, Any]:
    return grpo(recipe, name="watched", store=store, data=many_prompts, **WATCHED)


def test_a_run_ends_where_what_is_meant_falls_and_leaves_its_best_weights(
    store: Store, watched: dict[str, Any]
) -> None:
    seen = lines_of(store, "watched", "val_loss")
    gold = {line["step"]: line["val_reward_one"] for line in seen}
    best = watched["metrics"]["best_step"]
    assert gold[best] == max(gold.values())
    assert best < watched["steps"] < WATCHED["steps"]
    # The stand-in rose until the end.
    last, then = seen[-1], next(line for line in seen if line["step"] == best)
    assert last["val_reward"] > then["val_reward"]
    assert last["val_reward_one"] < then["val_reward_one"] - 0.1
    # The model is that of the best evaluation: its answers to the same prompts earn the same.
    assert watched["metrics"]["val_reward_one"] == pytest.approx(gold[best], abs=1e-9)
    ours, stored = (
        load_model(store.path(store.get("watched"))),
        load_model(store.run("watched").checkpoints / f"step-{best:08d}" / "model"),
    )
    for name, held in ours.module.state_dict().items():
        assert torch.equal(held, stored.module.state_dict()[name])


@pytest.mark.parametrize("where", ["evaluated", "a step later", "the end"])
def test_a_watched_run_that_is_killed_ends_as_one_that_is_not(
    store: Store, recipe: str, many_prompts: str, watched: dict[str, Any], where: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Between an evaluation and its line, a step behind it, and between the stop and the model."""
    evaluated, evaluate, rolled = (
        PolicyStage.evaluated, PolicyStage.evaluate, PolicyStage._rolled,
    )  # fmt: skip
    best = watched["metrics"]["best_step"]

    def killed_evaluated(self: PolicyStage, step: int) -> None:
        evaluated(self, step)
        if where == "evaluated" and step == best + 2:
            raise KeyboardInterrupt

    def killed_evaluate(self: PolicyStage, module: Any, whole: bool) -> dict[str, float]:
        if where == "the end" and whole:
            raise KeyboardInterrupt
        return evaluate(self, module, whole)

    def killed_rolled(self: PolicyStage, number: int) -> Any:
        if where == "a step later" and number == best + 1:
            raise KeyboardInterrupt
        return rolled(self, number)

    name = "killed-" + where.replace(" ", "-")
    with monkeypatch.context() as patched:
        patched.setattr(PolicyStage, "evaluated", killed_evaluated)
        patched.setattr(PolicyStage, "evaluate", killed_evaluate)
        patched.setattr(PolicyStage, "_rolled", killed_rolled)
        with pytest.raises(KeyboardInterrupt):
            grpo(recipe, name=name, store=store, data=many_prompts, **WATCHED)
    done = grpo(recipe, name=name, store=store, data=many_prompts, **WATCHED)
    assert done["weights_sha256"] == watched["weights_sha256"]
    assert done["steps"] == watched["steps"]
    assert done["metrics"]["best_step"] == best
    told = [
        [(line["step"], line["val_reward_one"]) for line in lines_of(store, one, "val_loss")]
        for one in ("watched", name)
    ]
    assert told[0] == told[1]


def test_the_adapter_is_the_policy_and_the_base_the_reference(
    store: Store, recipe: str, prompts: str
) -> None:
    given = LOOP | {"data": prompts, "steps": 6, "checkpoint_every": 6, "method": "lora"}
    given |= {"rank": 4, "beta": 0.1, "learning_rate": 1e-2}
    done = grpo(recipe, name="thin", store=store, **given)
    told = lines_of(store, "thin", "kl")
    assert done["model"] == "base+thin"
    assert told[0]["kl"] == pytest.approx(0, abs=1e-5)
    assert told[-1]["kl"] > 1e-3
    assert all(line["engine_apart"] < 1e-4 for line in told)


def test_the_log_probabilities_of_engine_and_trainer_are_the_same(store: Store) -> None:
    """Of all weights, of an adapter put into the weights to draw, and at another temperature."""
    bundle = load_model(store.path(store.get("base")))
    trained = TrainedDecoder(bundle)
    prompts = [[{"role": "user", "content": " ".join(WORDS[n : n + 3])}] for n in range(4)]
    for heat in (1.0, 0.7):
        drawn = draw(trained, prompts, 3, max_tokens=10, temperature=heat, seed=5)
        rows = [one.row for group in drawn for one in group]
        own = logprobs_of(trained, rows, 4096, heat)
        for one, values in zip((one for group in drawn for one in group), own, strict=True):
            torch.testing.assert_close(
                torch.from_numpy(one.logprobs).float(), values, rtol=0, atol=1e-5
            )
            assert one.row.size == len(values)
    adapter = TrainedAdapter.fresh(bundle, LoRASettings(rank=4), "base", 0)
    for parameter in adapter.learnt.values():
        parameter.data.normal_(0, 0.05, generator=torch.Generator().manual_seed(1))
    before = {name: held.clone() for name, held in bundle.module.named_parameters()}
    drawn = draw(adapter, prompts, 2, max_tokens=10, temperature=1.0, seed=6)
    after = dict(bundle.module.named_parameters())
    assert all(torch.equal(after[name], held) for name, held in before.items())
    rows = [one.row for group in drawn for one in group]
    own = logprobs_of(adapter, rows, 4096, 1.0)
    bare = logprobs_of(adapter, rows, 4096, 1.0, without_adapter=True)
    for one, values, other in zip(
        (one for group in drawn for one in group), own, bare, strict=True
    ):
        drawn_by = torch.from_numpy(one.logprobs).float()
        torch.testing.assert_close(drawn_by, values, rtol=0, atol=2e-5)
        assert float((drawn_by - other).abs().max()) > 1e-3


def test_the_value_is_read_where_the_token_is_chosen_and_the_score_at_the_last(
    store: Store, recipe: str, prompts: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The advantages of a rollout, from their definition: the score counts at an answer's last
    token, the divergence at each, nothing of the prompt counts, the end token does."""
    seen: dict[str, Any] = {}
    plain = PPO._weigh

    def kept(self: PPO, rollout: Any) -> None:
        plain(self, rollout)
        values, advantages = self._values, self._advantages
        seen.setdefault("all", (rollout, list(values), list(advantages), self._critic.module))

    monkeypatch.setattr(PPO, "_weigh", kept)
    given = LOOP | {"data": prompts, "steps": 1, "checkpoint_every": 1, "epochs": 1}
    given |= {"unended_penalty": 2.0, "learning_rate": 1e-9, "beta": 0.3}
    ppo(recipe, name="looked", store=store, **given)
    rollout, values, advantages, critic = seen["all"]
    raw = []
    for answer, old, reference, expected, score in zip(
        rollout.answers, rollout.old, rollout.reference, values, rollout.rewards, strict=True
    ):
        ids = torch.from_numpy(answer.row.ids)[None]
        every = critic.values(ids)[0].detach()
        own = every[answer.row.start - 1 : len(answer.row.ids) - 1]
        torch.testing.assert_close(own, expected, rtol=1e-4, atol=1e-5)
        mask = torch.ones(1, len(old), dtype=torch.bool)
        rewards = token_rewards(score[None], (old - reference)[None], mask, 0.3)
        raw.append(gae(rewards, expected[None], mask)[0][0])
        fox = float(answer.text.split().count("fox") > 1)
        assert float(score) == pytest.approx(fox - (0 if answer.ended else 2.0))
    together = torch.cat(raw)[None]
    whitened = whiten(together, torch.ones_like(together, dtype=torch.bool))[0]
    torch.testing.assert_close(torch.cat(advantages), whitened, rtol=1e-3, atol=1e-4)


def test_the_value_begins_as_the_reward_model(
    store: Store, recipe: str, prompts: str, tmp_path: Path
) -> None:
    lines = [
        {
            "messages": [{"role": "user", "content": f"{one} {other}"}],
            "answers": ["a quick fox", "the lazy dog"],
            "ranks": [0, 1],
        }
        for one in WORDS
        for other in WORDS[:4]
    ]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, lines)))
    loop = {"context_length": 64, "tokens_per_step": 512, "micro_batch_tokens": 512, "steps": 6}
    loop |= {"learning_rate": 1e-3, "warmup_steps": 1, "eval_every": 6, "model": "base"}
    reward(recipe, name="judge", store=store, data=str(tmp_path / "pairs.jsonl"), **loop,
           validation_fraction=0.2)  # fmt: skip
    learned = {"name": "judge", "model": "judge", "weight": 0.5}
    given = LOOP | {"data": prompts, "steps": 2, "checkpoint_every": 2, "epochs": 1}
    done = ppo(recipe, name="judged", store=store, **given | {"rewards": [FOX, learned]})
    assert {store.get(one).name for one in store.run("judged").parents} >= {"base", "judge"}
    first = lines_of(store, "judged", "reward")[0]
    total = first["reward_fox"] + 0.5 * first["reward_judge"]
    assert first["reward"] == pytest.approx(total, abs=1e-5)
    assert done["steps"] == 2
    held = load_reward(store.path(store.get("judge")))
    asked = Asked([{"role": "user", "content": "fox " * 300}], "dog", {})
    with pytest.raises(BadInput, match=r"has \d{3,} tokens; the reward model reads 128"):
        Learned(held).each([asked])
    wrong = {"name": "x", "model": "base"}
    with pytest.raises(BadInput, match="no reward model"):
        ppo(recipe, name="wrong", store=store, **given | {"rewards": [wrong]})


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("talk") / "talk.jsonl"
    draw = random.Random(5)
    lines = [
        [
            {"role": "user", "content": " ".join(draw.choices(WORDS, k=3))},
            {"role": "assistant", "content": " ".join(draw.choices(WORDS, k=draw.randint(1, 12)))},
        ]
        for _ in range(40)
    ]
    path.write_text("\n".join(json.dumps({"messages": line}) for line in lines))
    return str(path)


@pytest.mark.parametrize("method", ["full", "lora"])
def test_what_is_remembered_weighs_as_a_mean_over_its_own_tokens(
    store: Store,
    recipe: str,
    prompts: str,
    talk: str,
    method: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where the rewards teach nothing, the gradient of a whole step is `pretraining_weight` times
    that of the mean nats of the conversations' learnt tokens, whatever the micro-batches."""
    seen: list[dict[str, torch.Tensor]] = []
    plain = Learner.clip

    def looked(self: Learner[Any]) -> torch.Tensor:
        held = {name: weight.grad for name, weight in self.masters.weights.items()}
        seen.append({name: one.clone() for name, one in held.items() if one is not None})
        return plain(self)

    monkeypatch.setattr(Learner, "clip", looked)
    # All answers are worth nothing, and the value, which begins at 0, expects just that.
    nothing = {"name": "nothing", "rule": FOX["rule"], "weight": 0.0}
    given = LOOP | {"data": prompts, "steps": 1, "checkpoint_every": 1, "epochs": 1, "beta": 0.0}
    given |= {"rewards": [nothing], "learning_rate": 1e-9, "method": method, "group_size": 2}
    given |= {"pretraining_data": talk, "pretraining_weight": 0.3, "pretraining_tokens": 300}
    for width in (64, 1024):
        name = f"remembering-{method}-{width}"
        ppo(recipe, name=name, store=store, **given | {"micro_batch_tokens": width})
    for name, gradient in seen[0].items():
        torch.testing.assert_close(gradient, seen[1][name], rtol=1e-4, atol=1e-6)

    settings = PPOSettings.build(given)
    _, trained = begin(settings, store.get("base"), store)
    assert isinstance(trained, TrainedAdapter if method == "lora" else TrainedDecoder)
    template = trained.bundle.template
    assert template is not None
    rows = lessons(template, store.path(store.get("conversations-talk")) / FILE, 64).rows
    chosen = Epochs([len(row.ids) for row in rows], 300, settings.seed).step(0)
    trained.module.requires_grad_(False)
    for weight in trained.learnt.values():
        weight.requires_grad_(True)
    nats, count = torch.zeros(()), 0
    for row in (rows[number] for number in chosen):
        ids = torch.from_numpy(row.ids)[None]
        every = trained.module(ids[:, :-1]).log_softmax(-1)[0]
        for place in np.flatnonzero(row.learn[1:]):
            nats, count = nats - every[place, ids[0, place + 1]], count + 1
    (0.3 * nats / count).backward()
    for name, weight in trained.learnt.items():
        expected = torch.zeros_like(weight) if weight.grad is None else weight.grad
        torch.testing.assert_close(seen[1][f"policy.{name}"], expected, rtol=1e-4, atol=1e-6)
    line = lines_of(store, f"remembering-{method}-64")[0]
    assert line["pretraining_loss"] == pytest.approx(float(nats.detach()) / count, rel=1e-5)
    parents = {store.get(one).name for one in store.run(f"remembering-{method}-64").parents}
    assert "conversations-talk" in parents


def test_a_run_that_remembers_goes_on_with_the_same_bits(
    store: Store, recipe: str, prompts: str, talk: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = LOOP | {"data": prompts, "steps": 6, "checkpoint_every": 2, "epochs": 2}
    given |= {"pretraining_data": talk, "pretraining_tokens": 200, "prompts_per_rollout": 4}
    whole = ppo(recipe, name="whole-ptx", store=store, **given)
    plain = PPO.micro_batches

    def interrupted(self: PPO, step: int) -> Any:
        if step == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return plain(self, step)

    with monkeypatch.context() as patched:
        patched.setattr(PPO, "micro_batches", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ppo(recipe, name="broken-ptx", store=store, **given)
    done = ppo(recipe, name="broken-ptx", store=store, **given)
    assert 0 < done["resumed_from_step"] < 6
    assert done["weights_sha256"] == whole["weights_sha256"]
    told = [
        [line["pretraining_loss"] for line in lines_of(store, name)]
        for name in ("whole-ptx", "broken-ptx")
    ]
    assert told[0] == told[1]
    assert len(set(told[0])) == 6


def test_settings_that_cannot_be(recipe: str, store: Store, prompts: str) -> None:
    given = LOOP | {"data": prompts, "steps": 4}
    for changed, message in (
        ({"checkpoint_every": 3, "epochs": 2}, "multiple of epochs"),
        ({"group_size": 1}, "compared in their group"),
        ({"max_tokens": 64}, "must hold a prompt"),
        ({"rewards": [{"name": "x"}]}, "exactly one of rule, model and judge"),
        ({"method": "lora", "lora_dropout": 0.1}, "without lora_dropout"),
        ({"gold": "right"}, "gold must be one of the rewards: fox"),
        ({"gold": "fox", "minibatches": 2, "eval_every": 3}, "eval_every must be a multiple"),
        ({"gold": "fox", "guard": True}, "gold goes without the guard"),
    ):
        with pytest.raises(BadSettings, match=message):
            grpo(recipe, name="x", store=store, **given | changed)
    with pytest.raises(BadSettings, match="kl_horizon is of no use"):
        ppo(recipe, name="x", store=store, **given, kl_horizon=5)
    with pytest.raises(BadSettings, match="pretraining_weight is of no use"):
        ppo(recipe, name="x", store=store, **given, pretraining_weight=5)


def test_rewards_add_up_with_their_weights() -> None:
    long = Length(most=2, slack=2)
    both = Combined({"one": (1.0, long), "two": (-0.5, long)})
    assert both([], "a b c", {}) == pytest.approx(0.5 * 0.5)


def test_a_reference_in_half_precision_is_the_policy_to_the_bit(store: Store) -> None:
    """Its rotary angles are not rounded with its weights, which `module.to` would do: then the two
    differed before the first step."""
    half = load_model(store.path(store.get("base"))).module
    for weight in half.parameters():
        weight.data = weight.data.bfloat16()
    reference = load_model(store.path(store.get("base"))).module
    as_reference(reference, half)
    ids_BT = torch.arange(60).remainder(50)[None]
    with torch.no_grad():
        assert torch.equal(reference(ids_BT), half(ids_BT))
        assert not torch.equal(reference.to(torch.bfloat16)(ids_BT), half(ids_BT))
