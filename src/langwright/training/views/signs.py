"""What ails a run, as its metrics and settings show it. Each sign gives a finding or None."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from statistics import mean, median
from typing import Any

from langwright.training.views.case import BLOCKS, Case, Finding, blocks_of
from langwright.training.views.course import is_number

MOST_LOST_S = 900.0
"""So much training a crash may cost."""
LEAST_WAIT_S = 10.0
"""Who waited less for the data in all will not look for faster disks."""


def rate_too_high(case: Case) -> Finding | None:
    """The loss rises behind the warm-up, or the gradient grows while it does not fall, or a high
    rate keeps it where counting tokens would be."""
    blocks = blocks_of(case)
    if not blocks:
        return None
    first, last = blocks[0], blocks[-1]
    rate = case.settings.learning_rate
    evidence: dict[str, Any] = {"learning_rate": rate, "suitable_rate": _short(case.suitable_rate)}
    low = first
    for block in blocks:
        low = min(low, block, key=lambda one: one.loss)
        noise = 4 * math.sqrt(low.variance + block.variance)
        if block.loss - low.loss > max(0.02 * low.loss, noise):
            evidence |= {"loss_before": _short(low.loss), "loss_after": _short(block.loss)}
            break
    else:
        most = max(block.norm for block in blocks)
        flat = last.loss > 0.97 * first.loss
        high = rate > 3 * case.suitable_rate
        level = blocks[6 * BLOCKS // 10]  # before the decay, which helps any rate
        if most > 4 * first.norm and flat:
            evidence |= {"norm_before": _short(first.norm), "norm_after": _short(most)}
        elif high and level.loss > 0.85 * case.floor:
            evidence |= {"loss": _short(level.loss), "single_token_loss": _short(case.floor)}
        else:
            return None
    return {
        "cause": "learning_rate_too_high",
        "severity": "warning",
        "evidence": evidence,
        "remedy": "Lower learning_rate and embedding_learning_rate (a third is a good try), or "
        "raise warmup_steps.",
    }


def rate_too_low(case: Case) -> Finding | None:
    """The loss hardly falls, at a rate far below what suits the width."""
    blocks = blocks_of(case)
    rate = case.settings.learning_rate
    if not blocks or rate > case.suitable_rate / 20:
        return None
    fall = 1 - blocks[-1].loss / blocks[0].loss
    if fall > 0.05:
        return None
    return {
        "cause": "learning_rate_too_low",
        "severity": "warning",
        "evidence": {
            "learning_rate": rate,
            "suitable_rate": _short(case.suitable_rate),
            "loss_before": _short(blocks[0].loss),
            "loss_after": _short(blocks[-1].loss),
        },
        "remedy": f"Raise learning_rate towards {case.suitable_rate:.1g}; the embedding's, too.",
    }


def diverged(case: Case) -> Finding | None:
    """The run ended so, or it became worse than an untrained model."""
    course = case.course
    losses = course.values("loss")
    lost = len(course.steps) - len(losses)
    worst = max((block.loss for block in blocks_of(case)), default=0.0)
    evidence: dict[str, Any]
    if _gave_up(case):
        evidence = {"stopped_after_step": course.step}
    elif lost:
        evidence = {"steps_without_a_finite_loss": lost}
    elif losses and worst > 1.05 * losses[0]:
        evidence = {"first_loss": _short(losses[0]), "worst_loss": _short(worst)}
    else:
        return None
    return {
        "cause": "diverged",
        "severity": "error",
        "evidence": {**evidence, "learning_rate": case.settings.learning_rate},
        "remedy": "Lower learning_rate, or raise warmup_steps, and start under another name.",
    }


def overfit(case: Case) -> Finding | None:
    """What was held out gets worse while what is learnt gets better."""
    evaluations = [line for line in case.course.evaluations if is_number(line["val_loss"])]
    if len(evaluations) < 4:
        return None
    best = min(evaluations, key=lambda line: float(line["val_loss"]))
    last, before = evaluations[-1], evaluations[-2]
    least = 1.02 * best["val_loss"]
    if min(last["val_loss"], before["val_loss"]) < least or best["step"] >= before["step"]:
        return None
    then, now = (_around(case, line["step"]) for line in (best, last))
    if then is None or now is None or now > 0.98 * then:
        return None
    return {
        "cause": "overfit",
        "severity": "warning",
        "evidence": {
            "best_step": best["step"],
            "best_val_loss": _short(best["val_loss"]),
            "last_val_loss": _short(last["val_loss"]),
            "train_loss_then": _short(then),
            "train_loss_now": _short(now),
        },
        "remedy": f"Stop near step {best['step']}, give more data, or a smaller model or a larger "
        "weight_decay.",
    }


def _around(case: Case, step: int) -> float | None:
    """The mean loss of the steps before and up to `step`: a twentieth of the run."""
    size = max(5, case.course.step // 20)
    lines = [line for line in case.course.steps if step - size < line["step"] <= step]
    losses = [line["loss"] for line in lines if is_number(line["loss"])]
    return mean(losses) if losses else None


def loader_starved(case: Case) -> Finding | None:
    """A large part of the time goes by waiting for data. `loading_seconds` are those of a step, or
    add up as `seconds` do, which shows in that they never fall."""
    lines = [line for line in case.course.steps if "loading_seconds" in line and "seconds" in line]
    if len(lines) < 5:
        return None
    waits = [float(line["loading_seconds"]) for line in lines]
    summed = all(before < after for before, after in pairwise(waits))
    loading = waits[-1] - waits[0] if summed else sum(waits[1:])
    seconds = lines[-1]["seconds"] - lines[0]["seconds"]
    if loading < max(LEAST_WAIT_S, 0.3 * seconds):
        return None
    return {
        "cause": "loader_starved",
        "severity": "warning",
        "evidence": {"loading_seconds": _short(loading), "seconds": _short(seconds)},
        "remedy": "Put LANGWRIGHT_HOME on a faster disk, free memory for the token shards, or "
        "raise context_length, so that rows hold fewer documents.",
    }


def precision(case: Case) -> Finding | None:
    """Gradients that vanish or overflow in the numbers that the run computes in."""
    settings, norms = case.settings, case.course.values("gradient_norm")
    losses = case.course.values("loss")
    zero = sum(norm == 0.0 for norm in norms)
    bad = [line for line in case.course.incidents if _overflowed(line)]
    evidence: dict[str, Any] = {"precision": settings.precision}
    if zero and losses and max(losses) > 0:
        evidence["steps_with_gradient_0"] = zero
        remedy = "Give precision=float32; a mask that trains nothing shows in `show-batch`."
    elif bad and not _gave_up(case):
        evidence["overflowed_steps"] = len(bad)
        remedy = "Give precision=float32, or a lower learning_rate."
    elif norms:
        # The size of one parameter's gradient as AdamW sees it, which it divides by.
        size = min(median(norms), settings.gradient_clip) / math.sqrt(case.parameters)
        if settings.adam_epsilon < size:
            return None
        evidence |= {"adam_epsilon": settings.adam_epsilon, "gradient_of_a_parameter": _short(size)}
        remedy = "Lower adam_epsilon: it drowns the gradients (its default is 1e-8)."
    else:
        return None
    return {"cause": "precision", "severity": "warning", "evidence": evidence, "remedy": remedy}


def checkpoints_too_rare(case: Case) -> Finding | None:
    """A crash would cost, or has cost, too much."""
    every, course = case.settings.checkpoint_every, case.course
    taken = course.step_seconds
    each = median(taken) if taken else 0.0
    lost = course.step - case.saved
    evidence: dict[str, Any] = {"checkpoint_every": every, "seconds_a_step": _short(each)}
    if case.status == "stopped" and lost > max(20, 0.1 * case.settings.steps):
        evidence |= {"step": course.step, "last_checkpoint": case.saved, "steps_lost": lost}
    elif min(every, case.settings.steps) * each > MOST_LOST_S:
        evidence["seconds_between"] = _short(min(every, case.settings.steps) * each)
    else:
        return None
    fewer = max(1, int(MOST_LOST_S / 3 / each)) if each else every
    fewer = min(fewer, max(1, every // 4), max(1, case.settings.steps // 10))
    return {
        "cause": "checkpoints_too_rare",
        "severity": "warning",
        "evidence": evidence,
        "remedy": f"Save more often: checkpoint_every={fewer}.",
    }


def steps_lost(case: Case) -> Finding | None:
    """Batches that a guard left out are more than a few odd ones."""
    incidents, skipped = len(case.course.incidents), len(case.course.skipped)
    steps = max(case.course.step, 1)
    if _gave_up(case) or incidents < 3 or max(incidents, skipped) < 0.01 * steps:
        return None
    return {
        "cause": "steps_lost",
        "severity": "warning",
        "evidence": {"incidents": incidents, "windows_left_out": skipped, "steps": steps},
        "remedy": "Look at the batches (`show-batch`, or `incidents/` in the run's folder): broken "
        "documents belong out of the data; if they are sound, lower learning_rate.",
    }


SIGNS: list[Callable[[Case], Finding | None]] = [
    diverged,
    rate_too_high,
    rate_too_low,
    overfit,
    precision,
    loader_starved,
    checkpoints_too_rare,
    steps_lost,
]


def _gave_up(case: Case) -> bool:
    """Whether the run ended because it diverged: what else is seen comes from that."""
    incidents = [line["incident"] for line in case.course.incidents]
    stops = [one for one in incidents if isinstance(one, dict) and one.get("decision") == "stop"]
    return case.fault == "diverged" or bool(stops)


def _overflowed(line: Any) -> bool:
    """An incident whose loss is a number while its gradient is none."""
    incident = line["incident"]
    if not isinstance(incident, dict) or "gradient_norm" not in incident:
        return False
    return is_number(incident.get("loss")) and not is_number(incident["gradient_norm"])


def _short(value: float) -> float:
    """Four significant digits."""
    return float(f"{value:.4g}")
