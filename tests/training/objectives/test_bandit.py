"""Every method finds the optimum that is known: reference * exp(reward / beta), normalised.

The answers are all sequences of two tokens out of three: nine arms of a bandit, pulled token by
token, so that rewards and divergences must find their way to the right token. The policy is a table
of logits, and the reference, another one, stands still.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from langwright.training.objectives import (
    clipped_surrogate,
    clipped_value_loss,
    dpo,
    gae,
    grpo_advantages,
    k1,
    num_units,
    rloo_advantages,
    token_rewards,
    token_weights,
    whiten,
)

BETA = 0.5
FIRST, SECOND = (
    one.flatten() for one in torch.meshgrid(torch.arange(3), torch.arange(3), indexing="ij")
)


class Table:
    """Logits of the first token [3], and of the second after each first [3, 3]."""

    def __init__(self, scale: float) -> None:
        self.first = (scale * torch.randn(3)).requires_grad_()
        self.second = (scale * torch.randn(3, 3)).requires_grad_()

    @property
    def parameters(self) -> list[Tensor]:
        return [self.first, self.second]

    def logprobs(self, arms_B: Tensor) -> Tensor:
        """Of both tokens of each answer [B, 2]."""
        first_B, second_B = FIRST[arms_B], SECOND[arms_B]
        return torch.stack(
            [self.first.log_softmax(0)[first_B], self.second.log_softmax(1)[first_B, second_B]], 1
        )

    def all(self) -> Tensor:
        """The log-probability of each answer [9]."""
        return self.logprobs(torch.arange(9)).sum(1)


class World:
    """A reference, a policy that begins as it, and the reward of each answer."""

    def __init__(self, seed: int) -> None:
        torch.manual_seed(seed)
        self.reference, self.policy = Table(0.7), Table(0.0)
        for own, its in zip(self.policy.parameters, self.reference.parameters, strict=True):
            its.requires_grad_(False)
            with torch.no_grad():
                own.copy_(its)
        self.rewards = torch.randn(9)

    def draw(self, num: int) -> Tensor:
        return torch.multinomial(self.policy.all().exp().detach(), num, replacement=True)

    def distance(self, beta: float = BETA) -> float:
        """KL(policy || optimum), in nats."""
        with torch.no_grad():
            best = (self.reference.all() + self.rewards / beta).log_softmax(0)
            policy = self.policy.all()
            return float((policy.exp() * (policy - best)).sum())


@pytest.fixture(params=[0, 1])
def world(request: pytest.FixtureRequest) -> World:
    made = World(request.param)
    assert made.distance() > 0.3  # there is something to learn
    return made


def test_ppo_with_the_divergence_of_each_token_in_the_reward(world: World) -> None:
    value_first, value_second = (
        torch.zeros(1, requires_grad=True),
        torch.zeros(3, requires_grad=True),
    )
    adam = torch.optim.Adam([*world.policy.parameters, value_first, value_second], 0.03)
    slower = torch.optim.lr_scheduler.LinearLR(adam, 1.0, 0.02, 60)
    mask = torch.ones(512, 2, dtype=torch.bool)

    def value(arms: Tensor) -> Tensor:
        return torch.stack([value_first.expand(len(arms)), value_second[FIRST[arms]]], 1)

    for _ in range(60):
        arms = world.draw(512)
        with torch.no_grad():
            old, old_values = world.policy.logprobs(arms), value(arms)
            kl = k1(old, world.reference.logprobs(arms))
        rewards = token_rewards(world.rewards[arms], kl, mask, BETA)
        advantages, returns = gae(rewards, old_values, mask)
        advantages = whiten(advantages, mask)
        for _ in range(4):
            for part in torch.randperm(512).chunk(2):
                losses = clipped_surrogate(
                    world.policy.logprobs(arms[part]), old[part], advantages[part]
                ) + clipped_value_loss(value(arms[part]), old_values[part], returns[part])
                weights = token_weights(mask[part], "token_mean")
                loss = (weights * losses).sum() / num_units(mask[part], "token_mean")
                adam.zero_grad()
                loss.backward()
                adam.step()
        slower.step()
    assert world.distance() < 0.01


@pytest.mark.parametrize(
    ("estimate", "reduction"),
    [(grpo_advantages, "sequence_mean"), (rloo_advantages, "sequence_sum")],
    ids=["grpo", "rloo"],
)
def test_grpo_and_rloo_with_the_divergence_of_the_answer_in_the_reward(
    world: World, estimate: object, reduction: object
) -> None:
    adam = torch.optim.Adam(world.policy.parameters, 0.05)
    slower = torch.optim.lr_scheduler.LinearLR(adam, 1.0, 0.01, 400)
    mask = torch.ones(512, 2, dtype=torch.bool)
    for _ in range(400):
        arms = world.draw(512)
        policy = world.policy.logprobs(arms)
        kl = k1(policy.detach(), world.reference.logprobs(arms)).sum(1)
        grouped = (world.rewards[arms] - BETA * kl).view(64, 8)
        advantages = estimate(grouped).view(512, 1)  # type: ignore[operator]
        losses = clipped_surrogate(policy, policy.detach(), advantages)
        loss = (token_weights(mask, reduction) * losses).sum()  # type: ignore[arg-type]
        adam.zero_grad()
        (loss / num_units(mask, reduction)).backward()  # type: ignore[arg-type]
        adam.step()
        slower.step()
    assert world.distance() < 0.01


def test_dpo_on_pairs_that_people_of_bradley_and_terry_have_judged(world: World) -> None:
    reference = world.reference.all()
    pairs = torch.multinomial(reference.exp(), 400_000, replacement=True).view(-1, 2)
    better = torch.rand(len(pairs)) < torch.sigmoid(
        world.rewards[pairs[:, 0]] - world.rewards[pairs[:, 1]]
    )
    chosen = torch.where(better, pairs[:, 0], pairs[:, 1])
    rejected = torch.where(better, pairs[:, 1], pairs[:, 0])
    # Equal pairs have equal losses: each once, and how often it was drawn.
    kinds, times = torch.unique(torch.stack([chosen, rejected]), dim=1, return_counts=True)
    solver = torch.optim.LBFGS(world.policy.parameters, max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        solver.zero_grad()
        policy = world.policy.all()
        found = dpo(
            policy[kinds[0]], policy[kinds[1]], reference[kinds[0]], reference[kinds[1]], BETA
        )
        loss = (found.loss * times).sum() / times.sum()
        loss.backward()
        return loss

    solver.step(closure)
    assert world.distance() < 0.01
