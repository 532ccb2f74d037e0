"""Constitutional AI as a stage: revisions, comparisons, what is learnt from them, and a report."""

from __future__ import annotations

import hashlib
import json
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from pydantic import Field

from langwright.backend import Backend, Device
from langwright.config import Settings
from langwright.errors import BadInput, LangwrightError
from langwright.evaluation.harm import require_scorer
from langwright.progress import say
from langwright.store import Artifact, Run, Store
from langwright.store.artifact import canonical_json
from langwright.training.constitutional.author import Author
from langwright.training.constitutional.feedback import compare_answers, write_comparisons
from langwright.training.constitutional.forms import Forms
from langwright.training.constitutional.judges import Judge, ModelJudge
from langwright.training.constitutional.ledger import Ledger
from langwright.training.constitutional.lessons import (
    TEACHERS,
    Aim,
    Lesson,
    Result,
    Teacher,
    stages_of,
)
from langwright.training.constitutional.measuring import Measured, measure
from langwright.training.constitutional.principles import Constitution, read_constitution
from langwright.training.constitutional.prompts import (
    Question,
    read_prompts,
    read_questions,
    require_apart,
)
from langwright.training.constitutional.report import write_report
from langwright.training.constitutional.revising import revise
from langwright.training.constitutional.rules import RuleJudge
from langwright.training.constitutional.transcript import Transcript, counts, write_transcripts
from langwright.training.lines import open_lines
from langwright.training.recipe import read_recipe

RULES = "rules"
"""The judge that is no model."""


class ConstitutionSettings(Settings):
    """Who answers, by which principles, who judges, and how far it goes.

    `model` answers `prompts`, criticises and revises its answers `rounds` times by principles of
    `constitution`, after `shots` examples; it then learns the last revisions (`train` `sft`) mixed
    with `helpful` conversations, `helpful_per_revision` to each. `judge` (`rules`, or a model)
    chooses between two answers to each prompt, `pairs_per_prompt` times. What comes of it is
    measured on `held_out` and `helpful_held_out`, harm by `scorer`. `house` names what comes with
    the package; else a constitution is a TOML file, prompts are .txt or .jsonl files.
    """

    model: str
    constitution: str = "house"
    prompts: str = "house"
    helpful: str | None = None
    helpful_per_revision: float = Field(1.0, ge=0)
    rounds: int = Field(2, ge=1, le=16)
    shots: int = Field(2, ge=0, le=3)
    judge: str = RULES
    pairs_per_prompt: int = Field(1, ge=1)
    train: Aim = "sft"
    held_out: str = "house"
    helpful_held_out: str = "house"
    scorer: Literal["alt-profanity-check", "none"] = "alt-profanity-check"
    max_tokens: int = Field(192, ge=1)
    temperature: float = Field(0.7, gt=0)
    top_p: float = Field(0.95, gt=0, le=1)
    seed: int = Field(0, ge=0)
    device: Device = "cpu"


def constitution(
    recipe: str,
    *,
    name: str | None = None,
    store: Store | None = None,
    **settings: object,
) -> Result:
    """Constitutional AI (Bai et al. 2022): a model criticises and revises its answers by written
    principles and learns the revisions; a judge compares pairs of its answers.

    Leaves the artifacts NAME-transcripts, NAME-revisions (conversations) and NAME-comparisons, the
    models NAME-sft and so on, and a report in the run's folder. A killed run goes on with what it
    has generated. Returns what a training verb returns, with "data", "revisions", "feedback",
    "evaluation" and "report".

    Raises `BadSettings`, `BadInput`, `NotFound` for wrong settings, prompts or names, `Unsupported`
    where a model cannot chat or the scorer is not installed; all before anything is generated.
    """
    store = store or Store()
    chosen = ConstitutionSettings.build(read_recipe(recipe, "constitution", settings))
    name = name or recipe.rpartition("/")[2].removesuffix(".toml")
    return Course(recipe, store.run(name), chosen, store).take()


