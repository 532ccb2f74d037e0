"""The settings that every way to learn from rewards shares."""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field, model_validator

from langwright.training.learned_reward import RewardPart
from langwright.training.tuning import TuningSettings


class PolicySettings(TuningSettings):
    """The recipe of a run that learns from rewards. `data` holds prompts: an artifact of kind
    `prompts` or a .jsonl file, a row {"messages": […]} or {"prompt": "…"} with whatever fields the
    rewards want to know.

    A rollout draws `group_size` answers, of up to `max_tokens` at `temperature`, to each of
    `prompts_per_rollout` prompts. It is learnt from `epochs` times, in `minibatches` steps each.
    An answer that does not end by itself loses `unended_penalty`. The run ends early once its
    answers are `max_kl` nats from the reference on average: a reward that goes on rising there is
    mostly one that is being cheated (Gao et al. 2022). `gold` names one of the rewards, whose
    weight may be 0, as the one that is meant: the run ends early once it falls on the held-out
    prompts (see `Gold`), and its model is that of the evaluation with the most of it. The `guard`
    is off: the loss of a policy has no level that it could rise from.
    """

    data: str
    rewards: tuple[RewardPart, ...] = Field(min_length=1)
    group_size: int = Field(8, ge=1, le=1024)
    prompts_per_rollout: int = Field(8, ge=1)
    minibatches: int = Field(1, ge=1)
    epochs: int = Field(1, ge=1)
    max_tokens: int = Field(ge=1)
    temperature: float = Field(1.0, gt=0, allow_inf_nan=False)
    unended_penalty: float = Field(0.0, ge=0, allow_inf_nan=False)
    clip_low: float = Field(0.2, gt=0, lt=1)
    clip_high: float = Field(0.2, gt=0)
    max_kl: float | None = Field(None, gt=0)
    gold: str | None = None
    guard: bool = False
    validation_fraction: float = Field(0.05, gt=0, lt=1)

    @model_validator(mode="before")
    @classmethod
    def _sized(cls, values: Any) -> Any:
        """A step learns from answers, whose tokens nobody knows before."""
        if isinstance(values, dict) and "tokens_per_step" not in values:
            context = values.get("context_length")
            if isinstance(context, int):
                return values | {"tokens_per_step": context}
        return values

    @model_validator(mode="after")
    def _whole(self) -> PolicySettings:
        if self.lora_dropout:
            # The first pass must find the log-probabilities that the answers were drawn by.
            raise ValueError("learning from rewards goes without lora_dropout")
        if self.max_tokens >= self.context_length:
            raise ValueError("context_length must hold a prompt and max_tokens of its answer")
        if self.checkpoint_every % self.updates:
            raise ValueError(
                f"checkpoint_every must be a multiple of epochs * minibatches ({self.updates}): a "
                "run goes on from the edge of a rollout"
            )
        if self.gold is not None:
            names = [part.name for part in self.rewards]
            if self.gold not in names:
                raise ValueError(f"gold must be one of the rewards: {', '.join(names)}")
            if self.eval_every % self.updates:
                raise ValueError(
                    f"with gold, eval_every must be a multiple of epochs * minibatches "
                    f"({self.updates}): the best evaluation is kept as a checkpoint"
                )
            if self.guard:
                raise ValueError(
                    "gold goes without the guard, which may go back to before its best"
                )
        return self

    def divided(self, ranks: int) -> Self:
        """The same: it runs in one process, and `tokens_per_step` says nothing of answers."""
        return self

    @property
    def updates(self) -> int:
        """Steps that learn from one rollout."""
        return self.epochs * self.minibatches
