"""A run of constitutional AI, from its settings to its report."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from langwright.backend import Backend
from langwright.errors import BadInput, LangwrightError
from langwright.evaluation.harm import require_scorer
from langwright.progress import say
from langwright.store import Artifact, Run, Store
from langwright.training.constitutional.author import Author
from langwright.training.constitutional.feedback import compare_answers, write_comparisons
from langwright.training.constitutional.forms import Forms
from langwright.training.constitutional.judges import Judge, ModelJudge
from langwright.training.constitutional.ledger import Ledger
from langwright.training.constitutional.lessons import TEACHERS, Lesson, Result, Teacher, stages_of
from langwright.training.constitutional.materials import Materials
from langwright.training.constitutional.measuring import Measured, measure
from langwright.training.constitutional.report import write_report
from langwright.training.constitutional.revising import revise
from langwright.training.constitutional.rules import RuleJudge
from langwright.training.constitutional.settings import RULES, ConstitutionSettings
from langwright.training.constitutional.transcript import Transcript, counts, write_transcripts

_UNTRAINED: Result = {"steps": 0, "tokens": 0, "weights_sha256": None, "metrics": {}}


@dataclass
class Course:
    """One run; `teachers` train what it asks for."""

    recipe: str
    run: Run
    settings: ConstitutionSettings
    store: Store
    teachers: Mapping[str, Teacher] = field(default_factory=lambda: TEACHERS)

    def __post_init__(self) -> None:
        self.materials = Materials(self.settings, self.store)
        self.stages = stages_of(self.settings.train, self.teachers)
        self._model = self.settings.model
        self._author: Author | None = None
        self._results: dict[str, Result] = {}
        self._measured: dict[str, Measured] = {}

    def take(self) -> Result:
        """All of it, from where it was left; a finished run answers at once."""
        self._check()
        parents = self._parents(self.settings.model, self.materials.helpful)
        self.run.open(
            self.settings.model_dump(mode="json") | {"sources": self.materials.fingerprint},
            [parent.digest for parent in parents],
            free={"device"},
            defaults=self.settings.defaults(),
        )
        with self.run.locked():
            if self.run.state["status"] == "finished":
                result: Result = self.run.state["result"]
                return result
            started = time.perf_counter() - self.run.state.get("seconds", 0.0)
            self.run.update_state(status="running", fault=None)
            try:
                result = self._taken()
            except BaseException as error:
                told = error.to_json()["error"] if isinstance(error, LangwrightError) else None
                seconds = time.perf_counter() - started
                self.run.update_state(status="stopped", fault=told, seconds=seconds)
                raise
            seconds = time.perf_counter() - started
            self.run.update_state(status="finished", result=result, seconds=seconds)
        say(f"{self.run.name}: finished; the report is {self.run.report_path}.")
        return result

    def _check(self) -> None:
        """Whatever can be wrong is found before hours are spent."""
        self.materials.check()
        if self.settings.scorer != "none":
            require_scorer()
        if self.settings.judge == RULES:
            RuleJudge(self.materials.constitution)
        for stage in self.stages:
            self.store.get(self.settings.model)  # what is trained must lie in the store
            self.teachers[stage].check(self._lesson(stage, "not yet there"))

    def _taken(self) -> Result:
        self.ledger = Ledger(self.run.folder / "generated.jsonl")
        with self.store.writing(f"{self.run.name}-constitution", "constitution") as draft:
            for file, text in self.materials.sources.items():
                (draft.folder / file).write_text(text, encoding="utf-8", newline="\n")
        source = draft.artifact
        self._measure("before")
        parameters = num_parameters(self.author.backend)
        found, transcripts = self._transcripts(source)
        conversations = self._conversations(found, transcripts)
        self._learn("sft", conversations)
        judged, comparisons = self._comparisons(source)
        self._learn("dpo", comparisons)
        result = {
            **(list(self._results.values())[-1] if self._results else _UNTRAINED),
            "run": self.run.name,
            "model": self._model,
            "stages": {stage: one["model"] for stage, one in self._results.items()},
            "data": {
                "transcripts": transcripts.name,
                "conversations": conversations.name if conversations else None,
                "comparisons": comparisons.name,
            },
            "revisions": counts(found)
            | {"helpful": conversations.metrics["helpful"] if conversations else 0},
            "feedback": judged,
        }
        path, seed = self.run.report_path, self.settings.seed
        return result | write_report(path, result, self._measured, found, parameters, seed)

    @property
    def author(self) -> Author:
        """The model as it stands, opened when it is first asked."""
        if self._author is None:
            chosen = self.settings
            self._author = Author(
                self._open(self._model),
                self.ledger,
                chosen.max_tokens,
                chosen.temperature,
                chosen.top_p,
                chosen.seed,
            )
        return self._author

    def _measure(self, stage: str) -> None:
        held_out, questions = self.materials.held_out, self.materials.questions
        self._measured[stage] = measure(
            self.author, stage, held_out, questions, self.settings.scorer
        )

    def _transcripts(self, source: Artifact) -> tuple[list[Transcript], Artifact]:
        chosen = self.settings
        found = revise(
            self.author,
            self.materials.constitution,
            self.materials.prompts,
            chosen.rounds,
            Forms(chosen.shots),
        )
        told = counts(found)
        say(_told(told))
        how = {
            "model": self._model,
            "constitution": chosen.constitution,
            "sampling": self.author.sampling,
        }
        name, parents = f"{self.run.name}-transcripts", self._parents(self._model, source)
        with self.store.writing(name, "transcripts", parents=parents, metrics=told) as draft:
            write_transcripts(draft.folder / "transcripts.jsonl", found, how)
        return found, draft.artifact

    def _conversations(self, found: list[Transcript], transcripts: Artifact) -> Artifact | None:
        """The revisions, and of the helpful conversations as many as go with them, mixed."""
        lines = [
            {
                "messages": [
                    {"role": "user", "content": one.prompt},
                    {"role": "assistant", "content": one.revised},
                ]
            }
            for one in found
            if one.revised is not None
        ]
        if not lines and "dpo" in self.stages:
            say("No revision can be learnt from; what remains are the comparisons.")
        elif not lines and self.stages:
            raise BadInput(
                "There is no revision to learn from.",
                remedy=f"`langwright transcripts {self.run.name}` shows what came; a larger model, "
                "more max_tokens or more shots may help.",
            )
        if not lines:
            return None
        chance = random.Random(self.settings.seed)  # noqa: S311 - no secret
        known = self.materials.helpful_lines
        wanted = round(self.settings.helpful_per_revision * len(lines))
        drawn = chance.sample(known, min(wanted, len(known)))
        if self.materials.helpful is not None and len(known) < wanted:
            say(f"There are {len(known)} helpful conversations for {len(lines)} revisions.")
        mixed = [*lines, *drawn]
        chance.shuffle(mixed)
        parents = [transcripts, *([self.materials.helpful] if self.materials.helpful else [])]
        metrics = {"revisions": len(lines), "helpful": len(drawn)}
        name = f"{self.run.name}-revisions"
        with self.store.writing(name, "conversations", parents=parents, metrics=metrics) as draft:
            text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in mixed)
            path = draft.folder / "conversations.jsonl"
            path.write_text(text, encoding="utf-8", newline="\n")
        return draft.artifact

    def _comparisons(self, source: Artifact) -> tuple[dict[str, Any], Artifact]:
        chosen, judge = self.settings, self._judge()
        feedback = compare_answers(
            self.author,
            judge,
            self.materials.constitution,
            self.materials.prompts,
            chosen.pairs_per_prompt,
        )
        judged = feedback.counts(judge)
        name, parents = f"{self.run.name}-comparisons", self._parents(self._model, source)
        with self.store.writing(name, "comparisons", parents=parents, metrics=judged) as draft:
            path, by = draft.folder / "comparisons.jsonl", f"constitution {chosen.constitution}"
            write_comparisons(path, feedback.comparisons, judge, self.author, by)
        return judged, draft.artifact

    def _learn(self, stage: str, data: Artifact | None) -> None:
        """Train by the stage's teacher, if the run goes so far, and measure what came of it."""
        if stage not in self.stages or data is None:
            return
        self._author = None  # training needs its memory
        self._results[stage] = self.teachers[stage].teach(self._lesson(stage, data.name))
        self._model = self._results[stage]["model"]
        self._measure(stage)

    def _lesson(self, stage: str, data: str) -> Lesson:
        return Lesson(self.recipe, f"{self.run.name}-{stage}", self._model, data, self.store)

    def _judge(self) -> Judge:
        if self.settings.judge == RULES:
            return RuleJudge(self.materials.constitution)
        same = self.settings.judge == self._model
        backend = self.author.backend if same else self._open(self.settings.judge)
        return ModelJudge(backend, self.ledger)

    def _open(self, model: str) -> Backend:
        from langwright.inference import EngineSettings
        from langwright.providers import open_model

        # What was generated before a kill must be what would have come without it.
        exact = EngineSettings(deterministic=True)
        device, store = self.settings.device, self.store
        return open_model(model, device=device, settings=exact, store=store).backend

    def _parents(self, model: str, other: Artifact | None) -> list[Artifact]:
        """`other` and the model, as far as they lie in the store: a path or an address does not."""
        known = {one.name for one in self.store.artifacts("model")}
        return [*([other] if other else []), *([self.store.get(model)] if model in known else [])]


def _told(found: Mapping[str, Any]) -> str:
    faults = ", ".join(f"{count} {fault}" for fault, count in found["faults"].items() if count)
    return (
        f"{found['revised']} of {found['prompts']} answers were revised; {found['set_aside']} are "
        f"set aside. Of {found['rounds']} rounds {faults or 'none had a fault'}."
    )


def num_parameters(backend: Backend) -> int | None:
    """Of a model that this program runs itself."""
    from langwright.inference import Engine

    if not isinstance(backend, Engine):
        return None
    return sum(weight.numel() for weight in backend.bundle.module.parameters())
