"""What every stage shares that starts from a model: all of it is trained, or an adapter."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from langwright.backend import Dtype
from langwright.errors import Unsupported
from langwright.model import LoRASettings, ModelBundle, load_model
from langwright.model.device import compute_device
from langwright.model.lora import TARGETS
from langwright.store import Artifact, Store
from langwright.training.precision import compute_dtype
from langwright.training.settings import LoopSettings
from langwright.training.trained import Model, TrainedAdapter, TrainedDecoder

_ADAPTERS = {"rank", "alpha", "lora_dropout", "targets", "rslora", "dora", "base_dtype"}


class TuningSettings(LoopSettings):
    """`model` is what to start from; of MODEL+ADAPTER a model of its own is made first (see
    `open_start`). `method` `full` trains all its weights; `lora` leaves them as
    they are and trains an adapter on the matrices `targets` of its layers (see `LoRASettings`),
    which becomes an artifact by itself, used as MODEL+ADAPTER. `base_dtype` holds the model beneath
    in 8 or 4 bits (`nf4`: QLoRA, Dettmers et al. 2023); `auto` as it computes."""

    model: str
    method: Literal["full", "lora"] = "full"
    rank: int = Field(16, ge=1, lt=2**16)
    alpha: float = Field(32.0, gt=0, allow_inf_nan=False)
    lora_dropout: float = Field(0.0, ge=0, lt=1)
    targets: tuple[str, ...] = Field(TARGETS, min_length=1)
    rslora: bool = False
    dora: bool = False
    base_dtype: Literal["auto", "int8", "int4", "nf4"] = "auto"

    @model_validator(mode="after")
    def _used(self) -> TuningSettings:
        unused = _ADAPTERS & self.model_fields_set
        if self.method == "full" and unused:
            raise ValueError(f"method full has no {min(unused)}: it is an adapter's (method=lora)")
        if self.method == "lora" and self.compile:
            raise ValueError("method lora has no compile")
        if self.method == "lora" and self.embedding_learning_rate is not None:
            raise ValueError("method lora has no embedding_learning_rate: its tables stay")
        return self

    def lora(self) -> LoRASettings:
        return LoRASettings(
            rank=self.rank,
            alpha=self.alpha,
            dropout=self.lora_dropout,
            targets=self.targets,
            rslora=self.rslora,
            dora=self.dora,
        )


def begin(settings: TuningSettings, base: Artifact, store: Store) -> tuple[ModelBundle, Model]:
    """The model to start from, and what is trained of it, before the first step."""
    if settings.method == "full":
        bundle = load_model(store.path(base))
        return bundle, TrainedDecoder(bundle)
    bundle = load_model(store.path(base), _base_dtype(settings))
    adapter = TrainedAdapter.fresh(bundle, settings.lora(), base.name, settings.seed)
    return bundle, adapter


def _base_dtype(settings: TuningSettings) -> Dtype:
    if settings.base_dtype != "auto":
        return settings.base_dtype
    dtype = compute_dtype(settings.precision, compute_device(settings.device))
    return "float32" if dtype.itemsize == 4 else "bfloat16"


def require_alone(what: str, ranks: int) -> None:
    """Raise `Unsupported` for what is trained in one process, on several."""
    if ranks > 1:
        raise Unsupported(f"{what} runs in one process.", remedy="Start it without `launch`.")
