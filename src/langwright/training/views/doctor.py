"""The verb `doctor`: what is likely wrong with a run."""

from __future__ import annotations

from typing import Any

from langwright.store import Run, Store
from langwright.training.rebuilt import rebuild
from langwright.training.views.case import Case, Finding
from langwright.training.views.course import Course
from langwright.training.views.data_signs import batch_findings, first_rows, single_token_loss
from langwright.training.views.signs import SIGNS


def doctor(run: str, *, store: Store | None = None) -> dict[str, Any]:
    """Likely causes of trouble, from the metrics, settings and batches of a pretraining or
    fine-tuning run, finished or not. It looks and changes nothing; a healthy run has no finding.

    Returns {"run", "status", "step", "steps", "findings"}; a finding is {"cause", "severity"
    (warning or error), "evidence" (figures), "remedy"}. Of fewer than 40 steps behind the warm-up
    the course of the loss is not judged. Raises `NotFound`, `Unsupported` as `rebuild`.
    """
    store = store or Store()
    held = store.run(run)
    rebuilt = rebuild(held, store)
    rows = first_rows(rebuilt)
    state = held.state
    course = Course.of(held.read_metrics())
    case = Case(
        settings=rebuilt.settings,
        course=course,
        status=held.status,
        fault=(state.get("fault") or {}).get("type"),
        saved=_saved(held),
        width=rebuilt.shape.hidden_size,
        parameters=rebuilt.shape.num_parameters,
        floor=single_token_loss(rows),
    )
    findings: list[Finding] = [*batch_findings(rebuilt, rows, case)]
    findings += [found for sign in SIGNS if (found := sign(case)) is not None]
    return {
        "run": run,
        "status": case.status,
        "step": course.step,
        "steps": rebuilt.settings.steps,
        "findings": sorted(findings, key=lambda finding: finding["severity"] != "error"),
    }


def _saved(run: Run) -> int:
    """The step of the last checkpoint, 0: there is none."""
    pointer = run.checkpoints / "latest"
    return int(pointer.read_text().strip().removeprefix("step-")) if pointer.exists() else 0
