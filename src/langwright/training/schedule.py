"""The learning rate over time: warm-up, stable, decay (Hägele et al. 2024)."""

from __future__ import annotations

from langwright.training.settings import LoopSettings


def learning_rate_factor(step: int, settings: LoopSettings) -> float:
    """What the learning rates are multiplied with at `step` (from 0).

    Linear from 1/warmup to 1, then 1, then linear to `final_learning_rate_fraction` at the last
    step. The stable part can be prolonged, so that a checkpoint before the decay is a trunk from
    which longer runs go on.
    """
    if step < settings.warmup_steps:
        return (step + 1) / settings.warmup_steps
    decay_steps = settings.decay_fraction * settings.steps
    left = settings.steps - 1 - step
    if left >= decay_steps:
        return 1.0
    final = settings.final_learning_rate_fraction
    return final + (1.0 - final) * left / decay_steps
