"""A model as a Hugging Face folder: how own models are stored, and others read."""

from __future__ import annotations

import errno
import json
import os
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from langwright.errors import BadInput, Damaged, NotFound
from langwright.model.architecture import Architecture
from langwright.model.bundle import ModelBundle, decoder_from
from langwright.model.quantised import held, whole_weights
from langwright.model.text_parts import TextParts
from langwright.tokens import ChatTemplate, JsonTokenizer, read_tokenizer

DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}

_AGAIN = "Fetch the model again."

_STRETCH = 2**26
"""Bytes of a file that are mapped at one time while they are converted."""


def save_folder(folder: Path, model: ModelBundle, dtype: str = "f32") -> None:
    """Write config.json, model.safetensors, the tokenizer and the chat template. The weights are
    written as `dtype`, one of `DTYPES`."""
    shape = model.module.shape
    weights = {
        name: weight.to(DTYPES[dtype]).contiguous()
        for name, weight in whole_weights(model.module).items()
    }
    write_tensors(folder / "model.safetensors", shape.of.to_theirs(weights, shape))
    tokenizer = model.tokenizer
    if isinstance(tokenizer, JsonTokenizer):
        tokenizer = tokenizer.with_start(model.start_id)
    tokenizer.save(folder / "tokenizer.json")
    ends = sorted(model.end_ids)
    config = {"torch_dtype": str(DTYPES[dtype]).removeprefix("torch."), "eos_token_id": ends}
    write_json(folder / "config.json", shape.to_hugging_face() | config)
    write_json(folder / "generation_config.json", {"eos_token_id": ends})
    names = {index: name for name, index in model.tokenizer.special.items()}
    described: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast"}
    if ends and ends[-1] in names:
        described["eos_token"] = names[ends[-1]]
    if model.template is not None:
        described["chat_template"] = model.template.source
        # The names that the template may ask for come back as they are.
        named = {"bos_token": model.template.bos, "eos_token": model.template.eos}
        described |= {key: name for key, name in named.items() if name}
    write_json(folder / "tokenizer_config.json", described)
    # What this program adds; others pass it by.
    own = {"tokenizer_fingerprint": model.tokenizer.fingerprint, "start_id": model.start_id}
    write_json(folder / "langwright.json", own)


