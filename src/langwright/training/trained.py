"""What a run trains: a module, and how it lies in a folder."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, TypeVar

from torch import Tensor, nn

from langwright.model import Decoder, ModelBundle, decoder_from, save_folder

M_co = TypeVar("M_co", bound=nn.Module, covariant=True)


class Trained(Protocol[M_co]):
    """A model as the loop and its checkpoints see it. Names of weights are those of the
    module's `named_parameters`."""

    @property
    def module(self) -> M_co: ...

    def over(self, weights: dict[str, Tensor]) -> Trained[M_co]:
        """The same model for use, its module holding `weights` (float32) without a copy."""
        ...

    def save(self, folder: Path) -> None:
        """Write all that loads it again, the weights as `model.safetensors`."""
        ...

    def named(self, stored: dict[str, Tensor]) -> dict[str, Tensor]:
        """The tensors of that file by our names."""
        ...


@dataclass(frozen=True)
class TrainedDecoder:
    """A decoder with its tokenizer and template, in a Hugging Face folder."""

    bundle: ModelBundle

    @property
    def module(self) -> Decoder:
        return self.bundle.module

    def over(self, weights: dict[str, Tensor]) -> TrainedDecoder:
        module = decoder_from(self.module.shape, dict(weights))
        module.to(module.device)  # what no file holds is made on the processor
        return TrainedDecoder(replace(self.bundle, module=module))

    def save(self, folder: Path) -> None:
        save_folder(folder, self.bundle)

    def named(self, stored: dict[str, Tensor]) -> dict[str, Tensor]:
        shape = self.module.shape
        return shape.of.to_ours(stored, shape)
