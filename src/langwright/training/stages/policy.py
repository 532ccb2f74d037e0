"""What reinforcement learning shares: prompts, answers drawn from the model, and their rewards.

The policy is trained on answers that it has drawn itself. A rollout draws them, has them rewarded
and keeps their log-probabilities by the policy of that moment (`old`) and by the model as it was at
first (`reference`): three models, never one variable. So many steps then learn from it.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from langwright.errors import BadInput, Damaged
from langwright.evaluation.rewards import Asked, Combined
from langwright.progress import progress
from langwright.store import Run
from langwright.training.answers import AnswerBatch, gather_answers
from langwright.training.epochs import Epochs, held_out
from langwright.training.learned_reward import RewardPart
from langwright.training.objectives import policy_figures
from langwright.training.prompt_data import PromptRow
from langwright.training.rollout import Drawn, draw, logprobs_of
from langwright.training.trained import Model
from langwright.training.tuning import TuningSettings

TRANSCRIPTS = "rollouts.jsonl"
EVALUATED_PROMPTS = 64
APART = 0.02
"""How far log-probabilities of engine and trainer may lie from each other in float32, on average
over a rollout, in nats: beyond it they do not compute the same model."""


class PolicySettings(TuningSettings):
    """The recipe of a run that learns from rewards. `data` holds prompts: an artifact of kind
    `prompts` or a .jsonl file, a row {"messages": […]} or {"prompt": "…"} with whatever fields the
    rewards want to know.

    A rollout draws `group_size` answers, of up to `max_tokens` at `temperature`, to each of
    `prompts_per_rollout` prompts. It is learnt from `epochs` times, in `minibatches` steps each.
    An answer that does not end by itself loses `unended_penalty`. The run ends early once its
    answers are `max_kl` nats from the reference on average: a reward that goes on rising there is
    mostly one that is being cheated (Gao et al. 2022). The `guard` is off: the loss of a policy has
    no level that it could rise from.
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
        return self

    @property
    def updates(self) -> int:
        """Steps that learn from one rollout."""
        return self.epochs * self.minibatches


@dataclass
class Rollout:
    """`answers`, those to one prompt side by side, with their log-probabilities by the policy that
    drew them and by the reference, each [A], and rewards."""

    number: int
    answers: list[Drawn]
    old: list[Tensor]
    reference: list[Tensor]
    rewards: Tensor


