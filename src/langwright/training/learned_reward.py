"""A reward model of the store as a reward, and the rewards of a run together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import torch
from pydantic import Field, model_validator

from langwright.config import Settings
from langwright.errors import BadInput
from langwright.evaluation.rewards import Asked, Combined, Rating, Reward, Rule
from langwright.model.reward import RewardBundle, load_reward
from langwright.providers import open_model
from langwright.store import Artifact, Store
from langwright.training.answers import AnswerBatch, encode_answer, gather_answers

_AT_ONCE = 4096


class RewardPart(Settings):
    """One of the rewards that a run adds up, times its `weight`: a `rule`, a reward `model` of the
    store, or a `judge`: a model that rates what is `criterion` from 1 to 10."""

    name: str
    weight: float = Field(1.0, allow_inf_nan=False)
    rule: Rule | None = None
    model: str | None = None
    judge: str | None = None
    criterion: str = "helpful, correct and fitting"

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(one is not None for one in (self.rule, self.model, self.judge)) != 1:
            raise ValueError(f"reward '{self.name}' needs exactly one of rule, model and judge")
        return self


class Learned:
    """What a reward model says of answers: on the scale of the answers that it was measured on, 0
    is their mean and 1 a deviation."""

    def __init__(self, held: RewardBundle) -> None:
        self._held = held

    def __call__(
        self, messages: Sequence[Mapping[str, str]], answer: str, row: Mapping[str, Any]
    ) -> float:
        return self.each([Asked(messages, answer, row)])[0]

    @torch.no_grad()
    def each(self, asked: Sequence[Asked]) -> list[float]:
        held, scale = self._held, self._held.scale
        template = held.bundle.template
        # An empty answer is one all the same: its end.
        rows = [encode_answer(template, one.messages, one.answer) for one in asked]
        window = held.module.shape.context_length
        if (longest := max((len(row.ids) for row in rows), default=0)) > window:
            raise BadInput(
                f"An answer with its prompt has {longest} tokens; the reward model reads {window}.",
                remedy="Lower context_length.",
            )
        found = [0.0] * len(rows)
        numbers = list(range(len(rows)))
        for chosen, part in gather_answers([[row] for row in rows], numbers, _AT_ONCE):
            batch = AnswerBatch.of(part, len(chosen), chosen).to(held.module.device)
            scores = held.module.scores(batch.ids_BT, batch.last_B).tolist()
            for number, score in zip(chosen, scores, strict=True):
                found[number] = (score - scale.mean) / scale.deviation
        return found


def reward_models(parts: Sequence[RewardPart], store: Store) -> list[Artifact]:
    """The reward models that are named, which are parents of the run. Raises `BadInput` for an
    artifact of another kind."""
    found = []
    for part in parts:
        if part.model is None:
            continue
        artifact = store.get(part.model)
        if artifact.kind != "reward":
            raise BadInput(
                f"'{part.model}' is a {artifact.kind}, no reward model.",
                remedy="Train one: `langwright reward RECIPE`.",
            )
        found.append(artifact)
    return found


def open_rewards(parts: Sequence[RewardPart], store: Store) -> Combined:
    """All of them, ready to be asked."""
    opened: dict[str, tuple[float, Reward]] = {}
    for part in parts:
        if part.name in opened:
            raise BadInput(f"Two rewards are named '{part.name}'.", remedy="Rename one.")
        reward: Reward
        if part.rule is not None:
            reward = part.rule
        elif part.model is not None:
            reward = Learned(load_reward(store.path(store.get(part.model))))
        else:
            assert part.judge is not None
            reward = Rating(open_model(part.judge, store=store).backend, part.criterion)
        opened[part.name] = part.weight, reward
    return Combined(opened)
