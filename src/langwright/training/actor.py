"""A policy and the model of its value, trained together."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor, nn

from langwright.model import Decoder, ModelBundle
from langwright.model.reward import RewardBundle, RewardModel
from langwright.training.trained import Model

CRITIC = "critic"
"""The folder beside a policy's files that holds its value model."""


class ActorCritic(nn.Module):
    """The two share no weight: what the value learns does not move the policy."""

    def __init__(self, policy: Decoder, critic: RewardModel) -> None:
        super().__init__()
        self.policy, self.critic = policy, critic
        self.shape = policy.shape


@dataclass(frozen=True)
class TrainedActor:
    """What is saved, published and served is the policy; the value model goes along."""

    policy: Model
    critic: RewardBundle
    module: ActorCritic = field(init=False)

    def __post_init__(self) -> None:
        both = ActorCritic(self.policy.module, self.critic.module)
        object.__setattr__(self, "module", both)

    @property
    def kind(self) -> str:
        return self.policy.kind

    @property
    def bundle(self) -> ModelBundle:
        return self.policy.bundle

    @property
    def learnt(self) -> dict[str, nn.Parameter]:
        parts = (("policy", self.policy.learnt), ("critic", self.critic.learnt))
        return {f"{name}.{key}": one for name, part in parts for key, one in part.items()}

    def over(self, weights: dict[str, Tensor]) -> TrainedActor:
        policy, critic = (_part(weights, name) for name in ("policy.", "critic."))
        return TrainedActor(self.policy.over(policy), self.critic.over(critic))

    def save(self, folder: Path) -> None:
        self.policy.save(folder)
        (folder / CRITIC).mkdir()
        self.critic.save(folder / CRITIC)

    def read(self, folder: Path) -> dict[str, Tensor]:
        policy, critic = self.policy.read(folder), self.critic.read(folder / CRITIC)
        parts = (("policy", policy), ("critic", critic))
        return {f"{name}.{key}": values for name, part in parts for key, values in part.items()}


def _part(weights: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): values
        for name, values in weights.items()
        if name.startswith(prefix)
    }
