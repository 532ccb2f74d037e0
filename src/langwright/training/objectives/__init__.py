"""The mathematics of learning from preferences and rewards: functions over tensors, without a loop
and without a model.

Letters of shapes: P pairs of answers, N prompts or examples, G answers to one prompt, B answers,
T tokens of an answer, V words of the vocabulary. Log-probabilities are in nats. A loss is told for
each pair, example or token, never as a mean: the stage sums and divides by the units of the step.
"""

from langwright.training.objectives.advantage import (
    dr_grpo_advantages,
    gae,
    grpo_advantages,
    informative,
    rloo_advantages,
    token_rewards,
    whiten,
)
from langwright.training.objectives.kl import adapt_beta, k1, k2, k3
from langwright.training.objectives.policy import (
    Reduction,
    clipped_surrogate,
    clipped_value_loss,
    entropy,
    num_units,
    policy_figures,
    token_weights,
)
from langwright.training.objectives.preference import (
    Kto,
    Pairwise,
    dpo,
    hinge,
    ipo,
    kl_baseline,
    kto,
)
from langwright.training.objectives.reward import bradley_terry, decided, ranked

__all__ = [
    "Kto",
    "Pairwise",
    "Reduction",
    "adapt_beta",
    "bradley_terry",
    "clipped_surrogate",
    "clipped_value_loss",
    "decided",
    "dpo",
    "dr_grpo_advantages",
    "entropy",
    "gae",
    "grpo_advantages",
    "hinge",
    "informative",
    "ipo",
    "k1",
    "k2",
    "k3",
    "kl_baseline",
    "kto",
    "num_units",
    "policy_figures",
    "ranked",
    "rloo_advantages",
    "token_rewards",
    "token_weights",
    "whiten",
]
