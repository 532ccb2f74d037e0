"""Vocabularies of GGUF files: ids equal to llama.cpp's and to the libraries' that trained them."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
import tokenizers
from tokenizers import models, pre_tokenizers, trainers

from langwright.errors import LangwrightError, Unsupported
from langwright.tokens import tokenizer_from_gguf
from langwright.tokens.gguf_splits import PATTERNS, RAW
from langwright.tokens.spelling import BYTE_TOKENS

from .llama_cpp import LlamaCpp, write_vocabulary

TEXTS = (
    "The 1234567 cats' tails weren't THERE, weren't they? I'LL say: don't!",
    "  two blanks\tand a tab \n\n\n  indented  \r\n   end  ",
    "def f(x_1: int) -> dict[str, int]:\n\treturn {'a': x_1 ** 2}  # (ok) ... $5 + 3 = 8 | `x` ~ ^",
    "camelCase HTTPServer iPhone XMLHttpRequest MixedCASEword/path//to.",
    "你好，世界！这是一个测试。日本語のテキストです。カタカナ 12 年 한국어 문장입니다。",
    "Ærøskøbing café Ünïcode straße ΑΒΓ где-то Привет 3.14159 ½ Ⅷ ٣٤٥",
    "हिन्दी में लिखा ไทย עברית العربية",
    "🙂🙂 👨‍👩‍👧 — “quoted” ‘single’ … （括号）",
    "",
    " ",
)


@pytest.fixture(scope="module")
def greedy() -> dict[str, Any]:
    """Byte-level BPE whose merges reach over every boundary, so that each cut shows in the ids."""
    core = tokenizers.Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=2_000, initial_alphabet=alphabet, show_progress=False, min_frequency=1
    )
    pieces = [text[at : at + 12] for text in TEXTS for at in range(0, len(text), 5)]
    core.train_from_iterator(pieces, trainer)
    model = json.loads(core.to_str())["model"]
    tokens = [token for token, _ in sorted(model["vocab"].items(), key=lambda item: item[1])]
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.tokens": [*tokens, "<|endoftext|>"],
        "tokenizer.ggml.token_type": [1] * len(tokens) + [3],
        "tokenizer.ggml.merges": [" ".join(pair) for pair in model["merges"]],
        "tokenizer.ggml.bos_token_id": len(tokens),
        "tokenizer.ggml.eos_token_id": len(tokens),
    }


def assert_equal_to_llama_cpp(
    fields: Mapping[str, Any], path: Path, texts: tuple[str, ...] = TEXTS
) -> None:
    write_vocabulary(path, fields)
    theirs, ours = LlamaCpp(path), tokenizer_from_gguf(fields)
    for text in texts:
        assert ours.encode(text) == theirs.encode(text), text


# llama.cpp's engine does not know cases and marks of letters in classes: of the first it leaves
# out marks, of the others it keeps words of mixed case whole. Ours are the models' own patterns.
WITHOUT_MARKS = ("gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2", "tekken")
WITHOUT_CASE = ("tiny_aya", "cohere2moe", "kimi-k2", "youtu")


@pytest.mark.parametrize("pre", sorted(PATTERNS))
def test_every_cutting_gives_the_ids_of_llama_cpp(
    greedy: dict[str, Any], pre: str, tmp_path: Path
) -> None:
    fields = greedy | {"tokenizer.ggml.pre": pre}
    write_vocabulary(tmp_path / "model.gguf", fields)
    theirs, ours = LlamaCpp(tmp_path / "model.gguf"), tokenizer_from_gguf(fields)
    for text in TEXTS:
        ids = ours.encode(text)
        assert ours.decode(ids) == text
        marks = pre in (*WITHOUT_MARKS, "kimi-k2") and "हिन्दी" in text
        cases = pre in WITHOUT_CASE and "iPhone" in text
        assert (ids == theirs.encode(text)) == (not marks and not cases), text


def test_a_file_that_names_no_cutting_is_cut_as_llama_cpp_does_and_says_so(
    greedy: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert_equal_to_llama_cpp(greedy, tmp_path / "model.gguf")
    assert "does not say how" in capsys.readouterr().err


def test_a_piece_that_is_a_token_is_taken_whole_where_the_model_does(tmp_path: Path) -> None:
    """ "ab" cannot be reached by merges here, as only "bc" and "abc" are."""
    fields = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.tokens": ["a", "b", "c", "bc", "abc", "ab"],
        "tokenizer.ggml.token_type": [1] * 6,
        "tokenizer.ggml.merges": ["b c", "a bc"],
    }
    for pre, expected in (("llama-bpe", [5]), ("qwen2", [0, 1])):
        assert tokenizer_from_gguf(fields | {"tokenizer.ggml.pre": pre}).encode("ab") == expected


def trained(kind: str, **options: object) -> dict[str, Any]:
    """The fields of a SentencePiece model, as llama.cpp's converter writes them."""
    file = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS * 2),
        model_writer=file,
        model_type=kind,
        vocab_size=450 if kind == "bpe" else 230,
        hard_vocab_limit=False,
        minloglevel=2,
        **options,
    )
    model = sentencepiece.SentencePieceProcessor(model_proto=file.getvalue())
    size = range(len(model))
    kinds = [
        2 if model.is_unknown(one) else 3 if model.is_control(one) else 6 if model.is_byte(one)
        else 4 if model.id_to_piece(one) == options.get("user_defined_symbols") else 1
        for one in size
    ]  # fmt: skip
    return {
        "model": model,
        "fields": {
            "tokenizer.ggml.tokens": [model.id_to_piece(one) for one in size],
            "tokenizer.ggml.scores": [float(model.get_score(one)) for one in size],
            "tokenizer.ggml.token_type": kinds,
            "tokenizer.ggml.unknown_token_id": 0,
        },
    }


