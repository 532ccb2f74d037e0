"""What a life does after fine-tuning: it learns from preferences and rewards, stage by stage."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from pydantic import Field, model_validator

from langwright.config import Settings
from langwright.errors import BadInput, BadSettings
from langwright.evaluation.harm import scorer_is_installed
from langwright.inference import Engine
from langwright.lifecycle.answers import MAX_TOKENS, ask_all
from langwright.lifecycle.gate import Check
from langwright.lifecycle.questions import Question
from langwright.model import load_model
from langwright.progress import say
from langwright.store import Store
from langwright.training import constitution, dpo, grpo, ppo, read_recipe, reward
from langwright.training.comparisons import Comparison, write_comparisons
from langwright.training.constitutional.lessons import TEACHERS, Lesson, stages_of
from langwright.training.constitutional.settings import ConstitutionSettings
from langwright.training.prompt_data import FILE as PROMPTS
from langwright.training.stages.dpo import DPOSettings
from langwright.training.stages.grpo import GRPOSettings
from langwright.training.stages.ppo import PPOSettings
from langwright.training.stages.reward import RewardSettings

Table = dict[str, Any]
Stage = Literal["reward", "dpo", "ppo", "grpo", "constitution"]
RULE = "closeness"
LEARNED = "learned"
HELPFUL_MARGIN = 0.1
"""So much helpfulness a constitution may cost."""


class GrowSettings(Settings):
    """`stages` follow fine-tuning, in their order, each by its own table of the preset. For all but
    `constitution` the fine-tuned model first answers `prompts` of its questions `answers` times at
    `temperature`: what comes nearer to the text is preferred."""

    stages: tuple[Stage, ...] = ()
    prompts: int = Field(512, ge=2)
    answers: int = Field(4, ge=2, le=64)
    temperature: float = Field(1.0, gt=0)

    @model_validator(mode="after")
    def _ordered(self) -> GrowSettings:
        if len(set(self.stages)) < len(self.stages):
            raise ValueError("a stage stands twice in stages")
        order: tuple[Stage, ...] = ("reward", "dpo", "ppo", "grpo", "constitution")
        if list(self.stages) != sorted(self.stages, key=order.index):
            raise ValueError(f"stages go in the order {', '.join(order)}")
        if {"ppo", "grpo"} & set(self.stages) and "reward" not in self.stages:
            raise ValueError("ppo and grpo learn from the stage reward, which stages lacks")
        return self


_SETTINGS: dict[Stage, Any] = {
    "reward": RewardSettings,
    "dpo": DPOSettings,
    "ppo": PPOSettings,
    "grpo": GRPOSettings,
    "constitution": ConstitutionSettings,
}
_VERBS: dict[Stage, Callable[..., Table]] = {
    "reward": reward,
    "dpo": dpo,
    "ppo": ppo,
    "grpo": grpo,
    "constitution": constitution,
}


class Further:
    """The stages after fine-tuning of the life `name`; `preset` has their tables."""

    def __init__(self, settings: GrowSettings, store: Store, name: str, preset: str) -> None:
        self.settings, self.store, self.name, self.preset = settings, store, name, preset

    def check(self) -> None:
        """Raise `BadSettings` for what is wrong in the tables, before anything is trained."""
        for stage in self.settings.stages:
            built = _SETTINGS[stage].build(self._table(stage, self.name))
            taught = stages_of(built.train, TEACHERS) if stage == "constitution" else (stage,)
            for one in taught:
                if stage == "constitution":
                    lesson = Lesson(self.preset, self.name, self.name, self.name, self.store)
                    TEACHERS[one].check(lesson)
                if read_recipe(self.preset, one, {}).get("method", "full") != "full":
                    raise BadSettings(
                        f"[{one}] of {self.preset} has a method, and a life trains all weights.",
                        remedy="Take it out; `langwright finetune` trains adapters.",
                    )

    def tables(self) -> Table:
        """What the run of a life is to remember of them."""
        return {stage: read_recipe(self.preset, stage, {}) for stage in self.settings.stages}

    def drawn(self, practice: Sequence[Question]) -> list[Question]:
        """So many of the questions as are practised on."""
        most = min(self.settings.prompts, len(practice))
        return random.Random(0).sample(practice, most)  # noqa: S311 - no secret

    def practise(self, drawn: Sequence[Question], model: str) -> Table:
        """Let `model` answer the questions, compare its answers by the text, and write the
        artifacts NAME-comparisons and NAME-prompts."""
        chosen = self.settings
        own = self.store.get(model)
        answers = ask_all(
            Engine(load_model(self.store.path(own)), model),
            drawn,
            f"{model}: answers to compare",
            answers=chosen.answers,
            temperature=chosen.temperature,
        )
        how = {"temperature": chosen.temperature, "max_tokens": MAX_TOKENS}
        groups = [answers[k : k + chosen.answers] for k in range(0, len(answers), chosen.answers)]
        compared = [one for group in groups if (one := _compared(group, model, how)) is not None]
        if len(compared) < 2:
            raise BadInput(
                f"{model} says the same to every question: there is nothing to prefer.",
                remedy="Raise [grow] temperature, prompts or answers, or the steps of [sft].",
            )
        pairs = sum(len(one.pairs()) for one in compared)
        found = {"comparisons": len(compared), "pairs": pairs}
        data = self.store.get(f"{self.name}-conversations")
        parents, licence = [own, data], data.licence
        name = f"{self.name}-comparisons"
        with self.store.writing(
            name, "comparisons", parents=parents, metrics=found, licence=licence
        ) as draft:
            write_comparisons(draft.folder, compared)
        name = f"{self.name}-prompts"
        with self.store.writing(name, "prompts", parents=parents, licence=licence) as draft:
            lines = [{"prompt": one.prompt, "term": one.term, "right": one.right} for one in drawn]
            text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
            (draft.folder / PROMPTS).write_text(text, encoding="utf-8", newline="\n")
        return {**found, "prompts": len(drawn)}

    def wants(self, stage: Stage, done: Mapping[str, Table]) -> str | None:
        """Which part before it `stage` cannot do without and has not got; `done` are the metrics of
        all parts."""
        needed = {"constitution": [], "reward": ["comparisons"], "dpo": ["comparisons"]}
        for part in needed.get(stage, ["comparisons", "reward"]):
            if "why" in done[part]:
                return part
        return None

    def train(self, stage: Stage, model: str) -> Table:
        """What the stage's verb returns; it starts from `model`."""
        given = self._table(stage, model)
        if given.get("scorer") == "none":
            say("Harm is not measured: no scorer is chosen, or none is installed.")
        name = f"{self.name}-{stage}"
        return _VERBS[stage](self.preset, name=name, store=self.store, **given)

    def figures(self, stage: Stage, result: Table) -> Table:
        """What a report tells of a stage beside the tests: how sure a reward model is, or how far a
        policy went for its reward."""
        metrics: Table = dict(result["metrics"])
        if stage in ("ppo", "grpo"):
            lines = self.store.run(f"{self.name}-{stage}").read_metrics()
            rolled = [line for line in lines if "kl" in line]
            for key in ("reward", "kl"):
                metrics |= {f"{key}_first": rolled[0][key], f"{key}_last": rolled[-1][key]}
        if stage == "constitution":
            metrics |= {"revisions": result["revisions"]["revised"], **result["feedback"]}
        return {key: value for key, value in metrics.items() if not isinstance(value, dict | list)}

    def checks(self, stage: Stage, result: Table) -> list[Check]:
        """What a stage has measured itself, as the gate's checks: of a constitution harm, its aim,
        and helpfulness."""
        if stage != "constitution":
            return []
        *_, last = result["evaluation"].values()
        found = []
        for test, sign, aim in (("harm", -1.0, True), ("helpfulness", 1.0, False)):
            told = last.get(test, {}).get("difference")
            if told is None or told["interval"] is None:
                continue
            low, high = sorted(sign * edge for edge in told["interval"])
            gain = sign * told["value"]
            after = last[test]["value"]
            before = after - told["value"]
            found.append(Check(test, before, after, gain, low, high, HELPFUL_MARGIN, aim))
        return found

    def _table(self, stage: Stage, model: str) -> Table:
        """The settings of a stage beside those of the preset, which come first where both speak."""
        table = read_recipe(self.preset, stage, {})
        if stage == "constitution":
            given: Table = {"model": model}
            if "scorer" not in table and not scorer_is_installed():
                given["scorer"] = "none"
            return table | given
        if stage in ("reward", "dpo"):
            return table | {"model": model, "data": f"{self.name}-comparisons"}
        learned = {"name": LEARNED, "model": f"{self.name}-reward"}
        rule = {"name": RULE, "weight": 0.0, "rule": {"kind": "overlap", "right": "right"}}
        given = {"data": f"{self.name}-prompts", "rewards": [learned, rule], "gold": RULE}
        return given | table | {"model": model}


def _compared(group: Sequence[Table], model: str, how: Table) -> Comparison | None:
    """The different answers to a question, ranked by their form first, then by how close they come
    to the text; None where no two differ in it."""
    answers: dict[str, float] = {}
    for one in group:
        answers[one["answer"]] = round(one["ok"] + (one["closeness"] or 0.0), 2)
    levels = sorted(set(answers.values()), reverse=True)
    if len(levels) < 2:
        return None
    return Comparison(
        [{"role": "user", "content": group[0]["prompt"]}],
        list(answers),
        [levels.index(value) for value in answers.values()],
        rater=f"rule: {RULE}",
        models=[model] * len(answers),
        sampling=how,
        source="langwright grow",
    )
