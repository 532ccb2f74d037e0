"""A decoder that says what an answer is worth: one number, read at its last token."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from langwright.errors import BadInput
from langwright.model.architecture import Architecture
from langwright.model.bundle import ModelBundle, decoder_from
from langwright.model.decoder import Decoder
from langwright.model.folder import (
    load_weights,
    read_json,
    save_folder,
    text_of_folder,
    write_json,
    write_tensors,
)
from langwright.model.quantised import whole_weights

SCORE = "score.weight"
_OTHERS = ("num_labels", "pad_token_id")
"""What transformers wants to know of a model that classifies."""


class RewardModel(Decoder):
    """A decoder with a head of one output, without bias: what is learnt are differences."""

    def __init__(self, shape: Architecture) -> None:
        super().__init__(shape)
        self.score = nn.Linear(shape.hidden_size, 1, bias=False)

    def set_score(self, seed: int) -> None:
        """A fresh head: normal with deviation 1 / sqrt(E + 1) (Stiennon et al. 2020)."""
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            deviation = (self.shape.hidden_size + 1) ** -0.5
            self.score.weight.normal_(0.0, deviation, generator=generator)

    def values(self, ids_BT: Tensor) -> Tensor:
        """What stands there so far is worth, at each token, [B, T] in float32."""
        hidden_BTE = self.hidden(ids_BT)
        return self.score(hidden_BTE)[..., 0].float()

    def features(self, ids_BT: Tensor, last_B: Tensor) -> Tensor:
        """What the head reads of each row, [B, E]: the last hidden state at the token `last_B`.
        What stands behind it is padding, and cannot reach back."""
        hidden_BTE = self.hidden(ids_BT)
        rows = torch.arange(len(ids_BT), device=ids_BT.device)
        return hidden_BTE[rows, last_B]

    def of_features(self, features_BE: Tensor) -> Tensor:
        """The worth of rows, [B] in float32, by what the head reads of them."""
        return self.score(features_BE)[:, 0].float()

    def scores(self, ids_BT: Tensor, last_B: Tensor) -> Tensor:
        """The worth of each row, [B] in float32, read at the token `last_B`."""
        return self.of_features(self.features(ids_BT, last_B))


@dataclass
class Scale:
    """What scores are measured against: (score - mean) / deviation."""

    mean: float = 0.0
    deviation: float = 1.0


@dataclass(frozen=True)
class RewardBundle:
    """A reward model with its tokenizer and template, and the scale of its scores. With `head_only`
    the model beneath the head is not learnt."""

    bundle: ModelBundle
    scale: Scale = field(default_factory=Scale)
    head_only: bool = False

    @property
    def kind(self) -> str:
        return "reward"

    @property
    def module(self) -> RewardModel:
        module = self.bundle.module
        assert isinstance(module, RewardModel)
        return module

    @property
    def learnt(self) -> dict[str, nn.Parameter]:
        return {SCORE: self._weights[SCORE]} if self.head_only else self._weights

    @property
    def _weights(self) -> dict[str, nn.Parameter]:
        return dict(self.module.named_parameters())

    @classmethod
    def on(cls, bundle: ModelBundle, seed: int, *, head_only: bool = False) -> RewardBundle:
        """A reward model on a model's weights, which it takes over."""
        weights = dict(whole_weights(bundle.module))
        weights[SCORE] = torch.zeros(1, bundle.module.shape.hidden_size)
        module = _holding(bundle.module.shape, weights)
        module.set_score(seed)
        return cls(replace(bundle, module=module), head_only=head_only)

    def over(self, weights: dict[str, Tensor]) -> RewardBundle:
        """The same model holding `weights` without a copy; raises as `decoder_from`."""
        others = self._weights if self.head_only else {}
        module = _holding(self.module.shape, {**others, **weights})
        module.to(next(iter(weights.values())).device)
        return replace(self, bundle=replace(self.bundle, module=module))

    def read(self, folder: Path) -> dict[str, Tensor]:
        """The weights that `save` wrote there, by our names."""
        stored = load_file(folder / "model.safetensors")
        score, shape = stored.pop(SCORE), self.module.shape
        return {**shape.of.to_ours(stored, shape), SCORE: score}

    def save(self, folder: Path) -> None:
        """Write a folder that `load_reward` reads, and transformers as a sequence classifier."""
        shape = self.module.shape
        plain = decoder_from(shape, {k: v for k, v in self._weights.items() if k != SCORE})
        save_folder(folder, replace(self.bundle, module=plain))
        weights = {
            name: held.detach().float().contiguous()
            for name, held in self.module.named_parameters()
        }
        score = weights.pop(SCORE)
        theirs = shape.of.to_theirs(weights, shape)
        write_tensors(folder / "model.safetensors", {**theirs, SCORE: score})
        config = read_json(folder / "config.json")
        named = shape.of.architecture.replace("ForCausalLM", "ForSequenceClassification")
        end = min(self.bundle.end_ids, default=0)
        config |= {"architectures": [named], "num_labels": 1, "pad_token_id": end}
        write_json(folder / "config.json", config)
        told = {"mean": self.scale.mean, "deviation": self.scale.deviation}
        write_json(folder / "reward.json", told)


def load_reward(folder: Path) -> RewardBundle:
    """Read the folder of a reward model.

    Raises `BadInput` for a folder of another kind, `Damaged` and `NotFound` as `load_folder`.
    """
    if not (folder / "reward.json").is_file():
        raise BadInput(
            f"{folder} holds no reward model.", remedy="Train one: `langwright reward RECIPE`."
        )
    config = read_json(folder / "config.json")
    known = {key: value for key, value in config.items() if key not in _OTHERS}
    shape = Architecture.from_hugging_face(known)
    parts = text_of_folder(folder)
    stored = load_weights(folder)
    score = stored.pop(SCORE)
    module = _holding(shape, {**shape.of.to_ours(stored, shape), SCORE: score})
    told = read_json(folder / "reward.json")
    bundle = ModelBundle(module, parts.tokenizer, parts.template, parts.end_ids, parts.start_id)
    return RewardBundle(bundle, Scale(told["mean"], told["deviation"]))


def _holding(shape: Architecture, weights: dict[str, Tensor]) -> RewardModel:
    build: Callable[[Architecture], Decoder] = RewardModel
    module = decoder_from(shape, weights, build)
    assert isinstance(module, RewardModel)
    return module
