"""Low-rank adapters: LoRA (Hu et al. 2021), rsLoRA (Kalajdzievski 2023), DoRA (Liu et al. 2024)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from langwright.config import Settings
from langwright.errors import BadInput, BadSettings, NotFound, suggest
from langwright.model.decoder import Decoder
from langwright.model.quantised import QuantisedLinear

Linear = nn.Linear | QuantisedLinear

TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""The matrices of a layer."""


class LoRASettings(Settings):
    """`targets` are the matrices of each layer that get a part; the part is scaled by
    `alpha` / `rank`, or with `rslora` by `alpha` / sqrt(`rank`). `dora` learns the length of each
    row apart from its direction."""

    rank: int = Field(16, ge=1, lt=2**16)
    alpha: float = Field(32.0, gt=0, allow_inf_nan=False)
    dropout: float = Field(0.0, ge=0, lt=1)
    targets: tuple[str, ...] = Field(TARGETS, min_length=1)
    rslora: bool = False
    dora: bool = False

    @property
    def scale(self) -> float:
        return self.alpha / (math.sqrt(self.rank) if self.rslora else self.rank)


class LoRAPart(nn.Module):
    """What an adapter adds to one matrix W: scale * B A, with A [rank, in] and B [out, rank]; with
    `magnitude` [out] (DoRA) the rows of W + scale * B A get these lengths."""

    def __init__(self, base: Linear, settings: LoRASettings) -> None:
        super().__init__()
        device = next(chain(base.parameters(), base.buffers())).device
        self.scale = settings.scale
        self.drop = nn.Dropout(settings.dropout)
        self.lora_A = nn.Parameter(torch.zeros(settings.rank, base.in_features, device=device))
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, settings.rank, device=device))
        self.magnitude = nn.Parameter(row_norms(base.weight)) if settings.dora else None

    def initialise(self, generator: torch.Generator) -> None:
        """A as torch initialises a linear layer, B at zero: at first nothing is added."""
        nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5), generator=generator)
        nn.init.zeros_(self.lora_B)

    def delta(self) -> Tensor:
        """scale * B A, [out, in]."""
        return self.scale * (self.lora_B @ self.lora_A)

    def merged(self, weight: Tensor) -> Tensor:
        """W with this part in it, in W's type."""
        whole = weight.float() + self.delta()
        if self.magnitude is not None:
            whole = whole * (self.magnitude / row_norms(whole))[:, None]
        return whole.to(weight.dtype)

    def forward(self, base: Linear, x: Tensor, y: Tensor) -> Tensor:
        """What the matrix and this part make of `x`, where the matrix alone makes `y`."""
        dropped = self.drop(x)
        low = F.linear(dropped.to(self.lora_A.dtype), self.lora_A) * self.scale
        if self.magnitude is None and y.dtype == low.dtype:
            # In one pass over what the matrix makes.
            flat = torch.addmm(y.flatten(0, -2), low.flatten(0, -2), self.lora_B.t())
            return flat.view_as(y)
        added = F.linear(low, self.lora_B).to(y.dtype)
        if self.magnitude is None:
            return y + added
        # The length is not differentiated (section 4.3): it costs memory and gains nothing.
        with torch.no_grad():
            norms = row_norms(base.weight.float() + self.delta())
        stretch = (self.magnitude / norms).to(y.dtype)
        if self.training and self.drop.p:  # as in PEFT, both see the same input
            plain = F.linear(dropped, base.weight.to(dropped.dtype))
        else:
            plain = y if base.bias is None else y - base.bias
        return y + (stretch - 1) * plain + stretch * added


def row_norms(weight: Tensor) -> Tensor:
    return weight.detach().float().norm(dim=1)


@dataclass(frozen=True)
class Adapter:
    """An adapter apart from any model of its `family`: `parts` are tensors by the name of their
    matrix (`layers.0.self_attn.q_proj`) and their own (`lora_A`, `lora_B`, `magnitude`)."""

    settings: LoRASettings
    parts: dict[str, dict[str, Tensor]]
    family: str | None = None


