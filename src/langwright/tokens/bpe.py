"""Byte-level BPE (Sennrich et al. 2016; Radford et al. 2019), trained by `tokenizers`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from langwright.errors import BadInput
from langwright.tokens.json_tokenizer import JsonTokenizer
from langwright.tokens.splits import SPLITS

END_OF_TEXT = "<|endoftext|>"
TURN_START = "<|im_start|>"
TURN_END = "<|im_end|>"
SPECIAL_TOKENS = (END_OF_TEXT, TURN_START, TURN_END)
"""Qwen2's names: between documents, and around the turns of a conversation."""

GPT2_SPLIT, LLAMA3_SPLIT, QWEN2_SPLIT = SPLITS["gpt2"], SPLITS["llama3"], SPLITS["qwen2"]


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
        {
            "id": token,
            "content": name,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
        for name, token in sorted(special.items(), key=lambda item: item[1])
    ]
    return spec


def train_bpe(texts: Iterable[str], vocab_size: int) -> JsonTokenizer:
    """Learn merges from `texts` until `vocab_size` ids exist, special tokens included.

    A small corpus may run out of pairs first: the tokenizer is then smaller than asked.
    """
    smallest = 256 + len(SPECIAL_TOKENS)
    if vocab_size < smallest:
        raise BadInput(
            f"A vocabulary of {vocab_size} is too small.",
            remedy=f"Ask for at least {smallest}: 256 bytes and {len(SPECIAL_TOKENS)} specials.",
        )
    core = tokenizers.Tokenizer(models.BPE())
    core.pre_tokenizer = split_by(QWEN2_SPLIT)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - len(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        min_frequency=2,
        show_progress=False,
    )
    core.train_from_iterator(texts, trainer)
    first = core.get_vocab_size()
    special = {name: first + index for index, name in enumerate(SPECIAL_TOKENS)}
    return JsonTokenizer(with_special_tokens(core, special))
