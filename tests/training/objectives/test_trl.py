"""Equality with TRL: its trainers' own losses, on log-probabilities that a model would have given.

TRL keeps its formulas inside of its trainers. What a trainer's loss reads of itself stands in a
namespace here, its accelerator is a real one, and the model is a function that answers with the
log-probabilities of the test.
"""

from __future__ import annotations

from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from langwright.training.objectives import (
    bradley_terry,
    clipped_surrogate,
    dpo,
    dr_grpo_advantages,
    entropy,
    grpo_advantages,
    hinge,
    ipo,
    k3,
    kl_baseline,
    kto,
    num_units,
    policy_figures,
    token_weights,
)

pytest.importorskip(
    "trl",
    minversion="1.16",
    reason="the oracle TRL is not installed: `pip install 'langwright[dev]'`",
)

P, T = 6, 9
BETA = 0.1


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def lengths(num: int) -> Tensor:
    """Which tokens of answers of 1 to T are there [num, T]."""
    ends = torch.randint(1, T + 1, (num, 1), generator=torch.Generator().manual_seed(9))
    return torch.arange(T) < ends


@pytest.fixture(scope="module")
def trainer() -> SimpleNamespace:
    from accelerate import Accelerator

    return SimpleNamespace(
        accelerator=Accelerator(cpu=True),
        model=SimpleNamespace(training=False),
        args=SimpleNamespace(use_bias_correction_kl=False, delta=None),
        _metrics={"eval": defaultdict(list)},
        aux_loss_enabled=False,
        beta=BETA,
    )


def answering(logprobs_BT: Tensor) -> Any:
    """A model whose answers have these log-probabilities, behind a prompt of one token."""
    nothing = torch.zeros_like(logprobs_BT)
    said = SimpleNamespace(
        log_probs=logprobs_BT, entropy=nothing, mean_logits=nothing, is_top1=nothing.bool()
    )
    return lambda **_: said


def with_prompt(mask_BT: Tensor) -> Tensor:
    return torch.cat([torch.zeros(len(mask_BT), 1, dtype=torch.long), mask_BT.long()], 1)


@pytest.mark.parametrize("kind", ["sigmoid", "ipo", "hinge"])
def test_dpo_and_its_kin(trainer: SimpleNamespace, kind: str) -> None:
    from trl import DPOTrainer

    mask = lengths(2 * P)
    policy, reference = 5 * drawn(2 * P, T) * mask, drawn(2 * P, T, seed=1) * mask
    trainer.loss_types, trainer.loss_weights = [kind], [1.0]
    trainer.label_smoothing, trainer.ld_alpha, trainer.use_weighting = 0.0, None, False
    trainer.f_divergence_type, trainer.precompute_ref_logps = "reverse_kl", True
    trainer._total_train_tokens = 0
    sums = [one for side in (policy, reference) for one in side.sum(1).chunk(2)]
    inputs = {
        "input_ids": torch.zeros(2 * P, T + 1, dtype=torch.long),
        "completion_mask": with_prompt(mask),
        "ref_chosen_logps": sums[2],
        "ref_rejected_logps": sums[3],
    }
    expected = DPOTrainer._compute_loss(trainer, answering(policy), inputs, False)
    if kind == "ipo":
        found = ipo(sums[0], sums[1], sums[2], sums[3], BETA, *mask.sum(1).chunk(2))
    else:
        loss = dpo if kind == "sigmoid" else hinge
        found = loss(sums[0], sums[1], sums[2], sums[3], BETA)
    torch.testing.assert_close(found.loss.mean(), expected)
    said = trainer._metrics["eval"]
    assert said["rewards/chosen"][-1] == pytest.approx(float(found.chosen_reward.mean()))
    assert said["rewards/rejected"][-1] == pytest.approx(float(found.rejected_reward.mean()))


