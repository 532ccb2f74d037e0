"""The learning rate over time."""

from __future__ import annotations

import math

from langwright.training.settings import LoopSettings


def learning_rate_factor(step: int, settings: LoopSettings) -> float:
    """What the learning rates are multiplied with at `step` (from 0); 1 is the peak.

    `wsd` (warm-up, stable, decay; Hägele et al. 2024): linear from 1/warmup to 1, then 1, then
    linear to `final_learning_rate_fraction` at the last step. The stable part can be prolonged, so
    that a checkpoint before the decay is a trunk from which longer runs go on.

    `cosine` (Loshchilov and Hutter 2017): the same warm-up, then half a wave down to
    `final_learning_rate_fraction` at the last step.

    `noam` (Vaswani et al. 2017, equation 3, where steps count from 1): the same warm-up, then
    the inverse root of the step. The paper's rate, width^-0.5 * min(step^-0.5, step *
    warmup^-1.5), has its peak (width * warmup)^-0.5 at the end of the warm-up: with that as
    `learning_rate` (7.0e-4 for the base model) the rates are the paper's.
    """
    if step < settings.warmup_steps:
        return (step + 1) / settings.warmup_steps
    if settings.schedule == "noam":
        return (settings.warmup_steps / (step + 1)) ** 0.5
    final, left = settings.final_learning_rate_fraction, settings.steps - 1 - step
    if settings.schedule == "cosine":
        whole = max(1, settings.steps - settings.warmup_steps)
        return final + (1.0 - final) * 0.5 * (1.0 - math.cos(math.pi * left / whole))
    decay_steps = settings.decay_fraction * settings.steps
    if left >= decay_steps:
        return 1.0
    return final + (1.0 - final) * left / decay_steps
