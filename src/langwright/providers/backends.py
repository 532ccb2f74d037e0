"""The back ends that a model of this machine can run in, by name."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from langwright.backend import Backend, BackendName, Dtype
from langwright.errors import BadInput, Unsupported, suggest
from langwright.store import Store

if TYPE_CHECKING:
    from langwright.providers.open import Place


def open_other(
    place: Place,
    backend: str,
    dtype: Dtype,
    *,
    slots: int | None = None,
    context: int | None = None,
) -> Backend:
    """The model at `place` in another back end than the own one. `slots` and `context` are those of
    `LlamaCpp`. Raises `Unsupported` for what that back end does not read."""
    if backend == "llama.cpp":
        from langwright.providers.llama_cpp import LlamaCpp

        path = gguf_of(place)
        if dtype not in ("float32", "auto"):
            raise BadInput(
                f"llama.cpp holds weights as the file does, not in {dtype}.",
                remedy="Leave the dtype out, or export the model with that many bits.",
            )
        return LlamaCpp(path, place.name, slots=slots or 4, context=context)
    raise Unsupported(f"There is no back end '{backend}'.", remedy=suggest(backend, NAMES))


def gguf_of(place: Place) -> Path:
    """The GGUF file of a model."""
    ggufs = [place.path] if place.path.is_file() else sorted(place.path.glob("*.gguf"))
    if len(ggufs) != 1:
        raise Unsupported(
            f"llama.cpp reads GGUF files, and '{place.name}' is none.",
            remedy=f"`langwright export {place.name} --to gguf PATH` writes one.",
        )
    return ggufs[0]


def open_contender(
    model: str, backend: str, dtype: Dtype, *, slots: int, context: int
) -> tuple[Backend, bool]:
    """A back end for `bench`, and whether its memory is this process's."""
    from langwright.providers.open import open_model, places_of

    if backend == "own":
        return open_model(model, dtype=dtype).backend, True
    place, added = places_of(model, Store())
    if added is not None:
        raise Unsupported(
            f"{backend} is given no adapter here.", remedy=f"Export '{model}' as one model first."
        )
    return open_other(place, backend, dtype, slots=slots, context=context), True


def prepare(backend: str) -> None:
    """Import what a back end needs."""
    import_module("langwright.providers.llama_cpp" if backend == "llama.cpp" else _OWN)


NAMES = get_args(BackendName)
_OWN = "langwright.inference"