@pytest.mark.parametrize("shift", [-1.0, 1.0])
def test_kto(trainer: SimpleNamespace, shift: float) -> None:
    """With a baseline above 0, and with one that is held at 0."""
    from trl import KTOTrainer

    mask = lengths(P)
    policy, reference = drawn(P, T) * mask, drawn(P, T, seed=1) * mask
    mismatched, desirable = drawn(P, seed=2) + shift, torch.tensor([True, False] * (P // 2))
    trainer.precompute_ref_logps = trainer.calculate_KL = True
    trainer.loss_type, trainer.desirable_weight, trainer.undesirable_weight = "kto", 1.5, 0.7
    trainer._compute_kl_logps = lambda model, batch: mismatched
    trainer._total_train_tokens = 0
    inputs = {
        "input_ids": torch.zeros(P, T + 1, dtype=torch.long),
        "completion_mask": with_prompt(mask),
        "attention_mask": with_prompt(mask),
        "label": desirable,
        "ref_logps": reference.sum(1),
        "ref_KL_logps": torch.zeros(P),
    }
    expected = KTOTrainer._compute_loss(trainer, answering(policy), inputs, False)
    baseline = kl_baseline(mismatched, torch.zeros(P))
    found = kto(
        policy.sum(1),
        reference.sum(1),
        desirable,
        baseline,
        BETA,
        desirable_weight=1.5,
        undesirable_weight=0.7,
    )
    torch.testing.assert_close(found.loss.mean(), expected)
    assert bool(baseline == 0) == (shift < 0)


def test_the_reward_model(trainer: SimpleNamespace) -> None:
    from trl import RewardTrainer

    rewards, margin = drawn(2 * P, 1), drawn(P, seed=1).abs()
    trainer.args.center_rewards_coefficient = None
    trainer._total_train_tokens = 0
    inputs = {"margin": margin}

    def model(**_: Any) -> Any:
        return SimpleNamespace(logits=rewards)

    expected = RewardTrainer.compute_loss(trainer, model, inputs)
    chosen, rejected = rewards.squeeze(1).chunk(2)
    torch.testing.assert_close(bradley_terry(chosen, rejected, margin=margin).mean(), expected)


def rollout(trainer: SimpleNamespace) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Log-probabilities of policy and old policy, advantages and mask, and what TRL needs."""
    old = -drawn(P, T).abs()
    policy, advantages = old + 0.3 * drawn(P, T, seed=1), drawn(P, 1, seed=2)
    trainer._get_per_token_logps_and_entropies = lambda *_, **__: (
        policy,
        torch.zeros(P, T),
        None,
    )
    trainer.epsilon_low, trainer.epsilon_high = 0.2, 0.28
    trainer.top_entropy_quantile, trainer.off_policy_mask_threshold = 1.0, None
    trainer.importance_sampling_level, trainer.use_vllm = "token", False
    trainer._entropy_bonus_enabled, trainer.max_completion_length = False, 12
    return policy, old, advantages, lengths(P)


@pytest.mark.parametrize(
    ("kind", "reduction"),
    [("grpo", "sequence_mean"), ("dapo", "token_mean"), ("dr_grpo", "constant")],
)
def test_grpo_dapo_and_dr_grpo(trainer: SimpleNamespace, kind: str, reduction: Any) -> None:
    from trl import GRPOTrainer

    policy, old, advantages, mask = rollout(trainer)
    reference = old + drawn(P, T, seed=3)
    trainer.loss_type = kind
    inputs = {
        "prompt_ids": torch.zeros(P, 1, dtype=torch.long),
        "prompt_mask": torch.ones(P, 1, dtype=torch.long),
        "completion_ids": torch.zeros(P, T, dtype=torch.long),
        "completion_mask": mask.long(),
        "advantages": advantages.squeeze(1),
        "old_per_token_logps": old,
        "ref_per_token_logps": reference,
        "num_items_in_batch": mask.sum(),
    }
    expected = GRPOTrainer._compute_loss(trainer, None, inputs)
    losses = clipped_surrogate(policy, old, advantages, 0.2, 0.28) + BETA * k3(policy, reference)
    found = (token_weights(mask, reduction, 12) * losses).sum() / num_units(mask, reduction)
    torch.testing.assert_close(found, expected)
    figures = policy_figures(policy, old, advantages, mask, 0.2, 0.28)
    clipped = trainer._metrics["eval"]["clip_ratio/region_mean"][-1]
    assert figures["clip_fraction"] / int(mask.sum()) == pytest.approx(clipped)


def test_rloo_has_the_ratio_of_whole_answers(trainer: SimpleNamespace) -> None:
    from trl import RLOOTrainer

    policy, old, advantages, mask = rollout(trainer)
    policy = old + 0.1 * (policy - old)
    trainer._get_per_token_logps_and_entropies = lambda *_, **__: (policy, old, None)
    inputs = {
        "prompt_ids": torch.zeros(P, 1, dtype=torch.long),
        "prompt_mask": torch.ones(P, 1, dtype=torch.long),
        "completion_ids": torch.zeros(P, T, dtype=torch.long),
        "completion_mask": mask.long(),
        "advantages": advantages.squeeze(1),
        "old_logps": (old * mask).sum(1),
    }
    expected = RLOOTrainer._compute_loss(trainer, None, inputs)
    whole = [(one * mask).sum(1, keepdim=True) for one in (policy, old)]
    found = clipped_surrogate(whole[0], whole[1], advantages, 0.2, 0.28)
    torch.testing.assert_close(found.mean(), expected)


def test_the_deviation_of_a_group_and_the_entropy_of_logits() -> None:
    from trl.trainer.utils import entropy_from_logits, nanstd

    rewards = drawn(3, 5)
    centred = dr_grpo_advantages(rewards)
    expected = centred / (nanstd(rewards, dim=1)[:, None] + 1e-4)
    torch.testing.assert_close(grpo_advantages(rewards), expected)
    logits = 3 * drawn(2, 4, 17)
    torch.testing.assert_close(entropy(logits), entropy_from_logits(logits))