class Adapters:
    """The adapters on one decoder, by name. None is in use until `use` says so.

    They hang on the decoder's matrices as modules, so that its own weights keep their names and
    values; only `merge` changes those, and `unmerge` brings them back bit for bit.
    """

    def __init__(self, module: Decoder) -> None:
        self.module = module
        self.settings: dict[str, LoRASettings] = {}
        self._rows: str | list[str | None] | None = None
        self._before_merge: dict[str, Tensor] = {}
        self._targets = {
            name: linear
            for name, linear in module.named_modules()
            if isinstance(linear, Linear)
            and name.startswith("layers.")
            and not (module.shape.num_experts and ".mlp." in name)  # a row's tokens part there
        }
        for linear in self._targets.values():
            linear.add_module("adapters", nn.ModuleDict())
            linear.register_forward_hook(self._applied)

    def _applied(self, linear: nn.Module, given: tuple[Tensor, ...], y: Tensor) -> Tensor:
        if self._rows is None:
            return y
        assert isinstance(linear, Linear)
        parts, (x,) = linear.adapters, given
        assert isinstance(parts, nn.ModuleDict)
        if isinstance(self._rows, str):
            return parts[self._rows](linear, x, y) if self._rows in parts else y
        if len(self._rows) != len(x):
            raise ValueError(f"{len(self._rows)} adapters are named for {len(x)} rows")
        for name in {name for name in self._rows if name is not None and name in parts}:
            rows = [row for row, one in enumerate(self._rows) if one == name]
            y = y.index_copy(
                0, torch.tensor(rows, device=y.device), parts[name](linear, x[rows], y[rows])
            )
        return y

    @contextmanager
    def use(self, adapters: str | Sequence[str | None] | None) -> Iterator[None]:
        """Compute with an adapter, or with one for each row of the batch (None: none), within the
        block. Raises `NotFound` for an unknown name."""
        before = self._rows
        self.select(adapters)
        try:
            yield
        finally:
            self._rows = before

    def select(self, adapters: str | Sequence[str | None] | None) -> None:
        """The same from now on."""
        names = [adapters] if adapters is None or isinstance(adapters, str) else list(adapters)
        for name in names:
            if name is not None:
                self._known(name)
        self._rows = adapters if isinstance(adapters, str | None) else names

    def add(self, name: str, settings: LoRASettings, seed: int = 0) -> None:
        """A fresh adapter that changes nothing yet. Raises `BadSettings` for a target that the
        decoder does not have, `BadInput` for a name that is taken."""
        generator = torch.Generator().manual_seed(seed)
        for linear in self._begin(name, settings).values():
            part = LoRAPart(linear, settings)
            part.initialise(generator)
            self._parts(linear)[name] = part.train(linear.training)

    def load(self, name: str, adapter: Adapter) -> None:
        """Take an adapter that was trained before. Raises as `add` does, and `BadInput` where its
        tensors do not fit the decoder."""
        found = self._begin(name, adapter.settings)
        missing, unknown = found.keys() - adapter.parts, adapter.parts.keys() - found
        if missing or unknown:
            del self.settings[name]
            what = f"lacks '{min(missing)}'" if missing else f"has '{min(unknown)}'"
            raise BadInput(
                f"The adapter does not fit the model: it {what}.",
                remedy="Use the model that it was trained for.",
            )
        made = {}
        for path, linear in found.items():
            part = LoRAPart(linear, adapter.settings)
            own, given = dict(part.named_parameters()), adapter.parts[path]
            if {key: one.shape for key, one in own.items()} != {
                key: one.shape for key, one in given.items()
            }:
                del self.settings[name]
                shapes = {key: list(one.shape) for key, one in given.items()}
                raise BadInput(
                    f"The adapter does not fit the model: '{path}' has {shapes}.",
                    remedy="Use the model that it was trained for.",
                )
            part.load_state_dict(given)
            made[path] = part
        for path, part in made.items():
            self._parts(found[path])[name] = part.train(found[path].training)

    def take(self, name: str) -> Adapter:
        """The adapter's settings and tensors, to be saved."""
        settings = self._known(name)
        parts = {}
        for path, linear in self._targets.items():
            if name in self._parts(linear):
                own = self._parts(linear)[name].named_parameters()
                parts[path] = {key: one.detach() for key, one in own}
        return Adapter(settings, parts, self.module.shape.family)

    def remove(self, name: str) -> None:
        self._known(name)
        del self.settings[name]
        for linear in self._targets.values():
            if name in self._parts(linear):
                del self._parts(linear)[name]

    def is_target(self, module: nn.Module) -> bool:
        """Whether this is a matrix of the decoder that adapters hang on."""
        return any(module is one for one in self._targets.values())

    def modules(self) -> set[nn.Module]:
        """All that hangs on the decoder beside its own parts."""
        return {part for one in self._targets.values() for part in self._parts(one).modules()}

    def parameters(self, name: str) -> list[nn.Parameter]:
        """What is trained of it."""
        self._known(name)
        linears = self._targets.values()
        parts = [self._parts(one)[name] for one in linears if name in self._parts(one)]
        return [parameter for part in parts for parameter in part.parameters()]

    @torch.no_grad()
    def merge(self, name: str) -> None:
        """Put the adapter into the weights themselves, so that it costs nothing more. Raises
        `BadInput` while another is merged."""
        self._known(name)
        if self._before_merge:
            raise BadInput("An adapter is merged already.", remedy="Unmerge it first.")
        if any(isinstance(linear, QuantisedLinear) for linear in self._targets.values()):
            raise BadInput(
                "Quantised weights would lose most of an adapter merged into them.",
                remedy="Use it beside them, or load the model with dtype float32.",
            )
        for path, linear in self._targets.items():
            if name in self._parts(linear):
                part = self._parts(linear)[name]
                assert isinstance(part, LoRAPart)
                self._before_merge[path] = linear.weight.detach().clone()
                linear.weight.copy_(part.merged(linear.weight))

    @torch.no_grad()
    def unmerge(self) -> None:
        """Bring back the weights from before, bit for bit."""
        for path, weight in self._before_merge.items():
            self._targets[path].weight.copy_(weight)
        self._before_merge.clear()

    def detach(self) -> Decoder:
        """The decoder as it was, with what is merged in its weights and no adapter on it."""
        for linear in self._targets.values():
            linear._forward_hooks.clear()
            del linear.adapters
        self.settings.clear()
        self._before_merge.clear()
        return self.module

    def _begin(self, name: str, settings: LoRASettings) -> dict[str, Linear]:
        """The matrices that the adapter is for."""
        if not name.isidentifier() and not name.replace("-", "_").isidentifier():
            raise BadInput(f"{name!r} cannot name an adapter.", remedy="Use letters and digits.")
        if name in self.settings:
            raise BadInput(f"There is an adapter '{name}' already.", remedy="Choose another name.")
        known = {path.rpartition(".")[2] for path in self._targets}
        for target in settings.targets:
            if target not in known:
                why = " Experts are not adapted." if self.module.shape.num_experts else ""
                raise BadSettings(
                    f"The model has no matrix '{target}' to adapt.{why}",
                    remedy=suggest(target, known),
                )
        self.settings[name] = settings
        return {
            path: linear
            for path, linear in self._targets.items()
            if path.rpartition(".")[2] in settings.targets
        }

    def _parts(self, linear: Linear) -> nn.ModuleDict:
        assert isinstance(linear.adapters, nn.ModuleDict)
        return linear.adapters

    def _known(self, name: str) -> LoRASettings:
        if name not in self.settings:
            raise NotFound(
                f"There is no adapter '{name}' on the model.", remedy=suggest(name, self.settings)
            )
        return self.settings[name]
