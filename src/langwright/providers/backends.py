"""The back ends that a model of this machine can run in, by name."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from langwright.backend import Backend, BackendName, Dtype
from langwright.errors import BadInput, Unsupported, suggest
from langwright.providers.place import Place


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
    if backend == "transformers":
        from langwright.providers.transformers_ import Transformers

        if not (place.path / "config.json").is_file():
            raise Unsupported(
                f"transformers reads Hugging Face folders, and '{place.name}' is none.",
                remedy=f"`langwright export {place.name} --to hf PATH` writes one.",
            )
        return Transformers(place.path, place.name, dtype=dtype)
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


NAMES = get_args(BackendName)
