"""llama.cpp's own ids for a vocabulary, with a model of one tiny layer around it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, Request, build_opener

import gguf
import numpy as np

WIDTH = 32


def write_vocabulary(path: Path, fields: Mapping[str, Any]) -> None:
    """A GGUF file with these `tokenizer.ggml.*` fields and the smallest llama that loads."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(256)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(WIDTH)
    writer.add_head_count(1)
    writer.add_layer_norm_rms_eps(1e-5)
    for name, value in fields.items():
        if isinstance(value, bool):
            writer.add_bool(name, value)
        elif isinstance(value, int):
            writer.add_uint32(name, value)
        elif isinstance(value, bytes):
            kinds = gguf.GGUFValueType
            writer.add_key_value(name, list(value), kinds.ARRAY, sub_type=kinds.UINT8)
        elif isinstance(value, str):
            writer.add_string(name, value)
        else:
            writer.add_array(name, value)
    size = len(fields["tokenizer.ggml.tokens"])
    shapes = {"token_embd": (size, WIDTH), "output_norm": (WIDTH,)}
    shapes |= {f"blk.0.{name}": (WIDTH, WIDTH) for name in ("attn_q", "attn_k", "attn_v")}
    shapes |= {f"blk.0.{name}": (WIDTH, WIDTH) for name in ("attn_output", "ffn_gate", "ffn_up")}
    shapes |= {"blk.0.ffn_down": (WIDTH, WIDTH)}
    shapes |= {"blk.0.attn_norm": (WIDTH,), "blk.0.ffn_norm": (WIDTH,)}
    for name, shape in shapes.items():
        writer.add_tensor(f"{name}.weight", np.zeros(shape, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


class LlamaCpp:
    """llama.cpp with one model loaded."""

    def __init__(self, path: Path) -> None:
        import xllamacpp

        parameters = xllamacpp.CommonParams()
        parameters.model.path = str(path)
        parameters.n_ctx = 256
        parameters.n_parallel = 1
        parameters.cpuparams.n_threads = 1
        parameters.warmup = False
        parameters.fit_params = False
        self._server = xllamacpp.Server(parameters)

    def encode(self, text: str) -> list[int]:
        """Its ids, with special tokens in the text taken for text, and none put before it."""
        asked = {"content": text, "add_special": False, "parse_special": False}
        request = Request(
            f"{self._server.listening_address}/tokenize",
            json.dumps(asked).encode(),
            {"Content-Type": "application/json"},
        )
        with build_opener(ProxyHandler({})).open(request) as answer:
            return [int(token) for token in json.load(answer)["tokens"]]