@pytest.mark.parametrize("prefix", [True, False])
def test_sentencepieces_bpe_gives_the_ids_of_llama_cpp_and_its_own(
    prefix: bool, tmp_path: Path
) -> None:
    """As Llama 2 and Gemma have it: no normalising, bytes for the rest."""
    made = trained(
        "bpe",
        byte_fallback=True,
        add_dummy_prefix=prefix,
        remove_extra_whitespaces=False,
        normalization_rule_name="identity",
        user_defined_symbols="" if prefix else "<h1>",
    )
    fields = made["fields"] | {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.add_space_prefix": prefix,
    }
    assert_equal_to_llama_cpp(fields, tmp_path / "model.gguf")
    ours = tokenizer_from_gguf(fields)
    assert ours.lossless
    assert set(ours.special) == {"<unk>", "<s>", "</s>"}
    for text in (*TEXTS, "a new one: žluťoučký kůň", "<s>mark</s>", "<h1>cats"):
        assert ours.decode(ours.encode(text)) == text
        if "<" not in text and text.strip(" "):
            assert ours.encode(text) == made["model"].encode(text), text
    assert len(ours.encode("<h1>")) == (5 if prefix else 1)


def test_blanks_before_the_pieces_between_phrases_do_not_come_back() -> None:
    """llama.cpp and transformers put one before each piece; who asks is told."""
    tokens = [*BYTE_TOKENS, "<h1>", "▁", "a"]
    fields = {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.scores": [0.0] * len(tokens),
        "tokenizer.ggml.token_type": [6] * 256 + [4, 1, 1],
    }
    ours = tokenizer_from_gguf(fields)
    assert [tokens[token] for token in ours.encode("a<h1>a")] == ["▁", "a", "<h1>", "▁", "a"]
    assert not ours.lossless


def test_no_text_spells_a_mark(tmp_path: Path) -> None:
    """llama.cpp would merge "</" and "s>" to the mark of the end; a text must not end a text."""
    tokens = ["<unk>", "<s>", "</s>", *BYTE_TOKENS, "<", "/", "s", ">", "</", "s>"]
    fields = {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.scores": [-float(index) for index in range(len(tokens))],
        "tokenizer.ggml.token_type": [2, 3, 3] + [6] * 256 + [1] * 6,
        "tokenizer.ggml.add_space_prefix": False,
    }
    write_vocabulary(tmp_path / "model.gguf", fields)
    assert LlamaCpp(tmp_path / "model.gguf").encode("</s>") == [2]
    ours = tokenizer_from_gguf(fields)
    assert [tokens[token] for token in ours.encode("</s>")] == ["</", "s>"]
    assert ours.encode("</s>", allow_special=True) == [2]


@pytest.mark.parametrize("phrase", ["<|im_end|>", "<end_of_turn>"])
def test_a_mark_that_a_file_holds_for_a_phrase_is_a_mark(phrase: str) -> None:
    tokens = [*BYTE_TOKENS, phrase, "<h1>"]
    fields = {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.scores": [0.0] * len(tokens),
        "tokenizer.ggml.token_type": [6] * 256 + [4, 4],
        "tokenizer.ggml.add_space_prefix": False,
    }
    ours = tokenizer_from_gguf(fields)
    assert 256 not in ours.encode(f"a{phrase}b")
    assert 256 in ours.encode(f"a{phrase}b", allow_special=True)
    assert ours.encode("<h1>") == [257]


