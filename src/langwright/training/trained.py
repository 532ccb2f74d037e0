"""What a run trains: a module, and how it lies in a folder."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, Protocol, TypeAlias, TypeVar

from safetensors.torch import load_file
from torch import Tensor, nn

from langwright.model import (
    Adapter,
    Adapters,
    Decoder,
    LoRASettings,
    ModelBundle,
    decoder_from,
    load_adapter,
    save_adapter,
    save_folder,
)

M_co = TypeVar("M_co", bound=nn.Module, covariant=True)


class Trained(Protocol[M_co]):
    """A model as the loop and its checkpoints see it. Names of weights are those of the
    module's `named_parameters`."""

    @property
    def kind(self) -> str:
        """That of the artifact that it becomes."""
        ...

    @property
    def module(self) -> M_co: ...

    @property
    def learnt(self) -> dict[str, nn.Parameter]:
        """The parameters of the module that are trained; the others stay."""
        ...

    def over(self, weights: dict[str, Tensor]) -> Trained[M_co]:
        """The same model for use, its module holding `weights` (float32) for what is learnt,
        without a copy."""
        ...

    def save(self, folder: Path) -> None:
        """Write all that loads it again."""
        ...

    def read(self, folder: Path) -> dict[str, Tensor]:
        """What is learnt, by name, from where `save` has written it."""
        ...


@dataclass(frozen=True)
class TrainedDecoder:
    """A decoder with its tokenizer and template, in a Hugging Face folder."""

    bundle: ModelBundle
    kind: str = "model"

    @property
    def module(self) -> Decoder:
        return self.bundle.module

    @property
    def learnt(self) -> dict[str, nn.Parameter]:
        return dict(self.module.named_parameters())

    def over(self, weights: dict[str, Tensor]) -> TrainedDecoder:
        module = decoder_from(self.module.shape, dict(weights))
        module.to(module.device)  # what no file holds is made on the processor
        return TrainedDecoder(replace(self.bundle, module=module))

    def save(self, folder: Path) -> None:
        save_folder(folder, self.bundle)

    def read(self, folder: Path) -> dict[str, Tensor]:
        shape = self.module.shape
        return shape.of.to_ours(load_file(folder / "model.safetensors"), shape)


NAME = "trained"
"""That of the adapter on the module."""


@dataclass(frozen=True)
class TrainedAdapter:
    """An adapter on a decoder that stays as it is, in a folder as PEFT writes it; `base` is the
    name of the decoder."""

    bundle: ModelBundle
    adapters: Adapters
    base: str
    kind: str = "adapter"

    @classmethod
    def fresh(
        cls, bundle: ModelBundle, settings: LoRASettings, base: str, seed: int
    ) -> TrainedAdapter:
        """An adapter that changes nothing yet. Raises `BadSettings` as `Adapters.add`."""
        adapters = Adapters(bundle.module)
        adapters.add(NAME, settings, seed)
        adapters.select(NAME)
        return cls(bundle, adapters, base)

    @property
    def module(self) -> Decoder:
        return self.bundle.module

    @property
    def learnt(self) -> dict[str, nn.Parameter]:
        own = {id(one) for one in self.adapters.parameters(NAME)}
        return {name: one for name, one in self.module.named_parameters() if id(one) in own}

    @property
    def adapter(self) -> Adapter:
        return self.adapters.take(NAME)

    def over(self, weights: dict[str, Tensor]) -> TrainedAdapter:
        learnt = self.learnt
        mine = {id(one) for one in learnt.values()}
        # All but the adapter's own is shared with the copy, not copied.
        shared: dict[int, Any] = {
            id(one): one
            for one in chain(self.module.parameters(), self.module.buffers())
            if id(one) not in mine
        }
        module, adapters = deepcopy((self.module, self.adapters), shared)
        other = replace(self, bundle=replace(self.bundle, module=module), adapters=adapters)
        for name, parameter in other.learnt.items():
            parameter.requires_grad_(False).data = weights[name]
        module.eval()
        return other

    def save(self, folder: Path) -> None:
        save_adapter(folder, self.adapter, self.base)

    def read(self, folder: Path) -> dict[str, Tensor]:
        return {
            f"{path}.adapters.{NAME}.{key}": values
            for path, parts in load_adapter(folder).parts.items()
            for key, values in parts.items()
        }


Model: TypeAlias = TrainedDecoder | TrainedAdapter


def as_reference(module: nn.Module, beside: nn.Module) -> None:
    """Make of `module` one that stays as it is and computes as `beside` does: on its device, its
    weights in its type. What is no weight keeps its own: the angles of rotary positions must not be
    rounded, or the two would differ before anything is learnt."""
    like = next(beside.parameters())
    module.to(like.device).eval().requires_grad_(False)
    for weight in module.parameters():
        weight.data = weight.data.to(like.dtype)
