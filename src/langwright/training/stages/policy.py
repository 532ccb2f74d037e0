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
from torch import Tensor, nn

from langwright.errors import BadInput
from langwright.evaluation.rewards import Asked, Combined
from langwright.progress import progress
from langwright.store import Run
from langwright.training.answers import AnswerBatch, gather_answers
from langwright.training.epochs import Epochs, held_out
from langwright.training.gold import Gold
from langwright.training.objectives import policy_figures
from langwright.training.policy_settings import PolicySettings
from langwright.training.prompt_data import PromptRow
from langwright.training.rollout import SLOTS, Drawn, apart, draw, logprobs_of
from langwright.training.trained import Model, as_reference
from langwright.training.transcripts import FILE as TRANSCRIPTS
from langwright.training.transcripts import keep_transcripts

EVALUATED_PROMPTS = 64


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
        self._gold: Gold | None = None
        if settings.gold is not None:
            self._gold = Gold(settings.gold, settings.seed, len(self._validation_sample))
        self._seen: tuple[float, list[float]] = 0.0, []

    @property
    def best(self) -> int | None:
        return self._gold.best if self._gold is not None else None

    @property
    def _validation_sample(self) -> list[PromptRow]:
        return self._validation[:EVALUATED_PROMPTS]

    @property
    def _slots(self) -> int:
        """Answers drawn at once: as many as are learnt from at once, if that is many."""
        return max(SLOTS, self._settings.micro_batch_tokens // self._settings.context_length)

    @property
    def edge(self) -> int:
        return self._settings.updates

    def begin(self, module: nn.Module, run: Run, fresh: bool) -> None:
        self._run = run
        if self._reference is not None:
            as_reference(self._reference, module)
        path = run.folder / TRANSCRIPTS
        if fresh:
            path.unlink(missing_ok=True)
        lines = run.read_metrics()
        for line in lines:
            if "kl" in line:
                self._mind(line["kl"])
        if self._gold is not None:
            self._gold.begin(run.folder, {line["step"] for line in lines if "val_loss" in line})
            self.stopped = self._gold.stopped or self.stopped

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
                slots=self._slots,
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
        sizes = [answer.row.size for answer in answers]
        self._fresh = {
            "reward": float(rewards.mean()),
            "reward_deviation": float(rewards.std()) if len(rewards) > 1 else 0.0,
            **{f"reward_{name}": sum(each) / count for name, each in rewarded.parts.items()},
            "kl": float(kls.mean()),
            "answer_tokens": sum(sizes) / count,
            "ended": float(ended.float().mean()),
            "engine_apart": apart(answers, old, exact=trained.module.dtype == torch.float32),
        }
        self._keep(number, asked, answers, rewarded.parts, rewards, kls)
        self._mind(float(kls.mean()))
        return Rollout(number, answers, old, reference, rewards)

    def _mind(self, kl: float) -> None:
        limit = self._settings.max_kl
        if limit is not None and kl > limit:
            self.stopped = (
                f"the answers are {kl:.2f} nats from the reference, beyond max_kl ({limit:g})"
            )

    def _keep(
        self,
        number: int,
        asked: Sequence[PromptRow],
        answers: Sequence[Drawn],
        parts: Mapping[str, Sequence[float]],
        rewards: Tensor,
        kls: Tensor,
    ) -> None:
        assert self._run is not None
        told = [
            {
                "messages": list(asked[place // self._settings.group_size].messages),
                "answer": answer.text,
                "ended": answer.ended,
                "reward": float(rewards[place]),
                "rewards": {name: values[place] for name, values in parts.items()},
                "kl": float(kls[place]),
            }
            for place, answer in enumerate(answers)
        ]
        keep_transcripts(self._run.folder, number, told)

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
        prompts = self._validation if whole else self._validation_sample
        settings = self._settings
        self._trained.module.eval()
        drawn = draw(
            self._trained,
            [one.messages for one in prompts],
            1,
            max_tokens=settings.max_tokens,
            temperature=settings.temperature,
            seed=_seed(settings.seed, -1),
            slots=self._slots,
        )
        asked = [
            Asked(one.messages, group[0].text, one.row)
            for one, group in zip(prompts, drawn, strict=True)
        ]
        rewarded = self._rewards.rewarded(asked)
        count = len(prompts)
        mean = sum(rewarded.totals) / count
        parts = {f"val_reward_{name}": sum(each) / count for name, each in rewarded.parts.items()}
        if settings.gold is not None:
            self._seen = mean, rewarded.parts[settings.gold]
        return {"val_loss": -mean, "val_reward": mean, **parts}

    def evaluated(self, step: int) -> None:
        if self._gold is not None:
            self._gold.add(step, *self._seen)
            self.stopped = self._gold.stopped or self.stopped


def _seed(seed: int, number: int) -> int:
    """That of a rollout's first answer; those of other rollouts are far from it."""
    state = np.random.SeedSequence(seed, spawn_key=(number + 1,)).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(2))