def test_unigram_gives_the_ids_of_sentencepiece_and_llama_cpp(tmp_path: Path) -> None:
    """As T5 has it: NFKC with the file's own table, blanks made one."""
    made = trained("unigram", normalization_rule_name="nmt_nfkc")
    proto = made["model"].serialized_model_proto()
    from sentencepiece import sentencepiece_model_pb2

    parsed = sentencepiece_model_pb2.ModelProto.FromString(proto)
    charsmap = parsed.normalizer_spec.precompiled_charsmap
    fields = made["fields"] | {
        "tokenizer.ggml.model": "t5",
        "tokenizer.ggml.precompiled_charsmap": charsmap,
        "tokenizer.ggml.remove_extra_whitespaces": True,
        "tokenizer.ggml.add_space_prefix": True,
    }
    ours = tokenizer_from_gguf(fields)
    for text in (*TEXTS, "ﬁne  ﹩５", "žluť"):
        assert ours.encode(text) == made["model"].encode(text), text
    assert_equal_to_llama_cpp(fields, tmp_path / "model.gguf")


def test_wordpiece_gives_the_ids_of_bert_and_llama_cpp(tmp_path: Path) -> None:
    core = tokenizers.BertWordPieceTokenizer()
    core.train_from_iterator(TEXTS * 2, vocab_size=400, min_frequency=1, show_progress=False)
    vocabulary = core.get_vocab()
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    specials = [token for token in tokens if token.startswith("[") and token.endswith("]")]
    phantom = [
        token if token in specials else token.removeprefix("##") if token.startswith("##")
        else f"▁{token}"
        for token in tokens
    ]  # fmt: skip
    fields = {
        "tokenizer.ggml.model": "bert",
        "tokenizer.ggml.tokens": phantom,
        "tokenizer.ggml.token_type": [3 if token in specials else 1 for token in tokens],
        "tokenizer.ggml.unknown_token_id": vocabulary["[UNK]"],
    }
    ours = tokenizer_from_gguf(fields)
    for text in TEXTS:
        assert ours.encode(text) == core.encode(text, add_special_tokens=False).ids, text
    # Hangul is not taken apart there, and the marks of Indic letters are not taken off.
    others = tuple(text for text in TEXTS if "한국" not in text and "हिन्दी" not in text)
    assert_equal_to_llama_cpp(fields, tmp_path / "model.gguf", others)


@pytest.mark.parametrize("pre", sorted(RAW))
def test_bpe_over_characters_gives_the_ids_of_llama_cpp(pre: str, tmp_path: Path) -> None:
    """As Gemma 4 has it."""
    made = trained(
        "bpe", byte_fallback=True, add_dummy_prefix=False, remove_extra_whitespaces=False,
        normalization_rule_name="identity",
    )  # fmt: skip
    asked = made["fields"] | {"tokenizer.ggml.model": "llama"}
    asked["tokenizer.ggml.add_space_prefix"] = False
    merges = tokenizer_from_gguf(asked).spec["model"]["merges"]
    fields = made["fields"] | {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": pre,
        "tokenizer.ggml.merges": [" ".join(pair) for pair in merges],
    }
    assert_equal_to_llama_cpp(fields, tmp_path / "model.gguf")


@pytest.mark.parametrize("kind", ["rwkv", "plamo2", "none"])
def test_other_kinds_are_refused_by_name(kind: str) -> None:
    with pytest.raises(Unsupported, match=kind):
        tokenizer_from_gguf({"tokenizer.ggml.model": kind, "tokenizer.ggml.tokens": ["a"]})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("scores", [0.0]),
        ("scores", [1, 2, 3]),
        ("unknown_token_id", 9),
        ("unknown_token_id", "a"),
        ("tokens", ["a", "", "c"]),
    ],
)
def test_scores_and_unknowns_that_do_not_fit_are_refused(field: str, value: object) -> None:
    fields = {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": ["a", "b", "ab"],
        "tokenizer.ggml.scores": [0.0, 0.0, -1.0],
    }
    with pytest.raises(LangwrightError):
        tokenizer_from_gguf(fields | {f"tokenizer.ggml.{field}": value})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("precompiled_charsmap", "abc"),
        ("precompiled_charsmap", [1.5]),
        ("precompiled_charsmap", [1, 2, 3]),
        ("scores", [0.0, float("nan"), -1.0]),
        ("unknown_token_id", -1),
        ("token_type", [1, 1, "a"]),
    ],
)
def test_hostile_fields_of_a_unigram_are_damage_not_a_fault(field: str, value: object) -> None:
    fields = {
        "tokenizer.ggml.model": "t5",
        "tokenizer.ggml.tokens": ["a", "b", "ab"],
        "tokenizer.ggml.scores": [0.0, 0.0, -1.0],
    }
    tokenizer_from_gguf(fields)
    with pytest.raises(LangwrightError):
        tokenizer_from_gguf(fields | {f"tokenizer.ggml.{field}": value})
