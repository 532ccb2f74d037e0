"""Reward models: what an answer is worth, learnt from comparisons (Ouyang et al. 2022, eq. 1)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import Field
from torch import Tensor

from langwright.evaluation.calibration import calibration_error
from langwright.model import load_model
from langwright.model.reward import RewardBundle, RewardModel, Scale
from langwright.model.text_parts import TextParts
from langwright.progress import progress
from langwright.store import Artifact, Run, Store
from langwright.training.answers import AnswerBatch
from langwright.training.batch import MicroBatch
from langwright.training.comparisons import comparisons_of
from langwright.training.objectives import bradley_terry
from langwright.training.preference_import import open_comparisons
from langwright.training.preferences import Preferred, encode_comparisons
from langwright.training.ranks import join
from langwright.training.recipe import read_recipe
from langwright.training.run_stage import Result, run_stage
from langwright.training.settings import LoopSettings
from langwright.training.stages.preferring import Preferring
from langwright.training.start import open_start
from langwright.training.tuning import require_alone

EVALUATED = 100


class RewardSettings(LoopSettings):
    """The recipe of a reward model: `model` to start from, `data` (comparisons: an artifact of that
    kind, or a file), and the loop. With `head_only` the model beneath the head stays as it is, and
    reads each answer once: minutes where all of it takes hours, and less is learnt."""

    model: str
    data: str
    head_only: bool = False
    validation_fraction: float = Field(0.05, gt=0, lt=1)


def reward(
    recipe: str, *, name: str | None = None, store: Store | None = None, **settings: object
) -> Result:
    """Train a model that says what answers are worth, from comparisons of answers."""
    store = store or Store()
    chosen = RewardSettings.build(read_recipe(recipe, "reward", settings))
    name = name or recipe.rpartition("/")[2].removesuffix(".toml")
    ranks = join(chosen)
    require_alone("reward", ranks.size)
    base = open_start(chosen.model, store)
    data = open_comparisons(chosen.data, store)

    def prepared(working: RewardSettings) -> tuple[RewardBundle, Reward]:
        return prepare(working, base, data, store)

    return run_stage(store.run(name), chosen, [base, data], store, prepared, ranks)


def prepare(
    settings: RewardSettings, base: Artifact, data: Artifact, store: Store
) -> tuple[RewardBundle, Reward]:
    """The model before its first step, and the stage."""
    bundle = load_model(store.path(base))
    trained = RewardBundle.on(bundle, settings.seed, head_only=settings.head_only)
    return trained, Reward.build(settings, bundle.text, data, store, trained.scale)


class Reward(Preferring):
    """All answers to a prompt together; a unit is a prompt, whose pairs share its weight."""

    name = "reward"
    unit = "prompts"

    def __init__(
        self,
        settings: RewardSettings,
        train: Sequence[Preferred],
        validation: Sequence[Preferred],
        scale: Scale,
    ) -> None:
        self._scale, self._head_only = scale, settings.head_only
        self._all = [*train, *validation]
        self._features: list[Tensor] = []
        super().__init__([one.rows for one in self._all], len(train), settings)

    @classmethod
    def build(
        cls,
        settings: RewardSettings,
        text: TextParts,
        data: Artifact,
        store: Store,
        scale: Scale,
    ) -> Reward:
        """The stage of a run: `text` is that of the model it starts from, `data` its parent; the
        `scale` of the model is set by the last evaluation."""
        length, fraction = settings.context_length, settings.validation_fraction
        comparisons = comparisons_of(data, store)
        divided = encode_comparisons(comparisons, text.template, length, fraction)
        return cls(settings, *divided, scale)

    def begin(self, module: RewardModel, run: Run, fresh: bool) -> None:
        """With a head alone: what it will read of every answer. It does not change in a run, and a
        run that goes on reads it again: that is what the weights beneath say, to the bit."""
        if self._head_only:
            self.read(module)

    @torch.no_grad()
    def read(self, module: RewardModel) -> None:
        """Keep the head's features of all answers, [E] each, group by group."""
        found: list[Tensor] = [torch.empty(0)] * len(self._all)
        with progress("features", len(found)) as bar:
            for batch in self._batches(list(range(len(found)))):
                on = batch.to(module.device)
                features_BE = module.features(on.ids_BT, on.last_B)
                counts = [len(self._all[number].rows) for number in batch.numbers]
                for number, part in zip(batch.numbers, features_BE.split(counts), strict=True):
                    found[number] = part
                bar.advance(batch.units, "")
        self._features = found

    def _scores(self, module: RewardModel, batch: AnswerBatch) -> Tensor:
        if not self._features:
            return module.scores(batch.ids_BT, batch.last_B)
        return module.of_features(torch.cat([self._features[one] for one in batch.numbers]))

    def lessons(self, batch: AnswerBatch) -> MicroBatch:
        """The token at which each answer's worth is read stands for what is trained."""
        return batch.as_targets(last_alone=True)

    def labels(self, batch: AnswerBatch) -> list[str]:
        return [f"rank {rank}" for number in batch.numbers for rank in self._all[number].ranks]

    def _losses(self, scores_B: Tensor, batch: AnswerBatch) -> tuple[Tensor, Tensor]:
        """The loss of each prompt, [P], and by how much the better answer of each pair is ahead."""
        better, worse, certainty, margin, weight, whose = [], [], [], [], [], []
        start = 0
        for place, number in enumerate(batch.numbers):
            one = self._all[number]
            for a, b in one.pairs:
                better.append(start + a)
                worse.append(start + b)
                certainty.append(one.certainty)
                margin.append(one.margin)
                weight.append(1 / len(one.pairs))
                whose.append(place)
            start += len(one.rows)
        device = scores_B.device
        losses = bradley_terry(
            scores_B[better],
            scores_B[worse],
            margin=torch.tensor(margin, device=device),
            probability=torch.tensor(certainty, device=device),
        )
        losses = losses * torch.tensor(weight, device=device)
        zeros = losses.new_zeros(len(batch.numbers))
        ahead = (scores_B[better] - scores_B[worse]).detach()
        return zeros.index_add(0, torch.tensor(whose, device=device), losses), ahead

    def loss(self, module: RewardModel, batch: AnswerBatch) -> Tensor:
        losses_P, ahead = self._losses(self._scores(module, batch), batch)
        self._told["accuracy"] += _right(ahead)
        self._told["margin"] += ahead.tolist()
        return losses_P.sum()

    @torch.no_grad()
    def evaluate(self, module: RewardModel, whole: bool) -> dict[str, float]:
        """Of the held-out comparisons: the loss, the share of pairs whose better answer scores
        higher, and the expected calibration error of sigmoid(difference)."""
        numbers = self._validation if whole else self._validation[:EVALUATED]
        loss, aheads, scores = 0.0, [], []
        for batch in self._batches(numbers):
            batch = batch.to(module.device)
            scores_B = self._scores(module, batch)
            losses_P, ahead = self._losses(scores_B, batch)
            loss += float(losses_P.sum())
            aheads.append(ahead)
            scores.append(scores_B)
        ahead, every = torch.cat(aheads), torch.cat(scores)
        if whole:
            self._scale.mean = float(every.mean())
            self._scale.deviation = max(float(every.std()), 1e-6) if len(every) > 1 else 1.0
        right = _right(ahead)
        sure = ahead.abs().sigmoid().tolist()
        return {
            "val_loss": loss / len(numbers),
            "val_accuracy": sum(right) / len(right),
            "val_calibration_error": calibration_error(sure, right),
            "val_margin": float(ahead.mean()),
            "val_pairs": float(len(right)),
            "val_prompts": float(len(numbers)),
        }


def _right(ahead: Tensor) -> list[float]:
    """1 where the better answer is ahead, a half where neither is."""
    return ((ahead > 0).float() + 0.5 * (ahead == 0).float()).tolist()
