"""A run's stage, built again from its settings and its parents: the same batches, no training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from langwright.errors import Unsupported
from langwright.model import Architecture, load_shape, load_text
from langwright.model.text_parts import TextParts
from langwright.store import Run, Store
from langwright.training.stages.pretrain import Pretrain, PretrainSettings, shape_of, text_of
from langwright.training.stages.sft import SFT, SFTSettings


@dataclass(frozen=True)
class Rebuilt:
    """`text` is how the run's model meets text, `shape` its shape; `data` are the folders that it
    learns from."""

    settings: PretrainSettings | SFTSettings
    stage: Pretrain | SFT
    text: TextParts
    shape: Architecture
    data: list[Path]


def rebuild(run: Run, store: Store) -> Rebuilt:
    """The stage of a pretraining or fine-tuning run, finished or not; weights stay unread.

    Raises `NotFound` for an unknown run or a parent whose bytes were removed, `Unsupported` for a
    run of another kind.
    """
    values = run.settings
    parents = [store.get(digest) for digest in run.parents]
    kinds = {parent.kind for parent in parents}
    if kinds == {"tokens", "tokenizer"}:
        settings = PretrainSettings.restored(values)
        *shards, vocabulary = parents
        text = text_of(vocabulary, store)
        stage = Pretrain.build(settings, text, shards, store)
        shape = shape_of(settings, text.tokenizer.vocab_size)
        folders = [store.path(shard) for shard in shards]
        return Rebuilt(settings, stage, text, shape, folders)
    if kinds == {"model", "conversations"}:
        base, data = parents
        tuning = SFTSettings.restored(values)
        text, shape = load_text(store.path(base)), load_shape(store.path(base))
        tuned = SFT.build(tuning, text, data, store)
        return Rebuilt(tuning, tuned, text, shape, [store.path(data)])
    raise Unsupported(
        f"The run '{run.name}' is made from {' and '.join(sorted(kinds)) or 'nothing'}: it is no "
        "pretraining and no fine-tuning.",
        remedy="Name one of `langwright pretrain` or `sft`; `langwright list --kind run` has all.",
    )
