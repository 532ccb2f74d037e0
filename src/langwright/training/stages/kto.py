"""Kahneman-Tversky optimisation (Ethayarajh et al. 2024, arXiv 2402.01306), as `dpo` with
`loss=kto`: it learns from single answers that somebody called good or bad."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from langwright.errors import BadSettings
from langwright.model import Decoder
from langwright.model.text_parts import TextParts
from langwright.store import Artifact, Run, Store
from langwright.tokens import Tokenizer
from langwright.training.answers import AnswerBatch, AnswerRow, gather_answers
from langwright.training.judged import judged_of
from langwright.training.labelled import Labelled, encode_judged
from langwright.training.objectives import Kto, kl_baseline, kto
from langwright.training.stages.preferring import Preferring, answer_bytes, means
from langwright.training.trained import Model, TrainedAdapter, as_reference

if TYPE_CHECKING:
    from langwright.training.stages.dpo import DPOSettings

EVALUATED_ANSWERS = 200


@dataclass(frozen=True)
class Expected:
    """Of the answers of a step: what the reference says of them, [n] by their numbers, and the KL
    divergence of policy and reference [0-d]."""

    reference: dict[int, float]
    baseline: Tensor


class KTO(Preferring):
    """Single answers; a unit is an answer.

    The baseline of the whole step (`kl_baseline`) is found before its first loss, by the policy as
    it is then: a mean over micro-batches would be another one for each size of theirs.
    """

    name = "dpo"
    unit = "answers"
    foreknown = False

    def __init__(
        self,
        settings: DPOSettings,
        tokenizer: Tokenizer,
        train: Sequence[Labelled],
        validation: Sequence[Labelled],
        trained: Model | None = None,
        reference: Decoder | None = None,
    ) -> None:
        self._settings, self._tokenizer = settings, tokenizer
        self._trained, self._reference = trained, reference
        self._all = [*train, *validation]
        super().__init__([[one.row] for one in self._all], len(train), settings)
        # A sample of those held out is to have good and bad ones, in whatever order they came.
        draw = np.random.Generator(np.random.Philox(settings.seed))
        self._validation = draw.permutation(self._validation).tolist()
        self._expected: Expected | None = None
        for step in range(settings.steps):  # now, and not after hours
            self._require_prompts(self._epochs.step(step))

    @classmethod
    def build(
        cls,
        settings: DPOSettings,
        text: TextParts,
        data: Artifact,
        store: Store,
        trained: Model | None = None,
        reference: Decoder | None = None,
    ) -> KTO:
        """The stage of a run: `text` is that of the model it starts from, `data` its parent.
        `reference` is the model as it was at first; None: it is `trained` without its adapter."""
        length, fraction = settings.context_length, settings.validation_fraction
        divided = encode_judged(judged_of(data, store), text.template, length, fraction)
        return cls(settings, text.tokenizer, *divided, trained, reference)

    def begin(self, module: Decoder, run: Run, fresh: bool) -> None:
        if self._reference is not None:
            as_reference(self._reference, module)

    def micro_batches(self, step: int) -> Sequence[AnswerBatch]:
        numbers = self._epochs.step(step)
        if self._trained is not None:
            module = self._trained.module.eval()
            self._expected = self._look(module, numbers)
            module.train()
        return self._batches(numbers)

    def labels(self, batch: AnswerBatch) -> list[str]:
        return ["good" if self._all[number].desirable else "bad" for number in batch.numbers]

    def mismatched(self, numbers: Sequence[int]) -> list[AnswerRow]:
        """Each prompt with another one's answer, all answers being those of `numbers`: what comes
        from one prompt lies side by side, and all answers move on by the size of the largest such
        group, beyond their own. Where that is more than half of them, the answers that come to
        their own prompt again are left out."""
        self._require_prompts(numbers)
        ordered = sorted((self._all[number] for number in numbers), key=lambda one: one.prompt)
        shift = max(Counter(one.prompt for one in ordered).values())
        moved = ordered[shift:] + ordered[:shift]
        length = self._settings.context_length
        return [
            one.answered_by(other, length)
            for one, other in zip(ordered, moved, strict=True)
            if one.prompt != other.prompt
        ]

    def _require_prompts(self, numbers: Sequence[int]) -> None:
        if len({self._all[number].prompt for number in numbers}) < 2:
            raise BadSettings(
                f"A step would learn from answers to one prompt alone ({len(numbers)}); KTO sets "
                "answers beside prompts that they are not for.",
                remedy="Raise tokens_per_step.",
            )

    @torch.no_grad()
    def _look(self, module: Decoder, numbers: Sequence[int]) -> Expected:
        rows = [self._all[number].row for number in numbers]
        others = self.mismatched(numbers)
        policy = self._sums(module, others)
        before = self._by_reference([*rows, *others])
        own, mismatched = before[: len(rows)], before[len(rows) :]
        known = dict(zip(numbers, own.tolist(), strict=True))
        return Expected(known, kl_baseline(policy, mismatched))

    def _by_reference(self, rows: Sequence[AnswerRow]) -> Tensor:
        """The log-probability of each answer by the model as it was at first."""
        if self._reference is not None:
            return self._sums(self._reference, rows)
        # Not the module that is looked at: it may be a copy, on which this adapter does not hang.
        assert isinstance(self._trained, TrainedAdapter)
        with self._trained.adapters.use(None):
            return self._sums(self._trained.module, rows)

    def _sums(self, module: Decoder, rows: Sequence[AnswerRow]) -> Tensor:
        """The log-probability of each answer, [n]."""
        found = torch.empty(len(rows), device=module.device)
        gathered = gather_answers([[row] for row in rows], range(len(rows)), self._width)
        for chosen, part in gathered:
            batch = AnswerBatch.of(part, len(part), chosen).to(module.device)
            found[chosen] = self._said(module, batch)
        return found

    @staticmethod
    def _said(module: Decoder, batch: AnswerBatch) -> Tensor:
        logprobs_N, _ = batch.logprobs(module)
        return batch.sums(logprobs_N)

    def loss(self, module: Decoder, batch: AnswerBatch) -> Tensor:
        assert self._expected is not None
        return self._losses(module, batch, self._expected, self._told).loss.sum()

    def _losses(
        self, module: Decoder, batch: AnswerBatch, expected: Expected, told: dict[str, list[float]]
    ) -> Kto:
        settings = self._settings
        said_B = self._said(module, batch)
        before_B = said_B.new_tensor([expected.reference[number] for number in batch.numbers])
        good = [self._all[number].desirable for number in batch.numbers]
        good_B = torch.tensor(good, device=said_B.device)
        found = kto(
            said_B,
            before_B,
            good_B,
            expected.baseline,
            settings.beta,
            desirable_weight=settings.desirable_weight,
            undesirable_weight=settings.undesirable_weight,
        )
        # An answer that is worth no more and no less than is expected is half right.
        ahead_B = (found.reward - settings.beta * expected.baseline) * (2.0 * good_B - 1)
        told["accuracy"] += ((ahead_B > 0).float() + 0.5 * (ahead_B == 0).float()).tolist()
        told["kl"].append(float(expected.baseline))
        for name, chosen_B in (("desirable", good_B), ("undesirable", ~good_B)):
            told[f"reward_{name}"] += found.reward[chosen_B].tolist()
            told[f"logprob_{name}"] += said_B.detach()[chosen_B].tolist()
        return found

    @torch.no_grad()
    def evaluate(self, module: Decoder, whole: bool) -> dict[str, float]:
        """Of the held-out answers: the loss, with a baseline of their own; how often a good one has
        gained more than that since the reference, or a bad one less (`val_accuracy`); and, where
        there are good ones, bits per byte of these."""
        numbers = self._validation if whole else self._validation[:EVALUATED_ANSWERS]
        told: dict[str, list[float]] = defaultdict(list)
        expected, loss = self._look(module, numbers), 0.0
        for batch in self._batches(numbers):
            loss += float(self._losses(module, batch.to(module.device), expected, told).loss.sum())
        found = {f"val_{key}": value for key, value in means(told).items()}
        good = [self._all[number].row for number in numbers if self._all[number].desirable]
        size = sum(answer_bytes(row, self._tokenizer) for row in good)
        if size:
            bits = -sum(told["logprob_desirable"]) / math.log(2) / size
            found["val_bits_per_byte"] = bits
        return {"val_loss": loss / len(numbers), **found}
