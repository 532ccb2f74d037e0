"""The tokenizer inside a GGUF file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tokenizers
from tokenizers import decoders, models

from langwright.errors import Damaged, Unsupported
from langwright.tokens.bpe import (
    GPT2_SPLIT,
    LLAMA3_SPLIT,
    QWEN2_SPLIT,
    split_by,
    with_special_tokens,
)
from langwright.tokens.json_tokenizer import JsonTokenizer

# The patterns that llama.cpp has under these names of `tokenizer.ggml.pre`.
SPLITS: dict[str, tuple[str, ...]] = {
    "gpt-2": (GPT2_SPLIT,),
    "smollm": (r"\p{N}", GPT2_SPLIT),
    "llama-bpe": (LLAMA3_SPLIT,),
    "qwen2": (QWEN2_SPLIT,),
}
CONTROL, USER_DEFINED = 3, 4


def tokenizer_from_gguf(fields: Mapping[str, Any]) -> JsonTokenizer:
    """Build the tokenizer from the `tokenizer.ggml.*` fields; ids are places in the list."""
    model, pre = fields.get("tokenizer.ggml.model"), fields.get("tokenizer.ggml.pre")
    if model != "gpt2" or pre not in list(SPLITS):
        raise Unsupported(
            f"The file's tokenizer is of kind '{model}' with split '{pre}', which is not built.",
            remedy=f"Known: kind gpt2 with split {', '.join(SPLITS)}.",
        )
    tokens: list[str] = _list(fields, "tokens", str)
    kinds: list[int] = _list(fields, "token_type", int) or [1] * len(tokens)
    merges = [tuple(merge.split(" ", 1)) for merge in _list(fields, "merges", str)]
    if not tokens or len(kinds) != len(tokens) or len(set(tokens)) != len(tokens):
        raise Damaged(
            "The file's token lists do not fit each other.", remedy="Fetch the file again."
        )
    ids = {token: index for index, token in enumerate(tokens)}
    try:
        bpe = models.BPE(vocab=ids, merges=merges, ignore_merges=pre == "llama-bpe")
    except Exception as error:
        raise Damaged(
            f"The file's merges do not fit its tokens: {error}.", remedy="Fetch the file again."
        ) from None
    core = tokenizers.Tokenizer(bpe)
    core.pre_tokenizer = split_by(*SPLITS[pre])
    core.decoder = decoders.ByteLevel()
    special = {
        token: index
        for index, (token, kind) in enumerate(zip(tokens, kinds, strict=True))
        if kind in (CONTROL, USER_DEFINED)
    }
    return JsonTokenizer(with_special_tokens(core, special))


def _list(fields: Mapping[str, Any], name: str, kind: type) -> list[Any]:
    values = fields.get(f"tokenizer.ggml.{name}", [])
    if not isinstance(values, list) or not all(isinstance(value, kind) for value in values):
        raise Damaged(
            f"The file's tokenizer.ggml.{name} is not a list of {kind.__name__}.",
            remedy="Fetch the file again.",
        )
    return values
