"""What byte-level BPE (Sennrich et al. 2016; Radford et al. 2019) is built of."""

from __future__ import annotations

import json
from typing import Any

import tokenizers
from tokenizers import pre_tokenizers

END_OF_TEXT = "<|endoftext|>"
TURN_START = "<|im_start|>"
TURN_END = "<|im_end|>"
SPECIAL_TOKENS = (END_OF_TEXT, TURN_START, TURN_END)
"""Qwen2's names: between documents, and around the turns of a conversation."""


def split_by(*patterns: str) -> pre_tokenizers.PreTokenizer:
    """Cut text at each pattern in turn, then spell the pieces in the byte alphabet."""
    cuts = [
        pre_tokenizers.Split(tokenizers.Regex(pattern), behavior="isolated") for pattern in patterns
    ]
    spell = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return pre_tokenizers.Sequence([*cuts, spell])


def with_special_tokens(core: tokenizers.Tokenizer, special: dict[str, int]) -> dict[str, Any]:
    """The `tokenizer.json` of `core` with special tokens written in."""
    spec: dict[str, Any] = json.loads(core.to_str())
    spec["added_tokens"] = [
        special_token(name, token)
        for name, token in sorted(special.items(), key=lambda item: item[1])
    ]
    return spec


def special_token(name: str, token: int) -> dict[str, Any]:
    """A row of `added_tokens` in a `tokenizer.json`."""
    return {
        "id": token,
        "content": name,
        "single_word": False,
        "lstrip": False,
        "rstrip": False,
        "normalized": False,
        "special": True,
    }
