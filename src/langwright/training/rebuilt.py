"""A run's stage, built again from its settings and its parents: the same batches, no training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from langwright.errors import Unsupported
from langwright.model import Architecture, load_model, load_shape, load_text
from langwright.model.peft_folder import FILE as ADAPTER_FILE
from langwright.model.reward import Scale
from langwright.model.text_parts import TextParts
from langwright.store import Artifact, Run, Store
from langwright.training.stages import dpo, pretrain, reward, sft
from langwright.training.stages.dpo import DPO, DPOSettings
from langwright.training.stages.kto import KTO
from langwright.training.stages.pretrain import Pretrain, PretrainSettings
from langwright.training.stages.reward import Reward, RewardSettings
from langwright.training.stages.sft import SFT, SFTSettings
from langwright.training.trained import Model, TrainedDecoder

TEXTS = ({"tokens", "tokenizer"}, {"model", "conversations"})
JUDGEMENTS = ({"model", "comparisons"}, {"model", "judged"})
"""Kinds of parents, which tell what kind of run it is."""

Prepare: TypeAlias = Callable[[Any], tuple[Model, Pretrain | SFT]]


@dataclass(frozen=True)
class Again:
    """`text` is how the run's model meets text. `prepare` makes the model before its first step,
    and the stage, of settings like these; `stage` knows no model."""

    settings: Any
    stage: Any
    text: TextParts
    prepare: Callable[[Any], tuple[Any, Any]]


@dataclass(frozen=True)
class Rebuilt(Again):
    """Of a run that learns texts. `shape` is its model's; `data` are the folders that it learns
    from, `parents` all that it was made from."""

    settings: PretrainSettings | SFTSettings
    stage: Pretrain | SFT
    prepare: Prepare
    shape: Architecture
    data: list[Path]
    parents: list[Artifact]

    def at(self, checkpoint: Path) -> Model:
        """The model of a checkpoint."""
        folder = checkpoint / "model"
        if not (folder / ADAPTER_FILE).exists():
            return TrainedDecoder(load_model(folder))
        begun, _ = self.prepare(self.settings)
        return begun.over(begun.read(folder))


def rebuild(run: Run, store: Store) -> Rebuilt:
    """The stage of a pretraining or fine-tuning run, finished or not, as one process has it;
    weights stay unread.

    Raises `NotFound` for an unknown run or a parent whose bytes were removed, `Unsupported` for a
    run of another kind.
    """
    values = run.settings
    parents = [store.get(digest) for digest in run.parents]
    kinds = {parent.kind for parent in parents}
    if kinds == {"tokens", "tokenizer"}:
        settings = PretrainSettings.restored(values)
        *shards, vocabulary = parents
        text = pretrain.text_of(vocabulary, store)
        return Rebuilt(
            settings,
            Pretrain.build(settings.divided(1), text, shards, store),
            text,
            lambda chosen: pretrain.prepare(chosen, shards, vocabulary, store),
            pretrain.shape_of(settings, text.tokenizer.vocab_size),
            [store.path(shard) for shard in shards],
            parents,
        )
    if kinds == {"model", "conversations"}:
        base, data = parents
        tuning = SFTSettings.restored(values)
        text = load_text(store.path(base))
        return Rebuilt(
            tuning,
            SFT.build(tuning.divided(1), text, data, store),
            text,
            lambda chosen: sft.prepare(chosen, base, data, store),
            load_shape(store.path(base)),
            [store.path(data)],
            parents,
        )
    raise _unsupported(run, kinds, "`langwright pretrain` or `sft`")


def rebuild_any(run: Run, store: Store) -> Again:
    """The same, also of a run that learns from comparisons or judged answers."""
    parents = [store.get(digest) for digest in run.parents]
    kinds = {parent.kind for parent in parents}
    if kinds in TEXTS:
        return rebuild(run, store)
    if kinds not in JUDGEMENTS:
        raise _unsupported(run, kinds, "`langwright pretrain`, `sft`, `dpo` or `reward`")
    base, data = parents
    text = load_text(store.path(base))
    if "beta" not in run.settings:
        rewarding = RewardSettings.restored(run.settings)
        return Again(
            rewarding,
            Reward.build(rewarding.divided(1), text, data, store, Scale()),
            text,
            lambda chosen: reward.prepare(chosen, base, data, store),
        )
    preferring = DPOSettings.restored(run.settings)
    stage = KTO if preferring.loss == "kto" else DPO
    return Again(
        preferring,
        stage.build(preferring.divided(1), text, data, store),
        text,
        lambda chosen: dpo.prepare(chosen, base, data, store),
    )


def _unsupported(run: Run, kinds: set[str], verbs: str) -> Unsupported:
    return Unsupported(
        f"The run '{run.name}' is made from {' and '.join(sorted(kinds)) or 'nothing'}: it is no "
        f"run of {verbs}.",
        remedy=f"Name one of {verbs}; `langwright list --kind run` has all.",
    )
