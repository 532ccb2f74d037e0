"""What the report card of a grown model says: figures with intervals beside their baselines."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from langwright.evaluation import bootstrap_ratio, document_nats, wilson
from langwright.lifecycle.baselines import Baselines
from langwright.lifecycle.exam import Exam
from langwright.lifecycle.further_card import (
    TESTS_NOTE,
    further_curves,
    further_figures,
    metric_curve,
    tests_taken,
)
from langwright.lifecycle.report import number
from langwright.lifecycle.report_data import (
    Ancestor,
    Answer,
    Baseline,
    Curve,
    KeyFigure,
    Report,
    Sample,
    Stage,
)
from langwright.model import ModelBundle
from langwright.store import Run, Store
from langwright.text import Document
from langwright.tokens import END_OF_TEXT

SAMPLES = 12


def validation_curve(run: Run, baselines: Baselines, validation: Sequence[Document]) -> Curve:
    """Bits per byte in the course of a pretraining run, with the n-gram (first) on the very
    documents that were read at each evaluation, and xz."""
    lines = [line for line in run.read_metrics() if "val_bits_per_byte" in line]
    sizes = np.cumsum([len(document.full_text.encode()) for document in validation])
    read = int(np.searchsorted(sizes, lines[-1]["val_bytes"])) + 1
    level = baselines.ngram_bits_per_byte(np.diff(sizes[:read], prepend=0).tolist())
    return Curve(
        "Validation bits per byte",
        "bits per byte",
        [line["seconds"] / 60 for line in lines],
        [line["tokens"] for line in lines],
        [line["val_bits_per_byte"] for line in lines],
        [
            Baseline(f"byte {baselines.order}-gram", level, marked=True),
            Baseline("xz", baselines.xz_bits_per_byte),
        ],
    )


def training_curve(run: Run, title: str) -> Curve:
    """Training loss in nats a token, averaged over neighbouring steps for the eye."""
    return metric_curve(run, "loss", title, "nats per token")


def build_card(
    store: Store,
    run: Run,
    name: str,
    base: ModelBundle,
    validation: Sequence[Document],
    baselines: Baselines,
    exams: Mapping[str, Exam],
    last: str,
) -> Report:
    """`run` is the growth's; `base` the pretrained model; `exams` what each model did in the tests,
    the pretrained one's first; `last` is that of the model that was promoted last."""
    end = base.tokenizer.special[END_OF_TEXT]
    texts = [document.full_text for document in validation]
    sizes = np.array([len(text.encode()) for text in texts])
    nats = document_nats(base.module, base.tokenizer.encode_batch(texts), end)
    bits = bootstrap_ratio(nats / math.log(2), sizes, seed=0)
    before, after = exams["before"].answers, exams[last].answers
    good = [sum(answer["ok"] for answer in given) for given in (before, after)]
    asked = max(1, len(after))
    share = wilson(good[1], asked)
    pretraining, tuning = store.run(f"{name}-base"), store.run(f"{name}-sft")
    told = run.state["stages"]
    curve = validation_curve(pretraining, baselines, validation)
    shape = base.module.shape
    return Report(
        title=f"{name}: a report card",
        subtitle=f"{shape.num_parameters:,} parameters, grown from "
        f"{pretraining.settings['corpus']}",
        figures=[
            KeyFigure(
                "Validation bits per byte",
                bits.value,
                baselines.ngram_bits_per_byte(sizes.tolist()),
                f"byte {baselines.order}-gram, Witten-Bell",
                interval=bits,
                note=f"all {len(texts)} validation documents, ends included; "
                f"xz {baselines.xz_bits_per_byte:.3f}",
            ),
            KeyFigure(
                "Answers in the asked format",
                share.value,
                good[0] / asked,
                "before fine-tuning",
                interval=share,
                lower_is_better=False,
                note=f"{good[1]} of {asked} questions kept back",
            ),
            *further_figures(told, exams),
        ],
        curves=[
            curve,
            training_curve(pretraining, "Pretraining loss"),
            training_curve(tuning, "Fine-tuning loss"),
            *further_curves(store, name, told),
        ],
        tests=tests_taken(name, told, exams),
        tests_note=TESTS_NOTE,
        samples=[
            Sample(one["prompt"], _answer(one), _answer(other))
            for one, other in list(zip(before, after, strict=True))[:SAMPLES]
        ],
        samples_note="The first questions kept back, answered without sampling. Such a small model "
        "has learnt the form of an answer, and little of the world: expect nonsense well put.",
        stages=[Stage(stage, values["seconds"]) for stage, values in run.state["stages"].items()],
        lineage=[
            Ancestor(node["kind"], node["name"], node["digest"], node["licence"] or "")
            for node in store.lineage(name)["nodes"]
        ],
        settings={
            "Model": shape.model_dump(),
            "Pretraining": {**pretraining.settings, **_speed(pretraining)},
            "Fine-tuning": {**tuning.settings, **_speed(tuning)},
            **_forecast(pretraining),
        },
        commands=[f"langwright chat {name}", f"langwright lineage {name}"],
    )


def _speed(run: Run) -> dict[str, object]:
    result = run.state["result"]
    return {"tokens learnt": result["tokens"]} | {
        "tokens per second": round(result["metrics"]["tokens_per_second"])
    }


def _forecast(run: Run) -> dict[str, dict[str, object]]:
    """What the plan said of the run beside what came; nothing where there was no plan."""
    held = run.state["result"].get("forecast")
    if not held:
        return {}
    table: dict[str, object] = {
        key: f"{number(one['forecast'])} foretold, {number(one['actual'])} came "
        f"({one['error']:+.1%})"
        for key, one in held.items()
    }
    return {"Forecast and what came": table}


def _answer(graded: Mapping[str, Any]) -> Answer:
    verdict = "in the asked format" if graded["ok"] else "not: " + ", ".join(graded["reasons"])
    return Answer(graded["answer"], graded["ok"], verdict)