def write_tensors(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Write a safetensors file. A full disk is the OSError that it is everywhere else: the library
    wraps it in an error of its own, which nobody above would know."""
    try:
        save_file(tensors, path, metadata={"format": "pt"})
    except SafetensorError as error:
        if "No space left" in str(error) or "os error 28" in str(error):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from None
        raise


def load_folder(folder: Path, dtype: str = "float32") -> ModelBundle:
    """Read the folder of a model of the known families, its weights held as `dtype` (one of
    `quantised.DTYPES`). No code from it is run."""
    if not (folder / "config.json").is_file():
        raise NotFound(
            f"{folder} holds no model: there is no config.json.",
            remedy="Give a model's folder, a GGUF file or a name from `langwright list`.",
        )
    shape = Architecture.from_hugging_face(read_json(folder / "config.json"))
    parts = text_of_folder(folder)
    stored = load_weights(folder, whole=dtype == "float32")
    if dtype == "auto":
        exact = all(values.dtype == torch.float32 for values in stored.values())
        dtype = "float32" if exact else "bfloat16"
    ours = shape.of.to_ours(stored, shape)
    del stored
    # One at a time: both kinds need not stand whole in memory.
    weights = {name: held(name, ours.pop(name), dtype) for name in list(ours)}
    module = decoder_from(shape, weights)
    return ModelBundle(module, parts.tokenizer, parts.template, parts.end_ids, parts.start_id)


def text_of_folder(folder: Path) -> TextParts:
    """Tokenizer, template, end and start tokens of a folder of any family."""
    tokenizer = read_tokenizer(folder / "tokenizer.json")
    own = read_json(folder / "langwright.json") if (folder / "langwright.json").is_file() else {}
    expected = own.get("tokenizer_fingerprint")
    if expected is not None and expected != tokenizer.fingerprint:
        raise BadInput(
            f"The tokenizer in {folder} is not the one that this model was trained with.",
            remedy="Put the model's own tokenizer.json back.",
        )
    described = read_json_if_there(folder / "tokenizer_config.json")
    generation = read_json_if_there(folder / "generation_config.json")
    ends = generation.get("eos_token_id", read_json(folder / "config.json").get("eos_token_id"))
    ends = ends if isinstance(ends, list) else [] if ends is None else [ends]
    if not all(type(end) is int and 0 <= end < tokenizer.vocab_size for end in ends):
        raise Damaged(
            f"{folder} names the end tokens {ends!r}, which the tokenizer does not have.",
            remedy="Correct eos_token_id in generation_config.json and config.json.",
        )
    source = described.get("chat_template")
    if (folder / "chat_template.jinja").is_file():
        source = (folder / "chat_template.jinja").read_text(encoding="utf-8")
    template = None
    if isinstance(source, str):
        names = (_name(described.get("bos_token")), _name(described.get("eos_token")))
        template = ChatTemplate(source, tokenizer, *names)
    start = own.get("start_id", tokenizer.start_id)
    return TextParts(tokenizer, template, frozenset(ends), start)


def load_weights(folder: Path, whole: bool = True) -> dict[str, torch.Tensor]:
    """The tensors of a folder's safetensors files in float32, or unless `whole` as they are stored.

    Where there is an index, the files are those that it names, and others are passed by. Raises
    `NotFound` where there are none, `Damaged` for what cannot be read or lies in two files.
    """
    weights: dict[str, torch.Tensor] = {}
    for file in _weight_files(folder):
        try:
            for name, values in _tensors(file):
                if name in weights:
                    raise Damaged(
                        f"{folder} has the tensor '{name}' in two files.",
                        remedy="Fetch the model again, into an empty folder.",
                    )
                weights[name] = values.float() if whole else values
        except (SafetensorError, ValueError, OSError) as error:
            raise Damaged(f"{file} cannot be read: {error}.", remedy=_AGAIN) from None
    return weights


def stored_tensors(folder: Path) -> list[tuple[str, list[int]]]:
    """The type and shape of each tensor of a folder, its values unread; raises as
    `load_weights`."""
    found = []
    for file in _weight_files(folder):
        try:
            with safe_open(file, "pt") as opened:
                for name in opened.keys():  # noqa: SIM118 - it is no mapping
                    part = opened.get_slice(name)
                    found.append((part.get_dtype(), part.get_shape()))
        except (SafetensorError, OSError) as error:
            raise Damaged(f"{file} cannot be read: {error}.", remedy=_AGAIN) from None
    return found


def _weight_files(folder: Path) -> list[Path]:
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        if files := sorted(folder.glob("*.safetensors")):
            return files
        raise NotFound(
            f"{folder} holds no weights: there is no .safetensors file.",
            remedy="Pickled weights (.bin, .pt) are not read; convert them to safetensors.",
        )
    places = read_json(index).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise Damaged(f"{index} has no weight_map.", remedy=_AGAIN)
    for name in places.values():
        # One name in this folder: a file from elsewhere may not lead out of it.
        known = isinstance(name, str) and name not in ("", "..") and len(name) <= 128
        if not known or set(name) & {"/", "\\", "\0"}:
            raise Damaged(f"{index} names the file {str(name)[:128]!r}.", remedy=_AGAIN)
    files = [folder / name for name in dict.fromkeys(places.values())]
    for file in files:
        if not file.is_file():
            raise NotFound(
                f"{folder} lacks {file.name}, which its index names.",
                remedy=_AGAIN,
            )
    return files


def _tensors(file: Path) -> Iterator[tuple[str, torch.Tensor]]:
    """The tensors of a file, which is mapped anew for each stretch: what has been converted would
    otherwise stay in memory, mapped, beside its copy."""
    with safe_open(file, "pt") as opened:
        names = deque(opened.keys())
    while names:
        size = 0
        with safe_open(file, "pt") as opened:
            while names and size < _STRETCH:
                name = names.popleft()
                values = opened.get_tensor(name)
                size += values.nbytes if values.dtype != torch.float32 else 0
                yield name, values
                del values


def _name(token: Any) -> str:
    """A special token in tokenizer_config.json: its text, or an object that holds it."""
    return str(token.get("content", "")) if isinstance(token, dict) else str(token or "")


def write_json(path: Path, values: dict[str, Any]) -> None:
    """An object, readable by people."""
    path.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json_if_there(path: Path) -> dict[str, Any]:
    """The same, or nothing."""
    return read_json(path) if path.is_file() else {}


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; raises `Damaged`."""
    values = _parsed(path)
    if not isinstance(values, dict):
        raise Damaged(f"{path} is not a JSON object.", remedy=_AGAIN)
    return values


def read_json_list(path: Path) -> list[dict[str, Any]]:
    """The objects that a JSON file lists; raises `Damaged`."""
    values = _parsed(path)
    if not isinstance(values, list) or not all(isinstance(one, dict) for one in values):
        raise Damaged(f"{path} is not a list of JSON objects.", remedy=_AGAIN)
    return values


def _parsed(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Damaged(f"{path} cannot be read: {error.strerror}.", remedy=_AGAIN) from None
    except (ValueError, RecursionError) as error:
        raise Damaged(f"{path} is not JSON: {error}.", remedy=_AGAIN) from None
