"""The tokenizer inside a GGUF file: each kind of vocabulary that llama.cpp writes down."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any

from langwright.errors import Damaged, LangwrightError, Unsupported, suggest
from langwright.progress import say
from langwright.tokens.bpe import special_token
from langwright.tokens.gguf_splits import PATTERNS, RAW, WHOLE_FIRST
from langwright.tokens.json_tokenizer import JsonTokenizer
from langwright.tokens.spelling import BYTE_TOKENS, MARK

Spec = dict[str, Any]

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
"""What `tokenizer.ggml.token_type` says of a token."""
KINDS = ("gpt2", "gemma4", "llama", "bert", "t5")

# Some files hold the marks of a turn as ordinary text, which a text could then forge.
_MARK_OF_TURN = re.compile(r"<\|.*\|>|<(start|end)_of_turn>", re.DOTALL)


def tokenizer_from_gguf(fields: Mapping[str, Any]) -> JsonTokenizer:
    """Build the tokenizer from the `tokenizer.ggml.*` fields; ids are places in the list.

    By the field `model`: byte-level BPE (`gpt2`, with the cutting that `pre` names; `gemma4`,
    over characters), SentencePiece's BPE (`llama`) and Unigram (`t5`), WordPiece (`bert`). The
    ids are those that the model was trained with: nothing is added before or behind the text.

    Raises `Unsupported` for another kind or cutting, `Damaged` where the lists do not fit.
    """
    try:
        return JsonTokenizer(_Vocabulary(fields).spec())
    except LangwrightError:
        raise
    except Exception as error:  # tokenizers raises nothing more exact for what it cannot take
        raise _damaged(str(error) or type(error).__name__) from None


class _Vocabulary:
    """The fields, and the `tokenizer.json` that says the same."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self._fields = fields
        self._tokens: list[str] = self._list("tokens", str)
        self._kinds: list[int] = self._list("token_type", int) or [NORMAL] * len(self._tokens)
        self._ids = {token: index for index, token in enumerate(self._tokens)}
        fits = len(self._kinds) == len(self._tokens) == len(self._ids)
        if not self._tokens or not fits or "" in self._ids:
            raise _damaged("the token lists do not fit each other")
        while self._kinds and self._kinds[-1] == UNUSED:  # rows of the table that are no token
            del self._ids[self._tokens.pop()], self._kinds[-1]

    def spec(self) -> Spec:
        """The `tokenizer.json`."""
        kind = self._fields.get("tokenizer.ggml.model")
        if kind in ("gpt2", "gemma4"):
            parts = self._bpe("gemma4" if kind == "gemma4" else self._pre())
        elif kind == "llama":
            parts = self._sentencepiece()
        elif kind == "bert":
            parts = self._wordpiece()
        elif kind == "t5":
            parts = self._unigram()
        else:
            raise Unsupported(
                f"The file's tokenizer is of the kind '{kind}', which is not built.",
                remedy=f"Known are {', '.join(KINDS)}.",
            )
        nothing = {"normalizer": None, "pre_tokenizer": None, "decoder": None}
        return {"version": "1.0", **nothing, **parts, "added_tokens": self._added()}

    def _pre(self) -> str:
        pre = self._fields.get("tokenizer.ggml.pre")
        if pre is None:
            say(
                "The file does not say how its tokenizer cuts text: it is cut as llama.cpp does"
                " then, which may not be as the model learned."
            )
            return "default"
        if not isinstance(pre, str) or pre not in {*PATTERNS, *RAW}:
            raise Unsupported(
                f"The file's tokenizer cuts text by '{pre}', which is not known.",
                remedy=suggest(str(pre), {*PATTERNS, *RAW}),
            )
        return pre

    def _bpe(self, pre: str) -> Spec:
        merges: list[str] = self._list("merges", str)
        pairs = []
        for merge in merges:
            blank = merge.find(" ", 1)  # a piece may begin with one
            pairs.append([merge[:blank], merge[blank + 1 :]])
            if not {*pairs[-1], "".join(pairs[-1])} <= self._ids.keys():
                raise _damaged(f"the merge {merge!r} is not of its tokens")
        if pre in RAW:
            return {
                **self._marked(pairs),
                "normalizer": _blanks_to_marks(),
                "pre_tokenizer": _cut(RAW[pre]),
            }
        spell = {
            "type": "ByteLevel",
            "add_prefix_space": False,
            "trim_offsets": True,
            "use_regex": False,
        }
        cuts = _cut(PATTERNS[pre])["pretokenizers"]
        return {
            "model": self._bpe_model(pairs, ignore_merges=pre in WHOLE_FIRST),
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [*cuts, spell]},
            "decoder": spell | {"add_prefix_space": True, "use_regex": True},
        }

    def _sentencepiece(self) -> Spec:
        """Its BPE merges the pair whose token has the highest score, so the scores make the list.

        The order among the pairs that make one token is that of `transformers`, whose users have
        the same merges.
        """
        scores: list[float] = self._list("scores", float)
        if len(scores) != len(self._tokens):
            raise _damaged("there are not as many scores as tokens")
        ids, found = self._ids, []
        for token, index in ids.items():
            if self._kinds[index] != NORMAL:  # nothing that a text spells may make a mark
                continue
            for cut in range(1, len(token)):
                left, right = ids.get(token[:cut]), ids.get(token[cut:])
                if left is not None and right is not None:
                    found.append((-scores[index], index, left, right))
        found.sort()
        merges = [[self._tokens[left], self._tokens[right]] for _, _, left, right in found]
        prefix = self._fields.get("tokenizer.ggml.add_space_prefix", True)
        prepend = [{"type": "Prepend", "prepend": MARK}] if prefix else []
        parts = self._marked(merges)
        if prefix:
            strip = {"type": "Strip", "content": " ", "start": 1, "stop": 0}
            parts["decoder"]["decoders"].append(strip)
        return {
            **parts,
            "normalizer": {"type": "Sequence", "normalizers": [*prepend, _blanks_to_marks()]},
        }

    def _marked(self, merges: list[list[str]]) -> Spec:
        """BPE over characters: what the vocabulary lacks in bytes, else as the unknown token."""
        decoders = [
            {"type": "Replace", "pattern": {"String": MARK}, "content": " "},
            {"type": "ByteFallback"},
            {"type": "Fuse"},
        ]
        fallback = self._ids.keys() >= set(BYTE_TOKENS)
        return {
            "model": self._bpe_model(merges)
            | {"byte_fallback": fallback, "unk_token": self._unknown(), "fuse_unk": True},
            "decoder": {"type": "Sequence", "decoders": decoders},
        }

    def _bpe_model(self, merges: list[list[str]], *, ignore_merges: bool = False) -> Spec:
        return {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": ignore_merges,
            "vocab": self._ids,
            "merges": merges,
        }

    def _wordpiece(self) -> Spec:
        """GGUF marks the pieces that begin a word, where BERT's own files mark the others."""
        pieces: dict[str, int] = {}
        for token, index in self._ids.items():
            if self._kinds[index] in (UNKNOWN, CONTROL):
                piece = token
            elif token.startswith(MARK):
                piece = token.removeprefix(MARK)
            else:
                piece = f"##{token}"
            if pieces.setdefault(piece, index) != index:
                raise _damaged(f"two tokens are the piece {piece!r}")
        lowercase = bool(self._fields.get("tokenizer.ggml.normalizer.lowercase", True))
        return {
            "model": {
                "type": "WordPiece",
                "unk_token": self._unknown() or "[UNK]",
                "continuing_subword_prefix": "##",
                "max_input_chars_per_word": 100,
                "vocab": pieces,
            },
            "normalizer": {
                "type": "BertNormalizer",
                "clean_text": True,
                "handle_chinese_chars": True,
                "strip_accents": self._fields.get("tokenizer.ggml.normalizer.strip_accents", True),
                "lowercase": lowercase,
            },
            "pre_tokenizer": {"type": "BertPreTokenizer"},
            "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        }

    def _unigram(self) -> Spec:
        scores: list[float] = self._list("scores", float)
        if len(scores) != len(self._tokens):
            raise _damaged("there are not as many scores as tokens")
        unknown = self._unknown()
        normalizers: list[Spec] = []
        if charsmap := self._fields.get("tokenizer.ggml.precompiled_charsmap"):
            packed = base64.b64encode(_charsmap(charsmap)).decode()
            normalizers.append({"type": "Precompiled", "precompiled_charsmap": packed})
        if self._fields.get("tokenizer.ggml.remove_extra_whitespaces", False):
            normalizers += [
                {"type": "Strip", "strip_left": True, "strip_right": True},
                {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "},
            ]
        prefix = self._fields.get("tokenizer.ggml.add_space_prefix", True)
        space = {
            "type": "Metaspace",
            "replacement": MARK,
            "prepend_scheme": "always" if prefix else "never",
            "split": False,
        }
        return {
            "model": {
                "type": "Unigram",
                "unk_id": None if unknown is None else self._ids[unknown],
                "vocab": [list(row) for row in zip(self._tokens, scores, strict=True)],
                "byte_fallback": False,
            },
            "normalizer": {"type": "Sequence", "normalizers": normalizers},
            "pre_tokenizer": space,
            "decoder": space,
        }

    def _unknown(self) -> str | None:
        index = self._fields.get("tokenizer.ggml.unknown_token_id")
        if index is None:
            index = self._kinds.index(UNKNOWN) if UNKNOWN in self._kinds else None
        if index is not None and not (isinstance(index, int) and 0 <= index < len(self._tokens)):
            raise _damaged(f"the unknown token {index} is not of its tokens")
        return None if index is None else self._tokens[index]

    def _added(self) -> list[Spec]:
        """The tokens that are found whole: marks, which no text may spell, and set phrases."""
        named = {
            self._fields.get(f"tokenizer.ggml.{name}_token_id")
            for name in ("bos", "eos", "eot", "eom", "padding", "mask", "seperator", "cls")
        }
        added = []
        for index, (token, kind) in enumerate(zip(self._tokens, self._kinds, strict=True)):
            mark = kind in (UNKNOWN, CONTROL) or index in named
            if mark or kind == USER_DEFINED:
                special = bool(mark or _MARK_OF_TURN.fullmatch(token))
                added.append(special_token(token, index) | {"special": special})
        return added

    def _list(self, name: str, kind: type) -> list[Any]:
        values = self._fields.get(f"tokenizer.ggml.{name}", [])
        if not isinstance(values, list) or not all(isinstance(value, kind) for value in values):
            raise _damaged(f"tokenizer.ggml.{name} is not a list of {kind.__name__}")
        return values


def _charsmap(values: Any) -> bytes:
    """SentencePiece's table of normalisation: the length of its trie, the trie, the texts. A wrong
    one would not raise in `tokenizers` but bring it down."""
    raw = bytes(byte & 0xFF for byte in values)
    size = int.from_bytes(raw[:4], "little")
    if len(raw) < 4 or size % 4 or not 0 < size <= len(raw) - 4:
        raise _damaged("its table of normalisation breaks off")
    return raw


def _cut(patterns: tuple[str, ...]) -> Spec:
    cuts = [
        {"type": "Split", "pattern": {"Regex": one}, "behavior": "Isolated", "invert": False}
        for one in patterns
    ]
    return {"type": "Sequence", "pretokenizers": cuts}


def _blanks_to_marks() -> Spec:
    return {"type": "Replace", "pattern": {"String": " "}, "content": MARK}


def _damaged(what: str) -> Damaged:
    return Damaged(f"The file's tokenizer is damaged: {what}.", remedy="Fetch the file again.")
