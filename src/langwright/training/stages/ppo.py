"""Proximal policy optimisation as InstructGPT has it (Schulman et al. 2017; Ouyang et al. 2022).

The order of things, and what is easily done wrong, is that of "The N+ implementation details of
RLHF with PPO" (Huang et al. 2024, arXiv 2403.17031).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from langwright.model import load_model
from langwright.model.reward import RewardBundle, load_reward
from langwright.store import Artifact, Run, Store
from langwright.training.actor import ActorCritic, TrainedActor
from langwright.training.answers import AnswerBatch, gather_answers
from langwright.training.batch import next_token_loss
from langwright.training.conversations import open_conversations
from langwright.training.learned_reward import open_rewards, reward_models
from langwright.training.objectives import (
    adapt_beta,
    clipped_surrogate,
    clipped_value_loss,
    gae,
    k1,
    token_rewards,
    whiten,
)
from langwright.training.policy_settings import PolicySettings
from langwright.training.prompt_data import open_prompts, prompt_rows
from langwright.training.ranks import join
from langwright.training.recipe import read_recipe
from langwright.training.remembered import Remembered, RememberedBatch
from langwright.training.run_stage import Result, run_stage
from langwright.training.stages.policy import PolicyStage, Rollout
from langwright.training.start import open_start
from langwright.training.tuning import begin, require_alone


class PPOSettings(PolicySettings):
    """`critic` is a reward model of the store that the value begins as; None: the first of
    `rewards` that is one, else the policy's weights with a fresh head.

    Each token costs `beta` for each nat that the policy lies above the reference; with `kl_target`
    (nats of an answer) beta is moved towards it (Ziegler et al. 2019). `whiten_rewards` divides the
    rewards by their deviation; advantages are whitened always.

    With `pretraining_data`, conversations as `sft` takes them, each step also learns at least
    `pretraining_tokens` tokens of these: `pretraining_weight` times the mean nats of a token that
    fine-tuning would learn is added to the loss (PPO-ptx).
    """

    critic: str | None = None
    epochs: int = Field(4, ge=1)
    group_size: int = Field(1, ge=1, le=1024)
    prompts_per_rollout: int = Field(64, ge=1)
    beta: float = Field(0.05, ge=0, allow_inf_nan=False)
    kl_target: float | None = Field(None, gt=0)
    kl_horizon: int = Field(10_000, ge=1)
    gamma: float = Field(1.0, gt=0, le=1)
    lambda_: float = Field(0.95, ge=0, le=1)
    value_clip: float = Field(0.2, gt=0)
    value_weight: float = Field(0.1, ge=0)
    whiten_rewards: bool = False
    pretraining_data: str | None = None
    pretraining_weight: float = Field(1.0, gt=0, allow_inf_nan=False)
    pretraining_tokens: int = Field(2048, ge=1)
    adam_epsilon: float = Field(1e-5, gt=0)

    @model_validator(mode="after")
    def _adaptive(self) -> PPOSettings:
        unused = {"pretraining_weight", "pretraining_tokens"} & self.model_fields_set
        if self.pretraining_data is None and unused:
            raise ValueError(f"{min(unused)} is of no use without pretraining_data")
        if self.kl_target is None and "kl_horizon" in self.model_fields_set:
            raise ValueError("kl_horizon is of no use without kl_target")
        return self


def ppo(
    recipe: str, *, name: str | None = None, store: Store | None = None, **settings: object
) -> Result:
    """Train a model on rewards of its own answers, with a model of their value."""
    store = store or Store()
    chosen = PPOSettings.build(read_recipe(recipe, "ppo", settings))
    name = name or recipe.rpartition("/")[2].removesuffix(".toml")
    ranks = join(chosen)
    require_alone("ppo", ranks.size)
    base = open_start(chosen.model, store)
    data = open_prompts(chosen.data, store)
    judges = reward_models(chosen.rewards, store)
    critic = store.get(chosen.critic) if chosen.critic is not None else None
    beside = None
    if chosen.pretraining_data is not None:
        beside = open_conversations(chosen.pretraining_data, store)
    named = [base, data, *judges, *(one for one in (critic, beside) if one is not None)]
    parents = list({one.digest: one for one in named}.values())
    begins_as = critic or next(iter(judges), None)

    def prepare(working: PPOSettings) -> tuple[TrainedActor, PPO]:
        bundle, policy = begin(working, base, store)
        trained = TrainedActor(policy, _critic(working, base, begins_as, store))
        reference = None if working.method == "lora" else load_model(store.path(base)).module
        room = working.context_length - working.max_tokens
        prompts = prompt_rows(data, store, bundle.text, room)
        rewards = open_rewards(working.rewards, store)
        remembered = None
        if beside is not None:
            remembered = Remembered.open(
                beside,
                store,
                bundle.text,
                working.context_length,
                working.pretraining_weight,
                working.pretraining_tokens,
                working.seed,
            )
        return trained, PPO(working, trained, reference, prompts, rewards, remembered)

    return run_stage(store.run(name), chosen, parents, store, prepare, ranks)


def _critic(
    settings: PPOSettings, base: Artifact, begins_as: Artifact | None, store: Store
) -> RewardBundle:
    if begins_as is not None:
        return load_reward(store.path(begins_as))
    fresh = RewardBundle.on(load_model(store.path(base)), settings.seed)
    # It expects nothing at first: what a drawn head expects would be learnt as if it were true.
    fresh.module.score.weight.zero_()
    return fresh


class PPO(PolicyStage):
    """Each token against what was expected where it was said."""

    name = "ppo"
    unit = "tokens"
    _settings: PPOSettings

    def __init__(
        self,
        settings: PPOSettings,
        trained: TrainedActor,
        reference: nn.Module | None,
        prompts: Sequence[Any],
        rewards: Any,
        remembered: Remembered | None = None,
    ) -> None:
        super().__init__(settings, trained.policy, reference, prompts, rewards)
        self._remembered = remembered
        self._critic = trained.critic
        self._beta = settings.beta
        self._values: list[Tensor] = []
        self._advantages: list[Tensor] = []
        self._returns: list[Tensor] = []

    def begin(self, module: nn.Module, run: Run, fresh: bool) -> None:
        super().begin(module, run, fresh)
        for line in run.read_metrics():
            if "beta" in line:
                self._adapt(line["beta"], line["kl"])

    def micro_batches(self, step: int) -> Sequence[Any]:
        batches = super().micro_batches(step)
        if self._remembered is None:
            return batches
        units = sum(batch.units for batch in batches)
        width = self._settings.micro_batch_tokens
        return [*batches, *self._remembered.batches(step, units, width)]

    def _adapt(self, beta: float, kl: float) -> None:
        settings = self._settings
        self._beta = beta
        if settings.kl_target is not None:
            count = settings.prompts_per_rollout * settings.group_size
            self._beta = adapt_beta(beta, kl, settings.kl_target, count, settings.kl_horizon)

    def _weigh(self, rollout: Rollout) -> None:
        settings = self._settings
        rows = [answer.row for answer in rollout.answers]
        everything = AnswerBatch.of(rows, len(rows))
        values = self._valued(rollout)
        tables = (rollout.old, rollout.reference, values)
        old_BA, reference_BA, values_BA = (everything.spread(torch.cat(one)) for one in tables)
        mask_BA = everything.mask_BA
        beta = self._beta
        rewards_BA = token_rewards(rollout.rewards, k1(old_BA, reference_BA), mask_BA, beta)
        if settings.whiten_rewards:
            rewards_BA = whiten(rewards_BA, mask_BA, shift_mean=False)
        advantages_BA, returns_BA = gae(
            rewards_BA, values_BA, mask_BA, settings.gamma, settings.lambda_
        )
        advantages_BA = whiten(advantages_BA, mask_BA)
        self._values = values
        self._advantages, self._returns = (
            list(table[mask_BA].split(everything.sizes)) for table in (advantages_BA, returns_BA)
        )
        self._fresh["beta"] = beta
        self._fresh["value_explained"] = _explained(values_BA[mask_BA], returns_BA[mask_BA])
        self._adapt(beta, self._fresh["kl"])

    @torch.no_grad()
    def _valued(self, rollout: Rollout) -> list[Tensor]:
        """What the critic expects before each token of each answer, [A]."""
        critic = self._critic.module.eval()
        found = [torch.empty(0)] * len(rollout.answers)
        groups = [[answer.row] for answer in rollout.answers]
        width = self._settings.micro_batch_tokens
        for chosen, rows in gather_answers(groups, list(range(len(groups))), width):
            batch = AnswerBatch.of(rows, len(rows), chosen).to(critic.device)
            values_N = critic.values(batch.ids_BT).flatten()[batch.places_N].cpu()
            for number, values in zip(chosen, values_N.split(batch.sizes), strict=True):
                found[number] = values
        critic.train()
        return found

    def _units(self, rows: Sequence[Any]) -> int:
        return sum(row.size for row in rows)

    def loss(self, module: ActorCritic, batch: AnswerBatch | RememberedBatch) -> Tensor:
        if isinstance(batch, RememberedBatch):
            nats = next_token_loss(module.policy, batch.rows)
            self._add({"pretraining_loss": float(nats.detach())}, batch.rows.units)
            return batch.scale * nats
        settings, rollout = self._settings, self._rollout
        assert rollout is not None
        device = batch.ids_BT.device
        policy_N, entropy_N = module.policy.logprobs(
            batch.ids_BT, batch.tokens_BT, batch.places_N, settings.temperature, self._words
        )
        values_N = module.critic.values(batch.ids_BT).flatten()[batch.places_N]
        old_N, advantages_N, values_before_N, returns_N = (
            torch.cat([table[one] for one in batch.numbers]).to(device)
            for table in (rollout.old, self._advantages, self._values, self._returns)
        )
        low, high = settings.clip_low, settings.clip_high
        policy_losses_N = clipped_surrogate(policy_N, old_N, advantages_N, low, high)
        value_losses_N = clipped_value_loss(
            values_N, values_before_N, returns_N, settings.value_clip
        )
        self._watch(batch, *map(batch.spread, (policy_N, old_N, advantages_N)))
        told = {"entropy": entropy_N, "value_loss": value_losses_N, "policy_loss": policy_losses_N}
        self._add({key: float(each.detach().sum()) for key, each in told.items()}, sum(batch.sizes))
        return (policy_losses_N + settings.value_weight * value_losses_N).sum()


def _explained(values: Tensor, returns: Tensor) -> float:
    """The share of the returns' variance that the values foretell."""
    variance = float(returns.var())
    return 1 - float((returns - values).var()) / variance if variance > 0 else 0.0
