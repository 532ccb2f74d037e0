"""A whole life in one command: text, tokenizer, pretraining, fine-tuning, measure, report."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from langwright.errors import BadInput, BadSettings
from langwright.lifecycle.baselines import Baselines, measure_baselines
from langwright.lifecycle.card import build_card, validation_curve
from langwright.lifecycle.exam import CLOSENESS, FORM, Exam
from langwright.lifecycle.further import Further, GrowSettings, Stage
from langwright.lifecycle.gate import decide
from langwright.lifecycle.mailed import write_page
from langwright.lifecycle.questions import Question, make_lesson, write_conversations
from langwright.lifecycle.report import write_report
from langwright.model import load_model
from langwright.progress import say
from langwright.store import Artifact, Run, Store, write_atomic
from langwright.text import load_split, open_corpus
from langwright.tokens import read_tokenizer
from langwright.training import pretrain, read_recipe, sft
from langwright.training.recipe import GROW, has_table
from langwright.training.stages.pretrain import PretrainSettings
from langwright.training.stages.sft import SFTSettings

Table = dict[str, Any]

EXAMINED = 500
"""Validation documents on which every model of a life is measured; the report has them all."""


def grow(
    *,
    preset: str = "tiny",
    corpus: str | None = None,
    name: str | None = None,
    store: Store | None = None,
) -> Table:
    """Grow a model that answers, from raw text, and measure it before and after each stage.

    What follows fine-tuning the preset's table [grow] says; after each such stage a gate promotes
    the new model or keeps the one before, and the model of the life is the last that was promoted.
    The same command continues where it was stopped; what is finished is not done again. Returns
    {"model", "report", "stages": [{"name", "seconds", "metrics"}]}.
    """
    store = store or Store()
    base_recipe = read_recipe(preset, "pretrain", {} if corpus is None else {"corpus": corpus})
    tuned_recipe = read_recipe(preset, "sft", {})
    stem = preset.rpartition("/")[2].removesuffix(".toml")
    name = name or (stem if corpus is None else f"{stem}-{Path(corpus).stem}")
    if "corpus" not in base_recipe:
        raise BadSettings(f"The preset {preset} names no corpus.", remedy="Give one with --corpus.")
    # All of it now: a mistake in the second table must not cost the work of the first.
    PretrainSettings.build(base_recipe)
    SFTSettings.build(tuned_recipe | dict.fromkeys(("model", "data"), name))
    if not isinstance(base_recipe["corpus"], str):
        raise BadSettings(
            f"The preset {preset} mixes several corpora, and a life is grown from one.",
            remedy="Name one with --corpus, or train on the mixture with `langwright pretrain`.",
        )
    chosen = GrowSettings.build(read_recipe(preset, GROW, {}) if has_table(preset, GROW) else {})
    further = Further(chosen, store, name, preset)
    further.check()
    source = open_corpus(base_recipe["corpus"], store)
    run = store.run(f"{name}-grow")
    settings: Table = {"pretrain": base_recipe, "sft": tuned_recipe}
    if chosen.stages:
        settings |= {GROW: chosen.model_dump(mode="json"), **further.tables()}
    run.open(settings, [source.digest])
    with run.locked():
        return _Growth(store, run, name, preset, source, base_recipe, further).go()


class _Growth:
    def __init__(
        self,
        store: Store,
        run: Run,
        name: str,
        preset: str,
        source: Artifact,
        recipe: Table,
        further: Further,
    ) -> None:
        self.store, self.run, self.name, self.preset = store, run, name, preset
        self.source, self.recipe, self.further = source, recipe, further
        fraction = recipe.get("validation_fraction", 0.05)
        self.train, self.validation = load_split(source, fraction, store)

    def go(self) -> Table:
        base, tuned = f"{self.name}-base", f"{self.name}-sft"
        self._stage("baselines", self._baselines)
        self._stage("pretrain", self._pretrain)
        self._stage("questions", self._questions)
        self._stage("answers before", lambda: self._examined("before", base))
        self._stage("fine-tune", self._finetune)
        self._stage("answers after", lambda: self._examined("after", tuned))
        chosen = self.further.settings.stages
        if set(chosen) - {"constitution"}:
            self._stage("comparisons", lambda: self._practise(tuned))
        for stage in chosen:
            self._stage(stage, partial(self._further, stage))
        self._stage("report", self._report)
        self._stage("page", lambda: write_page(self.name, self.run.folder, self.store))
        stages = self.run.state["stages"]
        result = {
            "model": self.name,
            "report": str(self.run.report_path),
            "stages": [{"name": stage, **stages[stage]} for stage in stages],
        }
        self.run.update_state(status="finished", result={"model": self.name})
        self._say_where(stages)
        return result

    def _stage(self, stage: str, work: Callable[[], Table]) -> None:
        """Do a part of the journey unless it is done; remember how long it took."""
        stages = self.run.state.get("stages", {})
        if stage in stages:
            return
        started = time.perf_counter()
        metrics = work()
        seconds = round(time.perf_counter() - started, 2)
        stages[stage] = {"seconds": seconds, "metrics": metrics}
        self.run.update_state(stages=stages)

    def _baselines(self) -> Table:
        found = measure_baselines(self.train, self.validation)
        sizes = [len(document.full_text.encode()) for document in self.validation]
        values = {
            "order": found.order,
            "ngram_nats": found.ngram_nats.tolist(),
            "xz_bits_per_byte": found.xz_bits_per_byte,
        }
        self._write("baselines.json", values)
        bits = found.ngram_bits_per_byte(sizes)
        say(
            f"To beat: {bits:.3f} bits per byte by a byte {found.order}-gram, "
            f"{found.xz_bits_per_byte:.3f} by xz."
        )
        return {
            "ngram_order": found.order,
            "ngram_bits_per_byte": bits,
            "xz_bits_per_byte": found.xz_bits_per_byte,
        }

    def baselines(self) -> Baselines:
        stored = self._read("baselines.json")
        return Baselines(
            stored["order"], np.array(stored["ngram_nats"]), stored["xz_bits_per_byte"]
        )

    def _pretrain(self) -> Table:
        overrides = {"corpus": self.recipe["corpus"]}
        result = pretrain(self.preset, name=f"{self.name}-base", store=self.store, **overrides)
        metrics: Table = result["metrics"]
        curve = validation_curve(
            self.store.run(f"{self.name}-base"), self.baselines(), self.validation
        )
        found = curve.crossing(curve.baselines[0], curve.minutes)
        bits = f"{metrics['val_bits_per_byte']:.3f} bits per byte"
        if found is None:
            say(f"Pretrained to {bits}; the n-gram is not beaten yet.")
        else:
            say(f"Pretrained to {bits}; past the n-gram after {found:.1f} minutes of training.")
        return {**metrics, "crossed_ngram_after_minutes": found}

    def _questions(self) -> Table:
        tokenizer = read_tokenizer(
            self.store.path(self.store.get(f"{self.name}-base-tokenizer")) / "tokenizer.json"
        )
        lesson = make_lesson(self.train, self.validation, tokenizer, self.recipe["context_length"])
        parents = [self.source]
        name = f"{self.name}-conversations"
        licence = self.source.licence
        with self.store.writing(name, "conversations", parents=parents, licence=licence) as draft:
            write_conversations(draft.folder / "conversations.jsonl", lesson)
            draft.metrics |= {"conversations": len(lesson.pairs)}
        self._write("questions.json", [vars(question) for question in lesson.held_out])
        practice = self.further.drawn(lesson.practice)
        self._write("practice.json", [vars(question) for question in practice])
        return {"conversations": len(lesson.pairs), "held_out": len(lesson.held_out)}

    def _finetune(self) -> Table:
        names = {"model": f"{self.name}-base", "data": f"{self.name}-conversations"}
        tuned = f"{self.name}-sft"
        metrics: Table = sft(self.preset, name=tuned, store=self.store, **names)["metrics"]
        self.store.point(self.name, self.store.get(tuned))
        return metrics

    def _practise(self, model: str) -> Table:
        practice = [Question(**stored) for stored in self._read("practice.json")]
        try:
            return self.further.practise(practice, model)
        except BadInput as error:
            return _nothing("comparisons", error)

    def _further(self, stage: Stage) -> Table:
        """A stage after fine-tuning, and the gate between its model and the one before."""
        before = self._promoted()
        done = {one: held["metrics"] for one, held in self.run.state["stages"].items()}
        if missing := self.further.wants(stage, done):
            return {"promoted": False, "why": f"{missing} came to nothing"}
        try:
            result = self.further.train(stage, before)
        except BadInput as error:
            return {"promoted": False, **_nothing(stage, error)}
        figures = self.further.figures(stage, result)
        if stage == "reward":
            return figures
        if not result.get("weights_sha256"):
            return {**figures, "promoted": False, "why": "no model was trained"}
        earlier = Exam(**self._read(f"exam-{self._last_exam()}.json"))
        exam = self._exam(stage, result["model"])
        # What is compared is the form of an answer first, then how close it comes.
        aims = () if stage == "constitution" else (FORM, CLOSENESS)
        decision = decide([*exam.checks(earlier, aims), *self.further.checks(stage, result)])
        if decision.promote:
            self.store.point(self.name, self.store.get(result["model"]))
        verdict = "promoted" if decision.promote else "not promoted"
        say(f"{result['model']} is {verdict}: {decision.why}.")
        return {
            **figures,
            **exam.figures,
            "win_rate": exam.win_rate(earlier),
            "model": result["model"],
            "promoted": decision.promote,
            "why": decision.why,
            "checks": [vars(one) for one in decision.checks],
        }

    def _promoted(self) -> str:
        """The last model that was promoted; at first the fine-tuned one."""
        done = self.run.state["stages"].values()
        held: list[str] = [
            one["metrics"]["model"] for one in done if one["metrics"].get("promoted")
        ]
        return held[-1] if held else f"{self.name}-sft"

    def _last_exam(self) -> str:
        done = self.run.state["stages"].items()
        taken: list[str] = [stage for stage, one in done if one["metrics"].get("promoted")]
        return ["after", *taken][-1]

    def _exam(self, when: str, model: str) -> Exam:
        questions = [Question(**stored) for stored in self._read("questions.json")]
        bundle = load_model(self.store.path(self.store.get(model)))
        exam = Exam.taken(bundle, model, questions, self.validation[:EXAMINED])
        self._write(f"exam-{when}.json", exam.to_json())
        return exam

    def _examined(self, when: str, model: str) -> Table:
        exam = self._exam(when, model)
        good, asked = sum(answer["ok"] for answer in exam.answers), len(exam.answers)
        told = {"asked": asked, "in_format": good, "share": good / max(1, asked)}
        return told | exam.figures

    def _report(self) -> Table:
        base = load_model(self.store.path(self.store.get(f"{self.name}-base")))
        exams = {when: Exam(**self._read(f"exam-{when}.json")) for when in self._examinations()}
        card = build_card(
            self.store, self.run, self.name, base, self.validation, self.baselines(), exams,
            self._last_exam(),
        )  # fmt: skip
        write_report(self.run.report_path, card)
        return {}

    def _examinations(self) -> list[str]:
        """The tests that were taken, in order."""
        done = self.run.state["stages"].items()
        return ["before", "after", *(stage for stage, one in done if "checks" in one["metrics"])]

    def _say_where(self, stages: Table) -> None:
        before, after = (stages[f"answers {when}"]["metrics"] for when in ("before", "after"))
        seconds = sum(stage["seconds"] for stage in stages.values())
        say(
            f"Answers in the asked format: {before['in_format']} of {before['asked']} before "
            f"fine-tuning, {after['in_format']} after. {seconds / 60:.1f} minutes in all."
        )
        say(f"Model:  {self.name}  ({self.store.path(self.store.get(self.name))})")
        say(f"Report: {self.run.report_path}")
        if page := stages["page"]["metrics"]["page"]:
            say(f"Page:   {page}  (runs the model in any browser: mail it)")
        say(f"Talk:   langwright chat {self.name}")

    def _write(self, file: str, values: Any) -> None:
        write_atomic(self.run.folder / file, json.dumps(values, ensure_ascii=False))

    def _read(self, file: str) -> Any:
        return json.loads((self.run.folder / file).read_text(encoding="utf-8"))


def _nothing(part: str, error: BadInput) -> Table:
    """The settings were checked: the corpus is too small, or what the model says teaches nothing.
    A life that has come so far goes on without this part, and its report says why."""
    say(f"{part} came to nothing: {error}")
    return {"why": error.message}