@dataclass
class Course:
    """One run, from its settings to its report; `teachers` train."""

    recipe: str
    run: Run
    settings: ConstitutionSettings
    store: Store
    teachers: Mapping[str, Teacher] = field(default_factory=lambda: TEACHERS)

    def take(self) -> Result:
        """All of it; a finished run answers at once."""
        self._check()
        base = self._artifact(self.settings.model)
        parents = [one for one in (base, self._helpful) if one is not None]
        values = self.settings.model_dump(mode="json") | {"sources": self._fingerprint}
        self.run.open(
            values,
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
                result = self._taken(base)
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
        require_apart(self._prompts, self._held_out)
        require_apart(self._prompts, [one.prompt for one in self._questions])
        if self.settings.scorer != "none":
            require_scorer()
        for stage in stages_of(self.settings.train, self.teachers):
            read_recipe(self.recipe, stage, {})
            self.store.get(self.settings.model)  # what is trained must lie in the store
        if self.settings.judge == RULES:
            RuleJudge(self._constitution)

    def _taken(self, base: Artifact | None) -> Result:
        chosen, name, store = self.settings, self.run.name, self.store
        stages = stages_of(chosen.train, self.teachers)
        with store.writing(f"{name}-constitution", "constitution") as draft:
            for file, text in self._sources.items():
                (draft.folder / file).write_text(text, encoding="utf-8", newline="\n")
        source = draft.artifact
        ledger = Ledger(self.run.folder / "generated.jsonl")
        backend = self._open(chosen.model)
        author = self._author(backend, ledger)
        measured = {"before": self._measure(author, "before")}

        found = revise(
            author, self._constitution, self._prompts, chosen.rounds, Forms(chosen.shots)
        )
        told = counts(found)
        say(_told(told))
        parents = [source, *([base] if base else [])]
        with store.writing(f"{name}-transcripts", "transcripts", parents=parents) as draft:
            how = {
                "model": backend.name,
                "constitution": chosen.constitution,
                "sampling": author.sampling,
            }
            write_transcripts(draft.folder / "transcripts.jsonl", found, how)
            draft.metrics |= {key: value for key, value in told.items() if key != "faults"}
        transcripts = draft.artifact
        conversations = self._conversations(found, transcripts)
        told |= {"helpful": conversations.metrics["helpful"]}

        model, results = chosen.model, dict[str, Result]()
        if "sft" in stages:
            results["sft"] = self._teach("sft", model, conversations.name)
            model = results["sft"]["model"]
            backend = self._open(model)
            author = self._author(backend, ledger)
            measured["sft"] = self._measure(author, "sft")

        judge = self._judge(backend if chosen.judge == model else None, ledger)
        feedback = compare_answers(
            author, judge, self._constitution, self._prompts, chosen.pairs_per_prompt
        )
        judged = feedback.counts(judge)
        trained = self._artifact(model)
        parents = [source, *([trained] if trained else [])]
        with store.writing(f"{name}-comparisons", "comparisons", parents=parents) as draft:
            path = draft.folder / "comparisons.jsonl"
            write_comparisons(
                path, feedback.comparisons, judge, author, f"constitution {chosen.constitution}"
            )
            draft.metrics |= judged
        if "dpo" in stages:
            results["dpo"] = self._teach("dpo", model, f"{name}-comparisons")
            model = results["dpo"]["model"]
            author = self._author(self._open(model), ledger)
            measured["dpo"] = self._measure(author, "dpo")

        last = list(results.values())[-1] if results else {"steps": 0, "metrics": {}}
        result = last | {
            "run": name,
            "model": model,
            "stages": {stage: one["model"] for stage, one in results.items()},
            "data": {
                "transcripts": transcripts.name,
                "conversations": conversations.name,
                "comparisons": f"{name}-comparisons",
            },
            "revisions": told,
            "feedback": judged,
        }
        result |= write_report(
            self.run.report_path, result, measured, found, num_parameters(backend), chosen.seed
        )
        return result

    def _teach(self, stage: str, model: str, data: str) -> Result:
        lesson = Lesson(self.recipe, f"{self.run.name}-{stage}", model, data, self.store)
        return self.teachers[stage](lesson)

    def _conversations(self, found: list[Transcript], transcripts: Artifact) -> Artifact:
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
        if not lines:
            raise BadInput(
                f"Not one of {len(found)} answers was revised: {_told(counts(found))}",
                remedy=f"`langwright transcripts {self.run.name}` shows what came; a larger model, "
                "more max_tokens or more shots may help.",
            )
        chance = random.Random(self.settings.seed)  # noqa: S311 - no secret
        wanted = round(self.settings.helpful_per_revision * len(lines))
        known = self._helpful_lines
        drawn = chance.sample(known, min(wanted, len(known)))
        if self._helpful is not None and len(known) < wanted:
            say(f"There are {len(known)} helpful conversations for {len(lines)} revisions.")
        mixed = [*lines, *drawn]
        chance.shuffle(mixed)
        parents = [transcripts, *([self._helpful] if self._helpful else [])]
        with self.store.writing(
            f"{self.run.name}-revisions", "conversations", parents=parents
        ) as draft:
            text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in mixed)
            path = draft.folder / "conversations.jsonl"
            path.write_text(text, encoding="utf-8", newline="\n")
            draft.metrics |= {"revisions": len(lines), "helpful": len(drawn)}
        return draft.artifact

    def _measure(self, author: Author, stage: str) -> Measured:
        return measure(author, stage, self._held_out, self._questions, self.settings.scorer)

    def _author(self, backend: Backend, ledger: Ledger) -> Author:
        chosen = self.settings
        return Author(
            backend, ledger, chosen.max_tokens, chosen.temperature, chosen.top_p, chosen.seed
        )

    def _judge(self, same: Backend | None, ledger: Ledger) -> Judge:
        if self.settings.judge == RULES:
            return RuleJudge(self._constitution)
        return ModelJudge(same or self._open(self.settings.judge), ledger)

    def _open(self, model: str) -> Backend:
        from langwright.inference import EngineSettings
        from langwright.providers import open_model

        # What was generated before a kill must be what would have come without it.
        exact = EngineSettings(deterministic=True)
        return open_model(
            model, device=self.settings.device, settings=exact, store=self.store
        ).backend

    def _artifact(self, name: str) -> Artifact | None:
        known = {one.name for one in self.store.artifacts("model")}
        return self.store.get(name) if name in known else None

    @cached_property
    def _constitution(self) -> Constitution:
        return read_constitution(self.settings.constitution)

    @cached_property
    def _prompts(self) -> list[str]:
        return read_prompts(self.settings.prompts, "red")

    @cached_property
    def _held_out(self) -> list[str]:
        return read_prompts(self.settings.held_out, "held_out")

    @cached_property
    def _questions(self) -> list[Question]:
        return read_questions(self.settings.helpful_held_out)

    @cached_property
    def _helpful(self) -> Artifact | None:
        if self.settings.helpful is None:
            return None
        shape = '{"messages": [...]}'
        return open_lines(self.settings.helpful, "conversations", shape, self.store)

    @cached_property
    def _helpful_lines(self) -> list[Any]:
        if self._helpful is None:
            return []
        path = self.store.path(self._helpful) / "conversations.jsonl"
        return [json.loads(line) for line in path.read_bytes().splitlines() if line.strip()]

    @cached_property
    def _sources(self) -> dict[str, str]:
        """What the run goes by, file by file."""
        plain = [{"prompt": one.prompt, "expects": one.expects} for one in self._questions]
        values = {
            "constitution.json": self._constitution.model_dump(mode="json"),
            "prompts.json": self._prompts,
            "held_out.json": self._held_out,
            "helpful_held_out.json": plain,
        }
        return {
            file: json.dumps(value, ensure_ascii=False, indent=1) + "\n"
            for file, value in values.items()
        }

    @cached_property
    def _fingerprint(self) -> str:
        """Changes with what the files say that the settings name."""
        return hashlib.sha256(canonical_json(self._sources).encode()).hexdigest()[:16]


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
