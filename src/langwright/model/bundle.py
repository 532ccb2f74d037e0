"""A whole model: weights, tokenizer, chat template and the tokens that end an answer."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from langwright.errors import BadInput
from langwright.model.architecture import Architecture
from langwright.model.decoder import Decoder
from langwright.model.quantised import (
    Held,
    Matrix,
    QuantisedEmbedding,
    QuantisedLinear,
    install,
    whole_weights,
)
from langwright.model.text_parts import TextParts
from langwright.tokens import ChatTemplate, Tokenizer

M = TypeVar("M", bound=torch.nn.Module)


@dataclass
class ModelBundle:
    """What is loaded, trained and saved together, so that no part can be exchanged unnoticed.

    `end_ids` end an answer; the first is what the engine puts before a text that is scored from
    its beginning when `start_id` is set.
    """

    module: Decoder
    tokenizer: Tokenizer
    template: ChatTemplate | None
    end_ids: frozenset[int]
    start_id: int | None = None
    licence: str | None = None
    extra: dict[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        rows = self.module.shape.vocab_size
        if self.tokenizer.vocab_size > rows:
            raise BadInput(
                f"The tokenizer has {self.tokenizer.vocab_size} tokens, the model {rows} rows: "
                "they do not belong together.",
                remedy="Use the tokenizer that the model was trained with.",
            )

    @property
    def text(self) -> TextParts:
        """How it meets text."""
        return TextParts(self.tokenizer, self.template, self.end_ids, self.start_id)


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread within the block: for hundreds of small pieces, where threads wait for
    each other at every one. On a quiet machine that costs a fifth of the time to load a model; on
    a busy one it is several times as fast."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def decoder_from(
    shape: Architecture,
    weights: Mapping[str, Held],
    build: Callable[[Architecture], Decoder] = Decoder,
) -> Decoder:
    """A decoder that holds `weights` (our names) without a second copy; raises as `filled`."""
    if shape.tie_embeddings:
        weights = {name: held for name, held in weights.items() if name != "lm_head.weight"}
    parts = shape.num_layers * max(1, shape.num_experts)
    module = filled(lambda: build(shape), weights, parts)
    module.set_rotary()
    if shape.tie_embeddings:
        table = module.embed_tokens
        if isinstance(table, QuantisedEmbedding):
            module.set_submodule("lm_head", QuantisedLinear(table.matrix))
        else:
            module.lm_head.weight = table.weight
    return module


def filled(build: Callable[[], M], weights: Mapping[str, Held], num_layers: int) -> M:
    """The module that `build` makes, holding `weights` without a second copy.

    Raises `BadInput` naming the first tensor that is missing, unknown, of another shape, or
    holds values that are not numbers.
    """
    module = _skeleton(build, num_layers, len(weights))
    expected = dict(module.named_parameters()) if module else {}
    missing, unknown = expected.keys() - weights.keys(), weights.keys() - expected.keys()
    problem = None
    if module is None:
        problem = f"has {len(weights)} tensors; its settings ask for another size altogether"
    elif missing:
        problem = f"lacks the tensor '{min(missing)}'"
    elif unknown:
        problem = f"has the tensor '{min(unknown)}', which this family does not know"
    else:
        for name, parameter in expected.items():
            if tuple(weights[name].shape) != tuple(parameter.shape):
                problem = (
                    f"has '{name}' in the shape {list(weights[name].shape)}; "
                    f"its settings ask for {list(parameter.shape)}"
                )
                break
            if not _all_numbers(weights[name]):
                problem = f"has values in '{name}' that are not numbers"
                break
    if module is None or problem:
        raise BadInput(
            f"The model {problem}.", remedy="Fetch the model again, weights and settings together."
        )
    install(module, {name: one for name, one in weights.items() if isinstance(one, Matrix)})
    tensors = {name: one for name, one in weights.items() if not isinstance(one, Matrix)}
    module.load_state_dict(tensors, strict=False, assign=True)
    return module.requires_grad_(False).eval()


def _skeleton(build: Callable[[], M], num_layers: int, num_tensors: int) -> M | None:
    """A module without values; None where the settings are too large to be this model's: a
    damaged file must not make us build millions of layers."""
    if num_layers > num_tensors:
        return None
    try:
        with torch.device("meta"), _Uninitialised():
            return build()
    except RuntimeError:  # a tensor larger than any address
        return None


class _Uninitialised(TorchFunctionMode):
    """Leaves out the random first values: for tensors without memory torch would load its compiler
    to draw them, which takes longer than all the rest."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if getattr(func, "__module__", None) == "torch.nn.init":
            return None
        return func(*args, **(kwargs or {}))


def _all_numbers(held: Held) -> bool:
    values = held.scales if isinstance(held, Matrix) else held
    # The sum is quick, and no number only when a value is none or the finite ones overflow.
    return bool(values.sum().isfinite()) or bool(values.isfinite().all())


def weights_sha256(module: torch.nn.Module) -> str:
    """`tensors_sha256` of a module's weights (a tied head counts once)."""
    return tensors_sha256(whole_weights(module))


def tensors_sha256(tensors: Mapping[str, Tensor]) -> str:
    """sha256 over the float32 tensors in C order, sorted by name."""
    digest = hashlib.sha256()
    for _, values in sorted(tensors.items()):
        digest.update(values.detach().float().cpu().contiguous().numpy().data)
    return digest.hexdigest()
