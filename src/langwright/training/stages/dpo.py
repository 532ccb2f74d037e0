"""Direct preference optimisation (Rafailov et al. 2023, arXiv 2305.18290) and its kin."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field, model_validator
from safetensors.torch import load_file
from torch import Tensor

from langwright.errors import Damaged
from langwright.model import Decoder, load_model
from langwright.model.folder import write_tensors
from langwright.model.text_parts import TextParts
from langwright.progress import progress
from langwright.store import Artifact, Run, Store
from langwright.tokens import Tokenizer
from langwright.training.answers import AnswerBatch
from langwright.training.comparisons import comparisons_of
from langwright.training.objectives import Pairwise, hinge, ipo
from langwright.training.objectives import dpo as dpo_loss
from langwright.training.preference_import import open_comparisons, open_preferences
from langwright.training.preferences import Preferred, encode_comparisons
from langwright.training.ranks import join
from langwright.training.recipe import read_recipe
from langwright.training.run_stage import Result, run_stage
from langwright.training.stages.kto import KTO
from langwright.training.stages.preferring import Preferring, answer_bytes, means
from langwright.training.start import open_start
from langwright.training.trained import Model
from langwright.training.tuning import TuningSettings, begin, require_alone

EVALUATED_PAIRS = 100
REFERENCE = "reference.safetensors"
_WEIGHTS = {"desirable_weight", "undesirable_weight"}


class DPOSettings(TuningSettings):
    """The recipe of a run that learns from comparisons (`data`: an artifact of that kind, or a
    file), with the model as it was at first as the reference.

    `loss`: `sigmoid` is DPO's, with `label_smoothing` cDPO's (Mitchell 2023); `ipo` regresses the
    margin to 1 / (2 beta) (Azar et al. 2023), by tokens; `hinge` is SLiC's (Zhao et al. 2023).
    Comparisons with a `probability` weigh both directions by it. `kto` learns from single answers
    that somebody called good or bad (an artifact of kind `judged`, or comparisons taken apart),
    which weigh `desirable_weight` and `undesirable_weight` (Ethayarajh et al. 2024).
    """

    data: str
    loss: Literal["sigmoid", "ipo", "hinge", "kto"] = "sigmoid"
    beta: float = Field(0.1, gt=0)
    label_smoothing: float = Field(0.0, ge=0, lt=0.5)
    desirable_weight: float = Field(1.0, ge=0, allow_inf_nan=False)
    undesirable_weight: float = Field(1.0, ge=0, allow_inf_nan=False)
    validation_fraction: float = Field(0.05, gt=0, lt=1)

    @model_validator(mode="after")
    def _of_the_loss(self) -> DPOSettings:
        others = {"sigmoid": _WEIGHTS, "kto": {"label_smoothing"}}
        unused = others.get(self.loss, {"label_smoothing", *_WEIGHTS}) & self.model_fields_set
        if unused:
            raise ValueError(f"loss {self.loss} has no {min(unused)}")
        return self


def dpo(
    recipe: str, *, name: str | None = None, store: Store | None = None, **settings: object
) -> Result:
    """Fine-tune a model on comparisons of answers, or on answers called good or bad, without a
    reward model."""
    store = store or Store()
    chosen = DPOSettings.build(read_recipe(recipe, "dpo", settings))
    name = name or recipe.rpartition("/")[2].removesuffix(".toml")
    ranks = join(chosen)
    require_alone("dpo", ranks.size)
    base = open_start(chosen.model, store)
    opened = open_preferences if chosen.loss == "kto" else open_comparisons
    data = opened(chosen.data, store)

    def prepared(working: DPOSettings) -> tuple[Model, DPO | KTO]:
        return prepare(working, base, data, store)

    return run_stage(store.run(name), chosen, [base, data], store, prepared, ranks)


def prepare(
    settings: DPOSettings, base: Artifact, data: Artifact, store: Store
) -> tuple[Model, DPO | KTO]:
    """The model before its first step, and the stage."""
    bundle, trained = begin(settings, base, store)
    if settings.loss != "kto":
        return trained, DPO.build(settings, bundle.text, data, store)
    reference = None if settings.method == "lora" else load_model(store.path(base)).module
    return trained, KTO.build(settings, bundle.text, data, store, trained, reference)


@dataclass(frozen=True)
class Scores:
    """Of each pair, [P]: the log-probabilities of the better and of the worse answer."""

    better_P: Tensor
    worse_P: Tensor


class DPO(Preferring):
    """Pairs of answers."""

    name = "dpo"
    unit = "pairs"

    def __init__(
        self,
        settings: DPOSettings,
        tokenizer: Tokenizer,
        train: Sequence[Preferred],
        validation: Sequence[Preferred],
    ) -> None:
        self._settings, self._tokenizer = settings, tokenizer
        self._pairs = [pair for one in (*train, *validation) for pair in one.apart()]
        count = sum(len(one.pairs) for one in train)
        super().__init__([pair.rows for pair in self._pairs], count, settings)
        self._reference = torch.full((len(self._pairs), 2), math.nan)

    @classmethod
    def build(cls, settings: DPOSettings, text: TextParts, data: Artifact, store: Store) -> DPO:
        """The stage of a run: `text` is that of the model it starts from, `data` its parent."""
        length, fraction = settings.context_length, settings.validation_fraction
        comparisons = comparisons_of(data, store)
        divided = encode_comparisons(comparisons, text.template, length, fraction)
        return cls(settings, text.tokenizer, *divided)

    def labels(self, batch: AnswerBatch) -> list[str]:
        return ["better", "worse"] * len(batch.numbers)

    def begin(self, module: Decoder, run: Run, fresh: bool) -> None:
        """What the model says of all pairs before it learns anything."""
        path = run.folder / REFERENCE
        if not fresh:
            if not path.exists():
                raise Damaged(
                    f"{path} is gone: what the model said before it learnt anything.",
                    remedy=f"`langwright remove {run.name}`, then start again.",
                )
            self._reference = load_file(path)["logprobs"]
            return
        numbers = list(range(len(self._pairs)))
        with progress("reference", len(numbers)) as bar, torch.no_grad():
            for batch in self._batches(numbers):
                scores = self._scores(module, batch.to(module.device))
                both = torch.stack((scores.better_P, scores.worse_P), dim=1)
                self._reference[list(batch.numbers)] = both.cpu()
                bar.advance(batch.units, "")
        write_tensors(path, {"logprobs": self._reference})

    def _scores(self, module: Decoder, batch: AnswerBatch) -> Scores:
        logprobs_N, _ = batch.logprobs(module)
        sums_B = batch.sums(logprobs_N)
        return Scores(sums_B[::2], sums_B[1::2])

    def _losses(self, scores: Scores, batch: AnswerBatch) -> Pairwise:
        device, settings = scores.better_P.device, self._settings
        numbers = list(batch.numbers)
        before_better_P, before_worse_P = self._reference[numbers].to(device).unbind(1)
        four = scores.better_P, scores.worse_P, before_better_P, before_worse_P
        certain = torch.tensor([self._pairs[number].certainty for number in numbers])
        probability_P = certain.to(device)
        if settings.loss == "ipo":
            sizes_P2 = torch.tensor(batch.sizes, dtype=torch.float32, device=device).view(-1, 2)
            better_P, worse_P = sizes_P2.unbind(1)
            return ipo(*four, settings.beta, better_P, worse_P, probability=probability_P)
        if settings.loss == "hinge":
            return hinge(*four, settings.beta, probability=probability_P)
        smoothing = settings.label_smoothing
        return dpo_loss(*four, settings.beta, probability=probability_P, label_smoothing=smoothing)

    def loss(self, module: Decoder, batch: AnswerBatch) -> Tensor:
        scores = self._scores(module, batch)
        pairs = self._losses(scores, batch)
        self._tell(self._told, scores, pairs)
        return pairs.loss.sum()

    @staticmethod
    def _tell(told: dict[str, list[float]], scores: Scores, pairs: Pairwise) -> None:
        better_P, worse_P = pairs.chosen_reward, pairs.rejected_reward
        # A pair whose answers are worth the same is half right.
        right_P = (better_P > worse_P).float() + 0.5 * (better_P == worse_P).float()
        told["accuracy"] += right_P.tolist()
        told["margin"] += (better_P - worse_P).tolist()
        told["reward_better"] += better_P.tolist()
        told["reward_worse"] += worse_P.tolist()
        told["logprob_better"] += scores.better_P.detach().tolist()
        told["logprob_worse"] += scores.worse_P.detach().tolist()

    @torch.no_grad()
    def evaluate(self, module: Decoder, whole: bool) -> dict[str, float]:
        """Of the held-out pairs: the loss, how often the better answer has gained more than the
        worse one since the reference (`val_accuracy`), and bits per byte of the better answers."""
        numbers = self._validation if whole else self._validation[:EVALUATED_PAIRS]
        told: dict[str, list[float]] = defaultdict(list)
        loss, size = 0.0, 0
        for batch in self._batches(numbers):
            batch = batch.to(module.device)
            scores = self._scores(module, batch)
            pairs = self._losses(scores, batch)
            self._tell(told, scores, pairs)
            loss += float(pairs.loss.sum())
            better = [self._pairs[number].rows[0] for number in batch.numbers]
            size += sum(answer_bytes(row, self._tokenizer) for row in better)
        found = {f"val_{key}": value for key, value in means(told).items()}
        bits = -sum(told["logprob_better"]) / math.log(2) / max(size, 1)
        return {"val_loss": loss / len(numbers), "val_bits_per_byte": bits, **found}
