"""The readable BPE and the fast one learn the same merges, and cut text alike."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from langwright.tokens.bpe import split_by
from langwright.tokens.reference_bpe import encode, learn_merges
from langwright.tokens.spelling import BYTE_OF
from langwright.tokens.splits import SPLITS

ALPHABET = [BYTE_OF[char] for char in sorted(BYTE_OF)]
"""`tokenizers` numbers the bytes by the code points of their stand-ins."""


def test_the_textbook_example() -> None:
    merges = learn_merges({b"aaabdaaabac": 1}, 3)
    assert encode(b"aaabdaaabac", merges) == [258, 100, 258, 97, 99]


@pytest.mark.parametrize(
    "name",
    [
        "tinyshakespeare/input.txt",
        pytest.param("wikitext2/valid.txt", marks=pytest.mark.slow),
        "mixed",
    ],
)
def test_a_thousand_merges_equal_those_of_tokenizers(data: Path, name: str) -> None:
    if name == "mixed":  # other scripts, code and numbers
        folder = Path(__file__).parents[2] / "src" / "langwright"
        text = "".join(path.read_text("utf-8") for path in sorted(folder.glob("*/*.py")))
        text += "Γειά σου Κόσμε. Привет, мир! 你好，世界。 नमस्ते दुनिया こんにちは " * 40
    else:
        text = (data / name).read_text("utf-8")
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = split_by(SPLITS["qwen2"])
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=256 + 1000,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator([text], trainer)
    cut = [piece for piece, _ in core.pre_tokenizer.pre_tokenize_str(text)]
    pieces = Counter(bytes(BYTE_OF[char] for char in piece) for piece in cut)

    merges = learn_merges(pieces, 1000, ALPHABET)

    spec = json.loads(core.to_str())["model"]
    ids = spec["vocab"]
    theirs = [(ids[left], ids[right]) for left, right in map(tuple, spec["merges"])]
    assert len(merges) == 1000
    assert merges == theirs
    for piece, spelt in list(zip(pieces, dict.fromkeys(cut), strict=True))[:200]:
        assert encode(piece, merges, ALPHABET) == [
            ids[token] for token in [t.value for t in core.model.tokenize(spelt)]
        ]


def test_merges_end_when_no_pair_is_left() -> None:
    assert learn_merges({b"ab": 1}, 10) == [(97, 98)]
    assert learn_merges({}, 10) == []
