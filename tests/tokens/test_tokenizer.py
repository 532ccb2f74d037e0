from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from langwright.errors import BadInput, Damaged, LangwrightError, Unsupported
from langwright.model import ModelBundle
from langwright.tokens import (
    END_OF_TEXT,
    TURN_END,
    JsonTokenizer,
    Tokenizer,
    read_tokenizer,
    tokenizer_from_gguf,
    train_bpe,
)

BLANKS_AND_EMOJI = st.sampled_from(
    [" ", "\n", "\t", "\r\n", "\u00a0", "\u2003", "🙂", "👨‍👩‍👧", "é", "é"]
)
TEXTS = st.lists(st.one_of(st.text(max_size=12), BLANKS_AND_EMOJI), max_size=12).map("".join)
SAMPLES = [
    "",
    " ",
    "Hello, world!",
    "  two blanks, 12345 digits and 1/2 ½ ٣٤\n\n\tlines  ",
    "I'll DON'T we've",
    "你好，世界！🙂 naïve café",
    "\x00\x04\x7f\u2028\ufeff",
]


@settings(max_examples=150, deadline=None)
@given(text=TEXTS)
def test_decoding_gives_back_the_text_and_the_bytes_add_up(
    small_tokenizer: Tokenizer, text: str
) -> None:
    ids = small_tokenizer.encode(text)
    assert small_tokenizer.decode(ids) == text
    assert sum(len(small_tokenizer.token_bytes(token)) for token in ids) == len(text.encode())


@pytest.fixture(scope="module")
def theirs(
    small_tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory
) -> PreTrainedTokenizerFast:
    path = tmp_path_factory.mktemp("theirs") / "tokenizer.json"
    small_tokenizer.save(path)
    return PreTrainedTokenizerFast(tokenizer_file=str(path))


@settings(max_examples=100, deadline=None)
@given(text=TEXTS)
def test_ids_equal_those_of_transformers_from_the_saved_file(
    small_tokenizer: Tokenizer, theirs: PreTrainedTokenizerFast, text: str
) -> None:
    assert small_tokenizer.encode(text) == theirs.encode(text, add_special_tokens=False)


@pytest.mark.parametrize("text", SAMPLES)
def test_loading_what_was_saved_changes_no_id(
    small_tokenizer: Tokenizer, tmp_path: Path, text: str
) -> None:
    small_tokenizer.save(tmp_path / "tokenizer.json")
    again = read_tokenizer(tmp_path / "tokenizer.json")
    assert again.encode(text) == small_tokenizer.encode(text)
    assert again.fingerprint == small_tokenizer.fingerprint


def test_training_twice_gives_the_same_tokenizer() -> None:
    texts = ["some words and some more words", "words, words"]
    assert train_bpe(texts, 300).fingerprint == train_bpe(texts, 300).fingerprint


def test_special_names_are_ordinary_text_unless_allowed(small_tokenizer: Tokenizer) -> None:
    text = f"a {TURN_END}{END_OF_TEXT} b {TURN_END[:-1]}"
    plain = small_tokenizer.encode(text)
    assert not set(plain) & set(small_tokenizer.special.values())
    assert small_tokenizer.decode(plain) == text
    allowed = small_tokenizer.encode(text, allow_special=True)
    assert [token for token in allowed if token in small_tokenizer.special.values()] == [
        small_tokenizer.special[TURN_END],
        small_tokenizer.special[END_OF_TEXT],
    ]
    assert small_tokenizer.decode(allowed) == text


def test_a_vocabulary_without_room_for_every_byte_is_refused() -> None:
    assert train_bpe(["abc"], 259).vocab_size == 259
    with pytest.raises(BadInput, match="258 is too small"):
        train_bpe(["abc"], 258)


def test_a_vocabulary_has_the_size_asked_for_when_the_text_suffices() -> None:
    words = " ".join(f"{word}{end}" for word in ("light", "dark", "soft") for end in ("ly", "ness"))
    assert train_bpe([words] * 5, 270).vocab_size == 270


def test_the_fingerprint_tells_merges_specials_and_splitting_apart(
    small_tokenizer: Tokenizer,
) -> None:
    def changed(how: str) -> str:
        spec = copy.deepcopy(small_tokenizer.spec)
        if how == "merges":
            spec["model"]["merges"].pop()
        elif how == "special":
            spec["added_tokens"][0]["content"] = "<|other|>"
        elif how == "split":
            spec["pre_tokenizer"]["pretokenizers"].pop(0)
        return JsonTokenizer(spec).fingerprint

    prints = [changed(how) for how in ("nothing", "merges", "special", "split")]
    assert prints[0] == small_tokenizer.fingerprint
    assert len(set(prints)) == 4


def test_ids_that_are_not_of_the_vocabulary_are_refused(small_tokenizer: Tokenizer) -> None:
    for token in (-1, small_tokenizer.vocab_size):
        with pytest.raises(BadInput, match="no token"):
            small_tokenizer.decode([token])


def test_a_lone_surrogate_is_refused(small_tokenizer: Tokenizer) -> None:
    with pytest.raises(BadInput, match="surrogate"):
        small_tokenizer.encode("a\ud800b")


