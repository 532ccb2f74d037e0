"""What the report card of a life says of the stages after fine-tuning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langwright.evaluation import Interval, wilson
from langwright.lifecycle.exam import Exam
from langwright.lifecycle.report_data import Curve, KeyFigure, Taken
from langwright.store import Run, Store

TESTS_NOTE = (
    "Every model answers the same questions kept back and reads the same validation text. "
    "Closeness is the F1 of an answer's words against what the text says. A new model is promoted "
    "where it is shown to be better at what it was made for (the whole 95% interval of the paired "
    "difference), and shown not to be worse at the rest by more than a margin."
)


def metric_curve(run: Run, key: str, title: str, unit: str) -> Curve:
    """A figure of a run's steps, averaged over neighbouring ones for the eye."""
    lines = [line for line in run.read_metrics() if key in line and "loss" in line]
    together = max(1, len(lines) // 100)
    groups = [lines[start : start + together] for start in range(0, len(lines), together)]
    return Curve(
        title,
        unit,
        [group[-1]["seconds"] / 60 for group in groups],
        [group[-1]["tokens"] for group in groups],
        [sum(line[key] for line in group) / len(group) for group in groups],
    )


def tests_taken(name: str, stages: Mapping[str, Any], exams: Mapping[str, Exam]) -> list[Taken]:
    """A row for each model of the life, and for a stage that came to nothing."""
    first = {"before": ("pretrain", f"{name}-base"), "after": ("fine-tune", f"{name}-sft")}
    rows = []
    for when, (stage, model) in first.items():
        rows.append(Taken(stage, model, exams[when].values))
    for stage, done in stages.items():
        metrics = done["metrics"]
        if "promoted" not in metrics:
            continue
        values = exams[stage].values if stage in exams else {}
        model = metrics.get("model", "")
        rows.append(Taken(stage, model, values, metrics["promoted"], metrics["why"]))
    return rows


def further_figures(stages: Mapping[str, Any], exams: Mapping[str, Exam]) -> list[KeyFigure]:
    """How sure the reward model is, and how often a new model comes closer to the text than the one
    before."""
    found = []
    if "reward" in stages and "val_accuracy" in stages["reward"]["metrics"]:
        metrics = stages["reward"]["metrics"]
        # The pairs of a question are no independent draws: the interval is one of questions.
        questions, right = int(metrics["val_prompts"]), metrics["val_accuracy"]
        found.append(
            KeyFigure(
                "Reward model: better answer scores higher",
                right,
                0.5,
                "chance",
                interval=_at(right, wilson(round(right * questions), questions)),
                lower_is_better=False,
                note=f"{metrics['val_pairs']:.0f} pairs of {questions} questions kept back; "
                f"calibration error {metrics['val_calibration_error']:.3f}",
            )
        )
    for stage, done in stages.items():
        if stage not in exams or "win_rate" not in done["metrics"]:
            continue
        rate = Interval(**done["metrics"]["win_rate"])
        found.append(
            KeyFigure(
                f"After {stage}: closer to the text",
                rate.value,
                0.5,
                "as often as the model before",
                interval=rate,
                lower_is_better=False,
                note=_how_far(done["metrics"]),
            )
        )
    return found


def _at(value: float, bounds: Interval) -> Interval:
    return Interval(value, bounds.low, bounds.high)


def _how_far(metrics: Mapping[str, Any]) -> str:
    """What a policy's reward became, at what distance from the model that it was."""
    if "kl_last" not in metrics:
        return ""
    return (
        f"reward {metrics['reward_first']:.2f} at first, {metrics['reward_last']:.2f} at last, "
        f"{metrics['kl_last']:.2f} nats from the model before"
    )


def further_curves(store: Store, name: str, stages: Mapping[str, Any]) -> list[Curve]:
    """Reward and distance of each policy in the course of its training."""
    found = []
    for stage in ("ppo", "grpo"):
        if stage in stages and "kl_last" in stages[stage]["metrics"]:
            run = store.run(f"{name}-{stage}")
            title = stage.upper()
            found.append(metric_curve(run, "reward", f"{title}: reward", "reward"))
            found.append(metric_curve(run, "kl", f"{title}: distance", "nats from the reference"))
    return found
