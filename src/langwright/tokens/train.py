"""Training tokenizers of every kind, with the trainers of `tokenizers`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Literal, get_args

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

from langwright.errors import BadInput, BadSettings, suggest
from langwright.tokens.bpe import SPECIAL_TOKENS, split_by, with_special_tokens
from langwright.tokens.json_tokenizer import JsonTokenizer
from langwright.tokens.spelling import BYTE_TOKENS, MARK
from langwright.tokens.splits import SPLITS

Kind = Literal["bpe", "sentencepiece", "character", "wordpiece", "word"]
Split = Literal["qwen2", "llama3", "gpt2"]
UNKNOWN = "[UNK]"


def train_tokenizer(
    kind: Kind, texts: Iterable[str], vocab_size: int, *, split: Split = "qwen2"
) -> JsonTokenizer:
    """A tokenizer of `kind` with at most `vocab_size` ids, its special tokens the last of them.

    - `bpe`: byte-level BPE (Radford et al. 2019), cut by the pattern `split`. Spells every text.
    - `sentencepiece`: BPE over characters with byte fallback, as Llama 2's (Kudo and Richardson
      2018); blanks are U+2581, so that a text with U+2581 itself gets blanks back. A
      character that the texts do not have is spelt in bytes.
    - `character`: one token a character, the commonest that there is room for; others in bytes.
    - `wordpiece`: BERT's (Schuster and Nakajima 2012; Devlin et al. 2018), cased.
    - `word`: words and punctuation marks, the commonest that there is room for.

    The first three give every text back (but for U+2581); the last two lose blanks, and words that
    they do not know become `[UNK]`. A small corpus may give fewer ids than asked for. The same
    texts give the same tokenizer, but for `wordpiece`, whose trainer breaks ties at random.

    Raises `BadSettings` for an unknown kind, `BadInput` for a vocabulary without room for what
    the kind must have.
    """
    if kind not in get_args(Kind):
        raise BadSettings(f"There is no kind '{kind}'.", remedy=suggest(str(kind), get_args(Kind)))
    if split not in get_args(Split) or (kind != "bpe" and split != "qwen2"):
        raise BadSettings(
            f"The split '{split}' does not go with the kind '{kind}'.",
            remedy=f"A split is for bpe, and one of {', '.join(get_args(Split))}.",
        )
    needed = {"bpe": 256, "sentencepiece": 256, "character": 256, "wordpiece": 1, "word": 1}[kind]
    smallest = needed + len(SPECIAL_TOKENS)
    if vocab_size < smallest:
        raise BadInput(
            f"A vocabulary of {vocab_size} is too small.",
            remedy=f"Ask for at least {smallest}: {needed} that a {kind} tokenizer must have and"
            f" {len(SPECIAL_TOKENS)} specials.",
        )
    learn: dict[str, Callable[[Iterable[str], int], tokenizers.Tokenizer]] = {
        "bpe": lambda texts, size: _byte_level(texts, size, split),
        "sentencepiece": _sentencepiece,
        "character": _character,
        "wordpiece": _wordpiece,
        "word": _word,
    }
    core = learn[kind](texts, vocab_size - len(SPECIAL_TOKENS))
    first = core.get_vocab_size()
    special = {name: first + index for index, name in enumerate(SPECIAL_TOKENS)}
    return JsonTokenizer(with_special_tokens(core, special))


def train_bpe(texts: Iterable[str], vocab_size: int) -> JsonTokenizer:
    """Byte-level BPE with Qwen 2's split, which other engines read (see `train_tokenizer`)."""
    return train_tokenizer("bpe", texts, vocab_size)


def _byte_level(texts: Iterable[str], size: int, split: Split) -> tokenizers.Tokenizer:
    core = tokenizers.Tokenizer(models.BPE())
    core.pre_tokenizer = split_by(SPLITS[split])
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        min_frequency=2,
        show_progress=False,
    )
    core.train_from_iterator(texts, trainer)
    return core


def _sentencepiece(texts: Iterable[str], size: int) -> tokenizers.Tokenizer:
    core = tokenizers.Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Metaspace(MARK, prepend_scheme="never")
    core.decoder = decoders.Sequence(
        [decoders.Replace(MARK, " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=list(BYTE_TOKENS),
        min_frequency=2,
        show_progress=False,
    )
    core.train_from_iterator(texts, trainer)
    # The trainer thinks of the bytes as special; what makes them bytes is the fallback.
    spec: dict[str, Any] = json.loads(core.to_str())
    spec["added_tokens"] = []
    spec["model"]["byte_fallback"] = True
    return tokenizers.Tokenizer.from_str(json.dumps(spec))


def _character(texts: Iterable[str], size: int) -> tokenizers.Tokenizer:
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text)
    common = sorted(counts, key=lambda char: (-counts[char], char))[: size - len(BYTE_TOKENS)]
    vocabulary = {piece: index for index, piece in enumerate((*BYTE_TOKENS, *sorted(common)))}
    core = tokenizers.Tokenizer(models.BPE(vocabulary, [], byte_fallback=True))
    core.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    return core


def _wordpiece(texts: Iterable[str], size: int) -> tokenizers.Tokenizer:
    core = tokenizers.Tokenizer(models.WordPiece(unk_token=UNKNOWN))
    core.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(
        vocab_size=size, special_tokens=[UNKNOWN], min_frequency=2, show_progress=False
    )
    core.train_from_iterator(texts, trainer)
    return core


def _word(texts: Iterable[str], size: int) -> tokenizers.Tokenizer:
    core = tokenizers.Tokenizer(models.WordLevel(unk_token=UNKNOWN))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.WordLevelTrainer(
        vocab_size=size, special_tokens=[UNKNOWN], show_progress=False
    )
    core.train_from_iterator(texts, trainer)
    return core
