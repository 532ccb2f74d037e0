"""A model as one HTML page: its weights, its tokenizer and a program that runs them, offline."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined

from langwright.errors import BadInput, NotFound, Unsupported
from langwright.lifecycle.export.page_text import chat_frame, tokenizer_of
from langwright.lifecycle.report import number
from langwright.model import ModelBundle
from langwright.model.gguf_write import kind_of, quantised
from langwright.model.quantised import whole_weights
from langwright.store import Store

DTYPES = ("f32", "f16", "q8_0")
"""What the matrices may be written in; the page computes with float32 in any case."""
MAX_BYTES = 200_000_000
"""Of a page: beyond it browsers and mail give up."""
CONTEXT = 2048
"""Tokens that a page holds at most: their keys and values take memory from the start."""
_SHAPE = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_layers",
    "num_heads",
    "num_kv_heads",
    "head_dim",
    "sliding_window",
    "sliding_layers",
    "unrotated_layers",
    "norm",
    "norm_eps",
    "norm_offset",
    "sandwich_norms",
    "attention_scale",
    "activation",
    "scale_embeddings",
    "logit_softcap",
)
_MODEL = ("classes.js", "tokenizer.js", "decoder.js", "model.js")


@dataclass(frozen=True)
class Origin:
    """What a page says of where its model comes from: each ancestor's kind, name, digest and
    licence."""

    name: str
    licence: str | None
    ancestors: Sequence[tuple[str, str, str, str]] = ()


def origin(name: str, model: ModelBundle, store: Store) -> Origin:
    """That of the model `name`; one that lies in no store has no known ancestors."""
    try:
        nodes = store.lineage(name.partition("+")[0])["nodes"]
    except (NotFound, BadInput):
        return Origin(name, model.licence)
    ancestors = [
        (node["kind"], node["name"], node["digest"], node["licence"] or "") for node in nodes
    ]
    return Origin(name, model.licence or nodes[0]["licence"], ancestors[1:])


def save_page(path: Path, model: ModelBundle, dtype: str, origin: Origin, *, proved: bool) -> None:
    """Write the page. Its content security policy lets nothing in and nothing out.

    Matrices take `dtype`, one of `DTYPES`; vectors stay float32. A row that is no multiple of 32
    values long cannot be quantised: such a matrix takes f16.

    Raises `Unsupported` for a family or a tokenizer that the page cannot run, and for a model whose
    page would be larger than `MAX_BYTES`.
    """
    settings = _settings(model, dtype)
    _check_size(settings["tensors"])
    shape = model.module.shape
    parts = {name: _file(name) for name in ("page.html.jinja", "page.css", "page.js", "worker.js")}
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters.update(number=number)
    before, after = (
        environment.from_string(parts["page.html.jinja"])
        .render(
            origin=origin,
            parameters=shape.num_parameters,
            shape=shape,
            dtype=dtype,
            proved=proved,
            chats=settings["chat"] is not None,
            has_template=model.template is not None,
            context=settings["shape"]["context"],
            style=parts["page.css"],
            script=parts["page.js"],
            hashes={name: _hash(parts[f"page.{name}"]) for name in ("css", "js")},
            model="".join(map(_file, _MODEL)),
            worker=parts["worker.js"],
            products=base64.b64encode(_read("products.wasm")).decode(),
            # Inside a script element nothing is escaped, and `</script>` would end it.
            settings=json.dumps(settings, ensure_ascii=False).replace("<", "\\u003c"),
            tensors=_TENSORS,
        )
        .split(_TENSORS)
    )
    with path.open("w", encoding="utf-8") as file:
        file.write(before)
        for raw in _tensors(model, dtype):  # one at a time: there may be no room for all
            text = base64.b64encode(raw).decode()
            file.write(f'<script type="text/plain" class="tensor">{text}</script>\n')
        file.write(after)


_TENSORS = "<!-- tensors -->"
"""Stands in the template where they go."""


def _settings(model: ModelBundle, dtype: str) -> dict[str, Any]:
    module, shape = model.module, model.module.shape
    if shape.num_experts:
        raise Unsupported(
            f"The page does not run the family {shape.family}: its layers have experts.",
            remedy="Export to GGUF (--to gguf) or a Hugging Face folder (--to hf).",
        )
    values = shape.model_dump(mode="json")
    told = {key: values[key] for key in _SHAPE} | {
        "tokens": model.tokenizer.vocab_size,
        "context": min(shape.context_length, CONTEXT),
        "frequencies": None,
        "local_frequencies": None,
        "magnitude": 1.0,
    }
    if shape.positions == "rotary":
        told["frequencies"] = module.rotary.frequencies.tolist()
        told["magnitude"] = module.rotary.magnitude
    if shape.local_rope_theta is not None:
        told["local_frequencies"] = module.local_rotary.frequencies.tolist()
    return {
        "shape": told,
        "tokenizer": tokenizer_of(model.tokenizer),
        "start": model.start_id,
        "ends": sorted(model.end_ids),
        "chat": chat_frame(model),
        "tensors": [
            [name, kind_of(name, tuple(held.shape), dtype), held.numel() // width, width]
            for name, held in whole_weights(module).items()
            for width in (held.shape[-1],)
        ],
    }


_BYTES = {"f32": 4.0, "f16": 2.0, "q8_0": 34 / 32}


def _check_size(tensors: Sequence[tuple[str, str, int, int]]) -> None:
    def size(kinds: Sequence[str]) -> float:
        pairs = zip(tensors, kinds, strict=True)
        return sum(rows * width * _BYTES[kind] for (_, _, rows, width), kind in pairs) * 4 / 3

    size_now = size([kind for _, kind, _, _ in tensors])
    if size_now <= MAX_BYTES:
        return
    smaller = size(["q8_0"] * len(tensors)) <= MAX_BYTES
    raise Unsupported(
        f"The page would have {size_now / 1e6:.0f} MB; at most {MAX_BYTES // 10**6} are written.",
        remedy="Give --dtype q8_0." if smaller else "Export to GGUF (--to gguf).",
    )


def _tensors(model: ModelBundle, dtype: str) -> Iterator[bytes]:
    """The bytes of each tensor; of q8_0 first all quants, then all scales in float16."""
    for name, held in whole_weights(model.module).items():
        values = held.float().numpy()
        raw = quantised(name, values, dtype)
        if kind_of(name, values.shape, dtype) == "q8_0":
            blocks = raw.reshape(-1, 34)
            raw = np.concatenate([blocks[:, 2:].reshape(-1), blocks[:, :2].reshape(-1)])
        yield raw.tobytes()


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _read(name: str) -> bytes:
    return files("langwright.lifecycle.export").joinpath("web", name).read_bytes()


def _file(name: str) -> str:
    return _read(name).decode()