def test_cut_or_altered_tokenizer_files_are_damaged(
    small_tokenizer: Tokenizer, tmp_path: Path
) -> None:
    path = tmp_path / "tokenizer.json"
    small_tokenizer.save(path)
    whole = path.read_bytes()
    for length in (0, 1, 1000, len(whole) // 2, len(whole) - 3):
        path.write_bytes(whole[:length])
        with pytest.raises(Damaged):
            read_tokenizer(path)
    path.write_bytes(b"\xff" + whole)
    with pytest.raises(Damaged):
        read_tokenizer(path)


def _alter(spec: dict[str, Any], *keys: str | int, value: object) -> dict[str, Any]:
    spec = copy.deepcopy(spec)
    part: Any = spec
    for key in keys[:-1]:
        part = part[key]
    part[keys[-1]] = value
    return spec


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("model",), []),
        (("model", "vocab"), []),
        (("model", "vocab"), {"a": "b"}),
        (("model", "vocab", "a"), -1),
        (("model", "vocab", "a"), 10**15),
        (("model", "merges"), [["no", "such"]]),
        (("model", "merges"), 3),
        (("added_tokens",), [{"content": ""}]),
        (("added_tokens", 0, "content"), ""),
        (("added_tokens", 0, "id"), 10**15),
        (("added_tokens", 0, "id"), None),
        (("added_tokens", 0), "x"),
        (("pre_tokenizer", "pretokenizers", 0, "pattern", "Regex"), "("),
        (("decoder",), "ByteLevel"),
    ],
)
def test_a_wrong_value_in_the_file_is_an_error_for_people(
    small_tokenizer: Tokenizer, tmp_path: Path, keys: tuple[str | int, ...], value: object
) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(_alter(small_tokenizer.spec, *keys, value=value)))
    with pytest.raises(LangwrightError):
        read_tokenizer(path)


@pytest.fixture(scope="session")
def gpt2_fields(data: Path) -> dict[str, object]:
    """GPT-2's own published files in the form of GGUF fields."""
    ids: dict[str, int] = json.loads((data / "gpt2/encoder.json").read_text(encoding="utf-8"))
    lines = (data / "gpt2/vocab.bpe").read_text(encoding="utf-8").split("\n")
    tokens = sorted(ids, key=lambda token: ids[token])
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [3 if token == END_OF_TEXT else 1 for token in tokens],
        "tokenizer.ggml.merges": [line for line in lines[1:] if line],
    }


def test_gpt2s_files_give_the_published_counts_on_tiny_shakespeare(
    data: Path, gpt2_fields: dict[str, object]
) -> None:
    """nanoGPT, data/shakespeare/readme.md: 301,966 and 36,059 tokens."""
    tokenizer = tokenizer_from_gguf(gpt2_fields)
    text = (data / "tinyshakespeare/input.txt").read_text(encoding="utf-8")
    cut = int(len(text) * 0.9)
    assert len(tokenizer.encode(text[:cut])) == 301_966
    assert len(tokenizer.encode(text[cut:])) == 36_059
    assert tokenizer.encode("Hello world") == [15496, 995]  # OpenAI's encoder.py
    assert tokenizer.special == {END_OF_TEXT: 50256}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model", "llama"),
        ("model", None),
        ("pre", "unheard-of"),
        ("pre", ["gpt-2"]),
        ("tokens", 5),
        ("tokens", []),
        ("tokens", [1, 2]),
        ("tokens", ["a", "b", "ab", "b"]),
        ("token_type", [1]),
        ("token_type", "1"),
        ("merges", ["a b c", "x"]),
        ("merges", [1]),
        ("merges", {"a": 1}),
    ],
)
def test_gguf_vocabularies_that_do_not_fit_together_are_refused(field: str, value: object) -> None:
    fields = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": ["a", "b", "ab"],
        "tokenizer.ggml.merges": ["a b"],
    }
    assert tokenizer_from_gguf(fields).encode("aba") == [2, 0]
    key = f"tokenizer.ggml.{field}"
    with pytest.raises(LangwrightError):
        tokenizer_from_gguf(fields | {key: value})
    if field == "model":
        with pytest.raises(Unsupported):
            tokenizer_from_gguf({name: fields[name] for name in fields if name != key})


@pytest.mark.parametrize("char", ["\x04", "\x1d", "\U00040000"])
def test_a_character_that_smollm2_cannot_spell_is_refused_by_name(
    smollm2: ModelBundle, char: str
) -> None:
    """Its vocabulary lacks 21 of the 256 bytes; `tokenizers` would drop them without a word."""
    tokenizer = smollm2.tokenizer
    with pytest.raises(BadInput, match=f"U\\+{ord(char):04X}"):
        tokenizer.encode(f"before {char} after")
    for text in ("\x03\x05 naïve 你好 🙂 \uffff", "", " "):
        assert tokenizer.decode(tokenizer.encode(text)) == text


@pytest.mark.slow
def test_smollm2s_ids_equal_those_of_transformers(smollm2: ModelBundle, smollm2_path: Path) -> None:
    """transformers' reader of GGUF does not know this file's `pre` (smollm) and so leaves digits
    together; with the splitting of SmolLM2's own tokenizer.json put in, all ids are equal."""
    theirs = AutoTokenizer.from_pretrained(
        str(smollm2_path.parent), gguf_file=smollm2_path.name, local_files_only=True
    )
    texts = [*SAMPLES[:-1], "def add(a, b):\n    return a + b\n", "\x01\x7f\u2028\ufeff"]
    for text in texts:
        expected = theirs.encode(text, add_special_tokens=False)
        same = smollm2.tokenizer.encode(text) == expected
        assert same == (not any(char.isnumeric() for char in text)), text
    theirs.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    for text in texts:
        expected = theirs.encode(text, add_special_tokens=False)
        assert smollm2.tokenizer.encode(text) == expected, text
