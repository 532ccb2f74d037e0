"""`langwright inspect`: a look into a model while it reads a text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack

from langwright.backend import Dtype
from langwright.errors import BadInput
from langwright.providers.handle import Model
from langwright.providers.open import open_encoder, open_model
from langwright.store import Store

if TYPE_CHECKING:
    from langwright.inference import InspectOptions


def inspect(
    model: str | Model,
    text: str,
    *,
    dtype: Dtype | None = None,
    store: Store | None = None,
    **options: Unpack[InspectOptions],
) -> dict[str, Any]:
    """What a decoder or an encoder (MiniLM) does with `text`; the options are those of
    `Model.inspect`. `dtype` is how the weights of a named decoder are held.

    Raises as `load` and `Model.inspect` do.
    """
    if isinstance(model, Model):
        if dtype is not None:
            raise BadInput(
                "The model is loaded already, and with it its dtype.",
                remedy="Give the dtype to `load`.",
            )
        return {"model": model.name, **model.inspect(text, **options).to_json()}
    encoder = open_encoder(model, store=store)
    if encoder is None:
        opened = open_model(model, dtype=dtype or "float32", store=store)
        return {"model": opened.name, **opened.inspect(text, **options).to_json()}
    if dtype not in (None, "float32"):
        raise BadInput(
            f"An encoder is held in float32, not in {dtype}.", remedy="Leave the dtype out."
        )
    from langwright.inference import inspect as look  # here, as in `open`

    return {"model": model, **look(encoder, text, **options).to_json()}
