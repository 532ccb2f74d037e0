"""The decoder, and models in and out of files."""

from pathlib import Path

from langwright.backend import Dtype
from langwright.model.architecture import Architecture
from langwright.model.attention import Branches
from langwright.model.bundle import (
    ModelBundle,
    decoder_from,
    one_thread,
    tensors_sha256,
    weights_sha256,
)
from langwright.model.cache import KVCache
from langwright.model.cross_entropy import IGNORED
from langwright.model.decoder import Decoder
from langwright.model.folder import (
    load_folder,
    read_json,
    save_folder,
    text_of_folder,
    write_tensors,
)
from langwright.model.gguf_file import GGUFFile
from langwright.model.gguf_model import load_gguf, text_of
from langwright.model.gguf_settings import architecture
from langwright.model.lora import Adapter, Adapters, LoRASettings
from langwright.model.paged_cache import PAGE, PagedCache, block_bytes
from langwright.model.peft_folder import load_adapter, save_adapter
from langwright.model.quantised import check_dtype, is_quantised
from langwright.model.text_parts import TextParts


def load_model(path: Path, dtype: Dtype = "float32") -> ModelBundle:
    """Load a Hugging Face folder, a GGUF file, or an artifact's folder that holds a GGUF, its
    weights held as `dtype`."""
    check_dtype(dtype)
    ggufs = [path] if path.is_file() else sorted(path.glob("*.gguf"))
    with one_thread():
        return load_gguf(ggufs[0], dtype) if len(ggufs) == 1 else load_folder(path, dtype)


def load_text(path: Path) -> TextParts:
    """How the model that `load_model` loads meets text; its weights stay unread."""
    ggufs = [path] if path.is_file() else sorted(path.glob("*.gguf"))
    return text_of(GGUFFile(ggufs[0])) if len(ggufs) == 1 else text_of_folder(path)


def load_shape(path: Path) -> Architecture:
    """The shape of the model that `load_model` loads; its weights stay unread."""
    ggufs = [path] if path.is_file() else sorted(path.glob("*.gguf"))
    if len(ggufs) == 1:
        return architecture(GGUFFile(ggufs[0]))
    return Architecture.from_hugging_face(read_json(path / "config.json"))


__all__ = [
    "IGNORED",
    "PAGE",
    "Adapter",
    "Adapters",
    "Architecture",
    "Branches",
    "Decoder",
    "KVCache",
    "LoRASettings",
    "ModelBundle",
    "PagedCache",
    "block_bytes",
    "decoder_from",
    "is_quantised",
    "load_adapter",
    "load_folder",
    "load_gguf",
    "load_model",
    "load_shape",
    "load_text",
    "save_adapter",
    "save_folder",
    "tensors_sha256",
    "weights_sha256",
    "write_tensors",
]
