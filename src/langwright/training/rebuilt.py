"""A run's stage, built again from its settings and its parents: the same batches, no training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from langwright.errors import Unsupported
from langwright.model import Architecture, load_model, load_shape, load_text
from langwright.model.peft_folder import FILE as ADAPTER_FILE
from langwright.model.text_parts import TextParts
from langwright.store import Artifact, Run, Store
from langwright.training.stages import pretrain, sft
from langwright.training.stages.pretrain import Pretrain, PretrainSettings
from langwright.training.stages.sft import SFT, SFTSettings
from langwright.training.trained import Model, TrainedDecoder

Prepare: TypeAlias = Callable[[Any], tuple[Model, Pretrain | SFT]]


@dataclass(frozen=True)
class Rebuilt:
    """`text` is how the run's model meets text, `shape` its shape; `data` are the folders that it
    learns from, `parents` all that it was made from. `prepare` makes the model before its first
    step, and the stage, of settings like these."""

    settings: PretrainSettings | SFTSettings
    stage: Pretrain | SFT
    text: TextParts
    shape: Architecture
    data: list[Path]
    parents: list[Artifact]
    prepare: Prepare

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
            pretrain.shape_of(settings, text.tokenizer.vocab_size),
            [store.path(shard) for shard in shards],
            parents,
            lambda chosen: pretrain.prepare(chosen, shards, vocabulary, store),
        )
    if kinds == {"model", "conversations"}:
        base, data = parents
        tuning = SFTSettings.restored(values)
        text = load_text(store.path(base))
        return Rebuilt(
            tuning,
            SFT.build(tuning.divided(1), text, data, store),
            text,
            load_shape(store.path(base)),
            [store.path(data)],
            parents,
            lambda chosen: sft.prepare(chosen, base, data, store),
        )
    raise Unsupported(
        f"The run '{run.name}' is made from {' and '.join(sorted(kinds)) or 'nothing'}: it is no "
        "pretraining and no fine-tuning.",
        remedy="Name one of `langwright pretrain` or `sft`; `langwright list --kind run` has all.",
    )