class PolicyStage:
    """Rollouts and the steps that learn from them; what a step makes of them is a subclass's."""

    name = "policy"
    unit = "units"
    foreknown = False

    def __init__(
        self,
        settings: PolicySettings,
        trained: Model,
        reference: nn.Module | None,
        prompts: Sequence[PromptRow],
        rewards: Combined,
    ) -> None:
        self._settings, self._trained, self._reference = settings, trained, reference
        self._rewards = rewards
        self._words = trained.bundle.tokenizer.vocab_size
        keys = [json.dumps(list(one.messages), sort_keys=True).encode() for one in prompts]
        out = held_out(keys, settings.validation_fraction)
        self._train = [one for one, chosen in zip(prompts, out, strict=True) if not chosen]
        self._validation = [one for one, chosen in zip(prompts, out, strict=True) if chosen]
        if not self._train:
            raise BadInput("All prompts are the same.", remedy="Give different ones.")
        self._epochs = Epochs([1] * len(self._train), settings.prompts_per_rollout, settings.seed)
        self._rollout: Rollout | None = None
        self._run: Run | None = None
        self._fresh: dict[str, float] = {}
        self._sums: dict[str, float] = defaultdict(float)
        self._counts: dict[str, float] = defaultdict(float)
        self.stopped: str | None = None

    @property
    def edge(self) -> int:
        return self._settings.updates

    def begin(self, module: nn.Module, run: Run, fresh: bool) -> None:
        self._run = run
        if self._reference is not None:
            like = next(module.parameters())
            self._reference.to(device=like.device, dtype=like.dtype)
            self._reference.eval().requires_grad_(False)
        path = run.folder / TRANSCRIPTS
        if fresh:
            path.unlink(missing_ok=True)

    def micro_batches(self, step: int) -> Sequence[AnswerBatch]:
        settings = self._settings
        number, update = divmod(step, settings.updates)
        if self._rollout is None or self._rollout.number != number:
            self._rollout = self._rolled(number)
            self._weigh(self._rollout)
        epoch, part = divmod(update, settings.minibatches)
        seeds = np.random.SeedSequence(settings.seed, spawn_key=(number, epoch))
        order = np.random.Generator(np.random.Philox(seeds)).permutation(len(self._rollout.answers))
        chosen = self._worthwhile(order[part :: settings.minibatches].tolist())
        rows = [[self._rollout.answers[one].row] for one in chosen]
        gathered = gather_answers(rows, chosen, settings.micro_batch_tokens)
        return [AnswerBatch.of(part, self._units(part), numbers) for numbers, part in gathered]

    def _worthwhile(self, chosen: list[int]) -> list[int]:
        """Those answers of a step that teach anything."""
        return chosen

    @abstractmethod
    def _units(self, rows: Sequence[Any]) -> int:
        """What the loss of these rows is a sum over."""

    @abstractmethod
    def _weigh(self, rollout: Rollout) -> None:
        """Find out how much better each answer, or token, was than expected."""

    def _rolled(self, number: int) -> Rollout:
        settings, trained = self._settings, self._trained
        asked = [self._train[one] for one in self._epochs.step(number)]
        trained.module.eval()
        count = len(asked) * settings.group_size
        with progress(f"rollout {number + 1}", count) as bar:
            drawn = draw(
                trained,
                [one.messages for one in asked],
                settings.group_size,
                max_tokens=settings.max_tokens,
                temperature=settings.temperature,
                seed=_seed(settings.seed, number),
                advance=lambda done: bar.advance(done, ""),
            )
        answers = [one for group in drawn for one in group]
        rewarded = self._rewards.rewarded(
            [
                Asked(one.messages, answer.text, one.row)
                for one, group in zip(asked, drawn, strict=True)
                for answer in group
            ]
        )
        rows = [answer.row for answer in answers]
        width, heat = settings.micro_batch_tokens, settings.temperature
        old = logprobs_of(trained, rows, width, heat)
        reference = logprobs_of(
            trained, rows, width, heat, reference=self._reference, without_adapter=True
        )
        trained.module.train()
        totals = torch.tensor(rewarded.totals)
        if not bool(totals.isfinite().all()):
            raise BadInput(
                "A reward is no number.", remedy="See what the judge says; take a rule instead."
            )
        ended = torch.tensor([answer.ended for answer in answers])
        rewards = totals - settings.unended_penalty * (~ended).float()
        kls = torch.stack([(a - b).sum() for a, b in zip(old, reference, strict=True)])
        apart = self._apart(answers, old)
        sizes = [answer.row.size for answer in answers]
        self._fresh = {
            "reward": float(rewards.mean()),
            "reward_deviation": float(rewards.std()) if len(rewards) > 1 else 0.0,
            **{f"reward_{name}": sum(each) / count for name, each in rewarded.parts.items()},
            "kl": float(kls.mean()),
            "answer_tokens": sum(sizes) / count,
            "ended": float(ended.float().mean()),
            "engine_apart": apart,
        }
        self._keep(number, asked, answers, rewarded.parts, rewards, kls)
        limit = settings.max_kl
        if limit is not None and float(kls.mean()) > limit:
            self.stopped = (
                f"the answers are {float(kls.mean()):.2f} nats from the reference, beyond max_kl "
                f"({limit:g})"
            )
        return Rollout(number, answers, old, reference, rewards)

    def _apart(self, answers: Sequence[Drawn], old: Sequence[Tensor]) -> float:
        """The greatest distance between the log-probabilities that the engine drew by and those of
        the trainer's pass over the same tokens. Raises `Damaged` where, in float32, they are on
        average further apart than rounding can be."""
        both = [
            np.abs(answer.logprobs - values.double().numpy())
            for answer, values in zip(answers, old, strict=True)
        ]
        every = np.concatenate(both)
        exact = self._trained.module.dtype == torch.float32
        if exact and every.mean() > APART:
            raise Damaged(
                "Engine and trainer do not agree on the log-probabilities of answers: "
                f"{every.mean():.3g} nats apart on average.",
                remedy="Report this: the two must compute the same model.",
            )
        return float(every.max())

    def _keep(
        self,
        number: int,
        asked: Sequence[PromptRow],
        answers: Sequence[Drawn],
        parts: Mapping[str, Sequence[float]],
        rewards: Tensor,
        kls: Tensor,
    ) -> None:
        """Add the answers to the transcripts, for people; those of a rollout that is drawn again
        after a kill take the place of the lines before."""
        assert self._run is not None
        path = self._run.folder / TRANSCRIPTS
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        lines = [line for line in lines if json.loads(line)["rollout"] < number]
        for place, answer in enumerate(answers):
            told = {
                "rollout": number,
                "messages": list(asked[place // self._settings.group_size].messages),
                "answer": answer.text,
                "ended": answer.ended,
                "reward": float(rewards[place]),
                "rewards": {name: values[place] for name, values in parts.items()},
                "kl": float(kls[place]),
            }
            lines.append(json.dumps(told, ensure_ascii=False))
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def _watch(
        self, batch: AnswerBatch, policy_BA: Tensor, old_BA: Tensor, advantages_BA: Tensor
    ) -> None:
        settings = self._settings
        found = policy_figures(
            policy_BA.detach(), old_BA, advantages_BA, batch.mask_BA,
            settings.clip_low, settings.clip_high,
        )  # fmt: skip
        self._add(found, sum(batch.sizes))

    def _add(self, sums: Mapping[str, float], count: float) -> None:
        for key, value in sums.items():
            self._sums[key] += value
            self._counts[key] += count

    def figures(self) -> dict[str, float]:
        told = {key: value / self._counts[key] for key, value in self._sums.items()}
        told, self._fresh = told | self._fresh, {}
        self._sums.clear()
        self._counts.clear()
        return told

    def bits_per_byte(self, loss: float) -> None:
        """The loss is one of rewards, not of a text."""
        return None

    def evaluate(self, module: Any, whole: bool) -> dict[str, float]:
        """The mean reward of an answer to each held-out prompt, drawn as in training; `val_loss` is
        its opposite."""
        prompts = self._validation if whole else self._validation[:EVALUATED_PROMPTS]
        settings = self._settings
        self._trained.module.eval()
        drawn = draw(
            self._trained,
            [one.messages for one in prompts],
            1,
            max_tokens=settings.max_tokens,
            temperature=settings.temperature,
            seed=_seed(settings.seed, -1),
        )
        asked = [
            Asked(one.messages, group[0].text, one.row)
            for one, group in zip(prompts, drawn, strict=True)
        ]
        rewarded = self._rewards.rewarded(asked)
        count = len(prompts)
        mean = sum(rewarded.totals) / count
        parts = {f"val_reward_{name}": sum(each) / count for name, each in rewarded.parts.items()}
        return {"val_loss": -mean, "val_reward": mean, **parts}


def _seed(seed: int, number: int) -> int:
    """That of a rollout's first answer; those of other rollouts are far from it."""
    state = np.random.SeedSequence(seed, spawn_key=(number + 1,)).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(2))
