"""A tokenizer as the fields of a GGUF file: the reverse of `gguf_vocabulary`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from langwright.errors import Unsupported
from langwright.progress import say
from langwright.tokens.gguf_splits import PATTERNS, WHOLE_FIRST
from langwright.tokens.gguf_vocabulary import (
    BYTE,
    CONTROL,
    NORMAL,
    UNKNOWN,
    UNUSED,
    USER_DEFINED,
)
from langwright.tokens.json_tokenizer import JsonTokenizer
from langwright.tokens.spelling import BYTE_TOKENS, Spelling
from langwright.tokens.splits import SPLITS
from langwright.tokens.tokenizer import Tokenizer

Spec = Mapping[str, Any]


def gguf_fields(tokenizer: Tokenizer, rows: int) -> dict[str, Any]:
    """The `tokenizer.ggml.*` fields that llama.cpp needs to cut text as `tokenizer` does. The list
    of tokens is filled up to `rows`, those of the model's table.

    Byte-level BPE whose cutting llama.cpp knows by name (`gguf_splits`), and SentencePiece's BPE.
    Raises `Unsupported` for every other.
    """
    if not isinstance(tokenizer, JsonTokenizer):
        raise _unsupported("is not of the kinds that llama.cpp has")
    spec = tokenizer.spec
    model, spelling = spec["model"], Spelling.of(spec)
    if model["type"] != "BPE" or spelling.kind not in ("bytes", "marked"):
        raise _unsupported(f"is of the kind {model['type']}")
    fields: dict[str, Any]
    if spelling.kind == "bytes":
        fields = {"model": "gpt2", "pre": _pre(spec), "merges": [*map(_joined, model["merges"])]}
    elif spelling.marks and spelling.fallback:
        fields = {
            "model": "llama",
            "pre": "default",
            "scores": _scores(tokenizer, rows),
            "add_space_prefix": spelling.adds_blank,
        }
    else:
        raise _unsupported("spells blanks, or what it does not know, otherwise")
    tokens, kinds = _tokens(tokenizer, rows)
    if (unknown := model.get("unk_token")) is not None and spelling.kind == "marked":
        fields["unknown_token_id"] = tokens.index(unknown)
        kinds[tokens.index(unknown)] = UNKNOWN
    fields |= {"tokens": tokens, "token_type": kinds}
    return {f"tokenizer.ggml.{name}": value for name, value in fields.items()}


def cutting(tokenizer: Tokenizer) -> tuple[tuple[str, ...], bool] | None:
    """The patterns that a byte-level tokenizer cuts text by, in turn, and whether a piece that is a
    token is taken whole; None for those that cut by nothing of the kind."""
    if not isinstance(tokenizer, JsonTokenizer) or Spelling.of(tokenizer.spec).kind != "bytes":
        return None
    whole_first = bool(tokenizer.spec["model"].get("ignore_merges"))
    return tuple(_cuts(tokenizer.spec["pre_tokenizer"])), whole_first


def _tokens(tokenizer: JsonTokenizer, rows: int) -> tuple[list[str], list[int]]:
    tokens = [f"[PAD{index}]" for index in range(rows)]
    kinds = [UNUSED] * rows
    fallback = Spelling.of(tokenizer.spec).fallback
    for piece, index in tokenizer.spec["model"]["vocab"].items():
        tokens[index] = piece
        kinds[index] = BYTE if fallback and piece in BYTE_TOKENS else NORMAL
    for token in tokenizer.spec.get("added_tokens", []):
        tokens[token["id"]] = token["content"]
        kinds[token["id"]] = CONTROL if token["special"] else USER_DEFINED
    return tokens, kinds


def _scores(tokenizer: JsonTokenizer, rows: int) -> list[float]:
    """SentencePiece merges the pair whose token has the highest score: the earlier a token is
    among the merges, the higher."""
    vocabulary, scores = tokenizer.spec["model"]["vocab"], [0.0] * rows
    for rank, pair in reversed([*enumerate(tokenizer.spec["model"]["merges"], start=1)]):
        scores[vocabulary["".join(_pair(pair))]] = -float(rank)
    return scores


def _pre(spec: Spec) -> str:
    """llama.cpp's name of the cutting."""
    normalizer = spec.get("normalizer")
    if normalizer is not None and normalizer != {"type": "NFC"}:
        raise _unsupported(f"changes the text by {normalizer['type']} before it is cut")
    cuts, whole_first = (
        tuple(_cuts(spec["pre_tokenizer"])),
        bool(spec["model"].get("ignore_merges")),
    )
    for name, patterns in PATTERNS.items():
        if patterns == cuts and (name in WHOLE_FIRST) == whole_first:
            if normalizer is not None:
                say(
                    "The tokenizer composes Unicode (NFC); llama.cpp does not: text that is not"
                    " composed already is cut otherwise there."
                )
            return name
    raise _unsupported("cuts text in a way that llama.cpp has no name for")


def _cuts(part: Spec) -> Iterator[str]:
    """The patterns that a text is cut by, in turn."""
    kind = part["type"]
    if kind == "Sequence":
        for each in part["pretokenizers"]:
            yield from _cuts(each)
    elif kind == "Split" and part["behavior"] == "Isolated" and not part["invert"]:
        yield part["pattern"].get("Regex", "")
    elif kind == "Digits":
        yield r"\p{N}" if part["individual_digits"] else r"\p{N}+"
    elif kind == "ByteLevel" and not part["add_prefix_space"]:
        if part["use_regex"]:
            yield SPLITS["gpt2"]
    else:
        raise _unsupported(f"cuts text by {kind} with settings that llama.cpp does not have")


def _pair(merge: str | list[str]) -> list[str]:
    return merge.split(" ", 1) if isinstance(merge, str) else merge


def _joined(merge: str | list[str]) -> str:
    return merge if isinstance(merge, str) else " ".join(merge)


def _unsupported(why: str) -> Unsupported:
    return Unsupported(
        f"The tokenizer {why}, so no GGUF file can hold it.",
        remedy="Export to a Hugging Face folder (--to hf).",
    )
