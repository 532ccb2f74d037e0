"""Reinforcement learning without a value model: GRPO, Dr. GRPO, DAPO and RLOO."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from langwright.model import Decoder, load_model
from langwright.store import Store
from langwright.training.answers import AnswerBatch
from langwright.training.learned_reward import open_rewards, reward_models
from langwright.training.objectives import (
    Reduction,
    clipped_surrogate,
    dr_grpo_advantages,
    grpo_advantages,
    informative,
    k2,
    rloo_advantages,
    token_weights,
)
from langwright.training.policy_settings import PolicySettings
from langwright.training.prompt_data import open_prompts, prompt_rows
from langwright.training.ranks import join
from langwright.training.recipe import read_recipe
from langwright.training.run_stage import Result, run_stage
from langwright.training.stages.policy import PolicyStage, Rollout
from langwright.training.start import open_start
from langwright.training.trained import Model
from langwright.training.tuning import begin, require_alone

_REDUCTIONS: dict[str, Reduction] = {
    "grpo": "sequence_mean",
    "dr_grpo": "constant",
    "dapo": "token_mean",
    "rloo": "sequence_sum",
}


class GRPOSettings(PolicySettings):
    """`algorithm` says how an answer's advantage comes of its group's rewards, and how tokens add
    up (see `langwright.training.objectives`): `grpo` divides by the deviation and takes the mean of
    answers' means (Shao et al. 2024); `dr_grpo` divides by neither deviation nor length (Liu et al.
    2025); `dapo` weighs all tokens alike and leaves groups of equal rewards out (Yu et al. 2025;
    its clip_high is 0.28); `rloo` compares with the other answers' mean (Ahmadian et al. 2024).

    `beta` is the price of a nat away from the reference: with `rloo` in the reward, else in the
    loss.
    """

    algorithm: Literal["grpo", "dr_grpo", "dapo", "rloo"] = "grpo"
    beta: float = Field(0.0, ge=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _grouped(self) -> GRPOSettings:
        if self.group_size < 2:
            raise ValueError("group_size must be at least 2: answers are compared in their group")
        return self


def grpo(
    recipe: str, *, name: str | None = None, store: Store | None = None, **settings: object
) -> Result:
    """Train a model on rewards of its own answers, compared in groups."""
    store = store or Store()
    chosen = GRPOSettings.build(read_recipe(recipe, "grpo", settings))
    name = name or recipe.rpartition("/")[2].removesuffix(".toml")
    ranks = join(chosen)
    require_alone("grpo", ranks.size)
    base = open_start(chosen.model, store)
    data = open_prompts(chosen.data, store)
    parents = [base, data, *reward_models(chosen.rewards, store)]

    def prepare(working: GRPOSettings) -> tuple[Model, GRPO]:
        bundle, trained = begin(working, base, store)
        reference = None if working.method == "lora" else load_model(store.path(base)).module
        prompts = prompt_rows(data, store, bundle.text, working.context_length - working.max_tokens)
        return trained, GRPO(
            working, trained, reference, prompts, open_rewards(working.rewards, store)
        )

    return run_stage(store.run(name), chosen, parents, store, prepare, ranks)


class GRPO(PolicyStage):
    """Each answer against the others of its group."""

    name = "grpo"
    _settings: GRPOSettings

    def __init__(
        self,
        settings: GRPOSettings,
        trained: Model,
        reference: nn.Module | None,
        prompts: Sequence[Any],
        rewards: Any,
    ) -> None:
        super().__init__(settings, trained, reference, prompts, rewards)
        token_mean = _REDUCTIONS[settings.algorithm] == "token_mean"
        self.unit = "tokens" if token_mean else "answers"
        self._advantages = torch.empty(0)
        self._taught = torch.empty(0, dtype=torch.bool)

    def _weigh(self, rollout: Rollout) -> None:
        settings = self._settings
        rewards = rollout.rewards
        if settings.algorithm == "rloo" and settings.beta:
            pairs = zip(rollout.old, rollout.reference, strict=True)
            kls = torch.stack([(policy - reference).sum() for policy, reference in pairs])
            rewards = rewards - settings.beta * kls
        rewards_NG = rewards.view(-1, settings.group_size)
        found = {
            "grpo": grpo_advantages,
            "dapo": grpo_advantages,
            "dr_grpo": dr_grpo_advantages,
            "rloo": rloo_advantages,
        }[settings.algorithm](rewards_NG)
        self._advantages = found.flatten()
        taught_N = informative(rewards_NG)
        self._taught = taught_N.repeat_interleave(settings.group_size)
        self._fresh["groups_alike"] = 1 - float(taught_N.float().mean())

    def _worthwhile(self, chosen: list[int]) -> list[int]:
        if self._settings.algorithm != "dapo":
            return chosen
        # Where none teaches anything their advantages are 0: a step that was left out would part
        # steps and rollouts.
        return [one for one in chosen if self._taught[one]] or chosen

    def _units(self, rows: Sequence[Any]) -> int:
        if _REDUCTIONS[self._settings.algorithm] == "token_mean":
            return sum(row.size for row in rows)
        return len(rows)

    def loss(self, module: Decoder, batch: AnswerBatch) -> Tensor:
        settings, rollout = self._settings, self._rollout
        assert rollout is not None
        numbers, device = list(batch.numbers), batch.ids_BT.device
        policy_N, entropy_N = batch.logprobs(module, settings.temperature, self._words)
        policy_BA = batch.spread(policy_N)
        old_BA = batch.spread(torch.cat([rollout.old[one] for one in numbers]).to(device))
        advantages_B1 = self._advantages[numbers].to(device)[:, None]
        losses_BA = clipped_surrogate(
            policy_BA, old_BA, advantages_B1, settings.clip_low, settings.clip_high
        )
        if settings.beta and settings.algorithm != "rloo":
            reference = torch.cat([rollout.reference[one] for one in numbers]).to(device)
            losses_BA = losses_BA + settings.beta * k2(policy_BA, batch.spread(reference))
        reduction = _REDUCTIONS[settings.algorithm]
        weights_BA = token_weights(batch.mask_BA, reduction, settings.max_tokens)
        self._watch(batch, policy_BA, old_BA, advantages_B1.expand_as(policy_BA))
        self._add({"entropy": float(entropy_N.sum())}, sum(batch.sizes))
        return (weights_BA * losses_BA).sum()
