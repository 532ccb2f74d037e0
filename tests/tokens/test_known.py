"""The published encodings against tiktoken, which makes its own from the same files."""

from __future__ import annotations

import gzip
import hashlib
import importlib.resources
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiktoken
from tiktoken_ext import openai_public

from langwright.errors import BadInput, Damaged
from langwright.tokens import KNOWN, RankTokenizer, encoding_for, read_known, read_tokenizer

ADDRESSES = {
    "vocab.bpe": "https://openaipublic.blob.core.windows.net/gpt-2/encodings/main/vocab.bpe",
    "encoder.json": "https://openaipublic.blob.core.windows.net/gpt-2/encodings/main/encoder.json",
    "cl100k_base.tiktoken": (
        "https://openaipublic.blob.core.windows.net/encodings/cl100k_base.tiktoken"
    ),
    "o200k_base.tiktoken": (
        "https://openaipublic.blob.core.windows.net/encodings/o200k_base.tiktoken"
    ),
}
"""What tiktoken would fetch: it looks in its cache under the SHA-1 of the address first."""


@pytest.fixture(scope="module")
def ranks(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the published files."""
    pytest.importorskip("bpe_openai", reason="bpe-openai, which ships the ranks, is missing")
    folder = tmp_path_factory.mktemp("ranks")
    shipped = importlib.resources.files("bpe_openai") / "data"
    for name in ("cl100k_base.tiktoken", "o200k_base.tiktoken"):
        (folder / name).write_bytes(gzip.decompress((shipped / f"{name}.gz").read_bytes()))
    for name in ("vocab.bpe", "encoder.json"):
        shutil.copy(data / "gpt2" / name, folder / name)
    return folder


@pytest.fixture(scope="module", params=list(KNOWN))
def pair(
    request: pytest.FixtureRequest, ranks: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[RankTokenizer, tiktoken.Encoding]:
    """Our tokenizer, and tiktoken's own encoding of that name."""
    place = tmp_path_factory.mktemp(request.param)
    shutil.copy(ranks / KNOWN[request.param].file, place)
    ours = read_known(place)
    assert ours is not None
    with pytest.MonkeyPatch.context() as patch:
        cached = tmp_path_factory.mktemp("cache")
        for name, address in ADDRESSES.items():
            digest = hashlib.sha1(address.encode()).hexdigest()
            shutil.copy(ranks / name, cached / digest)
        patch.setenv("TIKTOKEN_CACHE_DIR", str(cached))
        theirs = tiktoken.Encoding(**getattr(openai_public, request.param)())
    return ours, theirs


Pair = tuple[RankTokenizer, tiktoken.Encoding]

PIECES = (
    "don't WE'LL it'S 'd ſ 's ", "  ", "\n", "\r\n", "\t", "\u00a0", "\u3000", "\u2028", "\x85",
    "1234567", "٣٤٥", "½²", "ⅷ", "a", "É", "ǅ", "ʰ", "ªº", "é", "e\u0301", "ß", "İı",
    "漢字かなカナ", "한국어", "हिन्दी", "ไทย", "عربي", "עברית", "🙂", "👨\u200d👩\u200d👧", "🇩🇪",
    "\ufeff", "\u200b", "\ufffd", "\x00", "\x7f", "\U0010ffff", "…", "--", "=>", "/*", "://",
    "<|endoftext|>", "<|fim_prefix|>", "_", "'", "\"", "camelCaseHTTPServer", "ÀÉÎ",
)  # fmt: skip


def fuzzed(count: int, seed: int) -> Iterator[str]:
    """Strings of pieces that split patterns stumble over, and of any character there is."""
    dice = random.Random(seed)
    for _ in range(count):
        parts = []
        for _ in range(dice.randrange(1, 12)):
            kind = dice.randrange(4)
            if kind == 0:
                code = dice.randrange(0x10F800)
                parts.append(chr(code if code < 0xD800 else code + 0x800))
            elif kind == 1:
                parts.append(chr(dice.randrange(0x250)) * dice.randrange(1, 5))
            else:
                parts.append(dice.choice(PIECES) * dice.choice((1, 1, 1, 2, 7)))
        yield "".join(parts)


def data_files(data: Path) -> list[Path]:
    return sorted(path for path in data.rglob("*") if path.is_file())


def assert_equal(pair: Pair, texts: list[str]) -> None:
    ours, theirs = pair
    for text, ids in zip(texts, ours.encode_batch(texts), strict=True):
        assert ids == theirs.encode_ordinary(text), repr(text[:200])
        assert ours.decode(ids) == text


def test_ids_equal_on_the_head_of_every_file(pair: Pair, data: Path) -> None:
    heads = [path.read_bytes()[:20_000].decode(errors="ignore") for path in data_files(data)]
    assert len(heads) > 50
    assert_equal(pair, heads)


@pytest.mark.slow
def test_ids_equal_on_every_file(pair: Pair, data: Path) -> None:
    for path in data_files(data):
        assert_equal(pair, [path.read_bytes().decode(errors="ignore")])


def test_ids_equal_on_fuzzed_strings(pair: Pair) -> None:
    assert_equal(pair, list(fuzzed(5_000, seed=1)))


@pytest.mark.slow
def test_ids_equal_on_a_hundred_thousand_fuzzed_strings(pair: Pair) -> None:
    assert_equal(pair, list(fuzzed(100_000, seed=2)))


def test_the_vocabulary_is_theirs(pair: Pair) -> None:
    ours, theirs = pair
    assert ours.vocab_size == theirs.n_vocab
    assert {name: theirs.encode_single_token(name) for name in ours.special} == ours.special
    assert set(ours.special) == theirs.special_tokens_set
    for token in range(0, ours.vocab_size, 97):
        if ours.token_bytes(token):
            assert ours.token_bytes(token) == theirs.decode_single_token_bytes(token)


def test_tinyshakespeare_has_the_published_counts(data: Path, ranks: Path, tmp_path: Path) -> None:
    """301,966 and 36,059 tokens: the figures of nanoGPT's prepare.py."""
    shutil.copy(ranks / "vocab.bpe", tmp_path)
    gpt2 = read_known(tmp_path)
    assert gpt2 is not None
    text = (data / "tinyshakespeare" / "input.txt").read_text()
    cut = int(len(text) * 0.9)
    assert [len(ids) for ids in gpt2.encode_batch([text[:cut], text[cut:]])] == [301_966, 36_059]


@pytest.mark.parametrize("char", ["a", " ", "\n", "字"])
def test_a_megabyte_of_one_character(pair: Pair, char: str) -> None:
    """A million blanks are too many for tiktoken's engine, which panics."""
    ours, theirs = pair
    text = char * (1_000_000 // len(char.encode())) + "."
    ids = ours.encode(text)
    assert ours.decode(ids) == text
    shorter = char * 20_000 + "."
    assert ours.encode(shorter) == theirs.encode_ordinary(shorter)


def test_a_long_run_of_blanks_takes_the_other_way_to_the_same_ids(pair: Pair) -> None:
    ours, theirs = pair
    for blanks in (" " * 150_000, "\n" * 150_000, "\t \r\n" * 40_000):
        text = f"one.{blanks}two 1234"
        assert ours.encode_batch(["x", text]) == [ours.encode("x"), theirs.encode_ordinary(text)]


def test_saved_as_json_the_ids_are_the_same(pair: Pair, tmp_path: Path) -> None:
    """`tokenizers` reads what is saved: another engine, with merges instead of ranks."""
    ours, _ = pair
    ours.save(tmp_path / "tokenizer.json")
    again = read_tokenizer(tmp_path / "tokenizer.json")
    texts = list(fuzzed(3_000, seed=3))
    assert again.encode_batch(texts) == ours.encode_batch(texts)
    assert (again.vocab_size, again.special) == (ours.vocab_size, ours.special)
    (text,) = ["one<|endoftext|>two"]
    assert again.encode(text, allow_special=True) == ours.encode(text, allow_special=True)


def test_special_tokens_are_text_unless_allowed(pair: Pair) -> None:
    ours, theirs = pair
    text = "a<|endoftext|>b"
    assert ours.encode(text) == theirs.encode(text, disallowed_special=())
    assert ours.encode(text, allow_special=True) == theirs.encode(text, allowed_special="all")


def test_what_utf8_cannot_carry_is_refused(pair: Pair) -> None:
    with pytest.raises(BadInput, match="surrogate"):
        pair[0].encode("a\ud800b")
    with pytest.raises(BadInput, match="ids run from"):
        pair[0].token_bytes(pair[0].vocab_size)


def test_ranks_of_other_bytes_are_refused(ranks: Path, tmp_path: Path) -> None:
    (tmp_path / "vocab.bpe").write_bytes((ranks / "vocab.bpe").read_bytes() + b"x y\n")
    with pytest.raises(Damaged, match="sha256") as refused:
        read_known(tmp_path)
    assert "langwright pull gpt2" in refused.value.remedy
    assert read_known(ranks.parent) is None


@pytest.mark.parametrize(
    ("model", "encoding"),
    [
        ("gpt-2", "gpt2"),
        ("gpt-4", "cl100k_base"),
        ("gpt-3.5-turbo", "cl100k_base"),
        ("gpt-4o-mini", "o200k_base"),
        ("openai/gpt-4o", "o200k_base"),
        ("claude-3", None),
    ],
)
def test_models_have_their_encoding(model: str, encoding: str | None) -> None:
    assert encoding_for(model) == encoding


def test_fingerprints_differ(ranks: Path, tmp_path: Path) -> None:
    found = set()
    for name, known in KNOWN.items():
        (tmp_path / name).mkdir()
        shutil.copy(ranks / known.file, tmp_path / name)
        tokenizer = read_known(tmp_path / name)
        assert tokenizer is not None
        found.add(tokenizer.fingerprint)
    assert len(found) == len(KNOWN)
